//! The cache of image features: the output of a frozen image encoder, computed once per image for all
//! epochs and for all runs that share the directory.
//!
//! A file holds the features `[n, ..]` of `n` images as safetensors. Its metadata names the encoder and
//! the images, and has a SHA-256 over all of it. Files are written atomically and never changed, so that
//! any number of runs can read and write one directory at the same time.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::data::{ImageFeatures, ImageKey, ImageSize, ImageSource, ImageValues, Images};
use crate::files::{create_private_directory, hex};
use crate::tensor::Precision;
use crate::weights::{hash_elements, read_safetensors, write_safetensors};
use crate::{Error, Result};

/// [`ImageSource::content_hash`].
pub(super) type ImageHash = [u8; 32];

/// Name of the only tensor of a file.
const STATES: &str = "states";

/// Metadata keys: the encoder's fingerprint; the images' hashes in order; the height, the width and the number
/// of features of each; the checksum.
const ENCODER: &str = "normed.prefix";
const IMAGES: &str = "normed.pictures";
const SIZES: &str = "normed.sizes";
const CHECKSUM: &str = "normed.sha256";

const EXTENSION: &str = "safetensors";

/// Image features in the files of a directory.
pub(super) struct FeatureCache {
    directory: PathBuf,
    /// Fingerprint of the encoder. Files of other encoders are not read.
    encoder: String,
    /// Width of a feature.
    width: usize,
    precision: Precision,
    /// The requested images, and the features of those that were found or added.
    images: HashMap<ImageHash, Option<Images>>,
    /// Hashes of image files, so that each file is hashed once.
    hashes: HashMap<ImageKey, ImageHash>,
    /// Files that were read.
    read_files: HashSet<OsString>,
}

impl FeatureCache {
    /// An empty cache of the files in `directory`, for the encoder with this fingerprint. `like` is the
    /// encoder's output for one image.
    pub fn new(directory: PathBuf, encoder: String, like: &Images) -> Self {
        let like = like.tensor();
        Self {
            directory,
            encoder,
            width: like.width(),
            precision: like.precision(),
            images: HashMap::new(),
            hashes: HashMap::new(),
            read_files: HashSet::new(),
        }
    }

    /// Requests the features of `image`. Returns its hash, or none if it was requested before.
    pub fn request(&mut self, image: &ImageSource) -> Result<Option<ImageHash>> {
        let key = image.key();
        if self.hashes.contains_key(&key) {
            return Ok(None);
        }
        let hash = image.content_hash()?;
        self.hashes.insert(key, hash);
        let is_new = !self.images.contains_key(&hash);
        if is_new {
            self.images.insert(hash, None);
        }
        Ok(is_new.then_some(hash))
    }

    /// Whether the features of `image` are available.
    pub fn holds(&self, image: &ImageHash) -> bool {
        self.images.get(image).is_some_and(Option::is_some)
    }

    /// Loads the features of requested images from files that were not read before, including files that
    /// other runs have written meanwhile. Returns an error for each file that is damaged or foreign.
    pub fn load_existing(&mut self) -> Result<Vec<Error>> {
        let failed = |e| Error::io(&self.directory, &e).with_remedy(ELSEWHERE);
        create_private_directory(&self.directory).map_err(|e| e.with_remedy(ELSEWHERE))?;
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let is_file = Path::new(&name).extension().is_some_and(|e| e == EXTENSION);
            if is_file && self.read_files.insert(name.clone()) {
                names.push(name);
            }
        }
        names.sort();
        let mut unusable = Vec::new();
        for name in names {
            match self.read(&self.directory.join(name)) {
                Ok(features) => self.hold(features),
                Err(error) => unusable.push(error),
            }
        }
        Ok(unusable)
    }

    /// Writes the `features` of the images with these hashes to a file, and holds them.
    pub fn add(&mut self, images: &[ImageHash], features: &Images) -> Result<()> {
        let (sizes, features) = (format_sizes(features), features.tensor());
        let list = images.iter().map(|p| hex(p)).collect::<Vec<_>>().join(" ");
        let name = format!("{}.{EXTENSION}", hex(&Sha256::digest(&list)));
        let path = self.directory.join(&name);
        let mut hash = self.begin_checksum(&list, &sizes);
        hash_elements(&mut hash, features);
        let metadata = BTreeMap::from([
            (ENCODER.to_owned(), self.encoder.clone()),
            (IMAGES.to_owned(), list),
            (SIZES.to_owned(), sizes),
            (CHECKSUM.to_owned(), hex(&hash.finalize())),
        ]);
        write_safetensors(&path, &[(STATES, features)], self.precision, &metadata)
            .map_err(|e| e.with_remedy(ELSEWHERE))?;
        let features = self.read(&path)?;
        self.hold(features);
        self.read_files.insert(name.into());
        Ok(())
    }

    fn begin_checksum(&self, images: &str, sizes: &str) -> Sha256 {
        Sha256::new().chain_update(&self.encoder).chain_update(images).chain_update(sizes)
    }

    fn hold(&mut self, features: Vec<(ImageHash, Images)>) {
        for (image, features) in features {
            if let Some(place) = self.images.get_mut(&image) {
                place.get_or_insert(features);
            }
        }
    }

    /// The images in a file and their features. If the file holds no requested image whose features are
    /// missing, its elements are not read and nothing is returned.
    fn read(&self, path: &Path) -> Result<Vec<(ImageHash, Images)>> {
        let invalid = |cause: &str| Error::invalid(path.display(), cause);
        let file = read_safetensors(path)?;
        let entry =
            |key: &str| file.metadata.get(key).ok_or_else(|| invalid("it holds no image features"));
        let (list, sizes, sum) = (entry(IMAGES)?, entry(SIZES)?, entry(CHECKSUM)?);
        if *entry(ENCODER)? != self.encoder {
            return Err(invalid("it was made by another image encoder"));
        }
        let images: Option<Vec<ImageHash>> = list.split(' ').map(from_hex).collect();
        let images = images.ok_or_else(|| invalid("its list of images is damaged"))?;
        if !images.iter().any(|image| matches!(self.images.get(image), Some(None))) {
            return Ok(Vec::new());
        }
        let stored = file.tensors.get(STATES);
        let stored = stored.ok_or_else(|| invalid("it holds no image features"))?;
        let features = stored.view().filter(|features| !features.is_f16());
        let features = features.ok_or_else(|| invalid("its features are not f32 or bf16"))?;
        let (sizes_of_images, counts): (Vec<_>, Vec<_>) = parse_sizes(sizes)
            .filter(|sizes| sizes.len() == images.len())
            .ok_or_else(|| invalid("its list of sizes is damaged"))?
            .into_iter()
            .unzip();
        let rows = counts.iter().try_fold(0usize, |sum, &count| sum.checked_add(count));
        let fits = rows.is_some_and(|rows| features.shape() == [rows, self.width]);
        if !fits || features.precision() != self.precision {
            return Err(invalid("its features have another shape or precision"));
        }
        let hash = self.begin_checksum(list, sizes).chain_update(stored.bytes()).finalize();
        features.release_pages();
        if hex(&hash) != *sum {
            return Err(invalid("its checksum is wrong"));
        }
        let values = ImageValues::Features { features, counts };
        let each = Images { sizes: sizes_of_images, values }.split();
        Ok(images.into_iter().zip(each).collect())
    }
}

/// The remedy where files cannot be written.
const ELSEWHERE: &str = "free some disk space, or set cache.place to another directory or to \"off\"; \
                         features computed so far are kept";

impl ImageFeatures for FeatureCache {
    fn features(&self, image: &ImageSource) -> Result<Images> {
        let known = self.hashes.get(&image.key()).copied();
        let hash = known.map_or_else(|| image.content_hash(), Ok)?;
        let features = self.images.get(&hash).and_then(Option::as_ref);
        features
            .cloned()
            .ok_or_else(|| Error::failed("cache", "the features of an image are not in the cache"))
    }
}

/// Formats the sizes of images and the numbers of their features as `HEIGHTxWIDTHxCOUNT`, separated by spaces.
fn format_sizes(images: &Images) -> String {
    let ImageValues::Features { counts, .. } = &images.values else { return String::new() };
    let one = |(size, count): (&ImageSize, _)| format!("{}x{}x{count}", size.height, size.width);
    images.sizes.iter().zip(counts).map(one).collect::<Vec<_>>().join(" ")
}

/// Parses text that [`format_sizes`] wrote; none if it is damaged.
fn parse_sizes(text: &str) -> Option<Vec<(ImageSize, usize)>> {
    let one = |text: &str| {
        let mut numbers = text.split('x').map(str::parse);
        let mut next = || numbers.next()?.ok();
        Some((ImageSize { height: next()?, width: next()? }, next()?))
    };
    text.split(' ').map(one).collect()
}

fn from_hex(text: &str) -> Option<ImageHash> {
    let mut hash = ImageHash::default();
    if text.len() != 2 * hash.len() || !text.is_ascii() {
        return None;
    }
    for (i, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * i..][..2], 16).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::data::Image;
    use crate::tensor::Tensor;

    fn drawn(level: u8) -> ImageSource {
        ImageSource::Drawn(Image { width: 1, height: 1, rgb: vec![level; 3] }.into())
    }

    /// A cache of the encoder `encoder`, with the images of these gray levels requested.
    fn open(directory: &Path, encoder: &str, like: &Images, levels: &[u8]) -> FeatureCache {
        let mut cache = FeatureCache::new(directory.to_owned(), encoder.to_owned(), like);
        for &level in levels {
            assert!(cache.request(&drawn(level)).unwrap().is_some());
            assert!(cache.request(&drawn(level)).unwrap().is_none(), "requested twice");
        }
        cache
    }

    /// Features `[n, 2]` of images with these numbers of features.
    fn images(values: Vec<f32>, counts: &[usize], precision: Precision) -> Images {
        let features = Tensor::new(&[values.len() / 2, 2], values).to_precision(precision);
        let size = |&count: &usize| ImageSize { height: 8, width: 8 * count };
        let counts = counts.to_vec();
        Images {
            sizes: counts.iter().map(size).collect(),
            values: ImageValues::Features { features, counts },
        }
    }

    fn like(precision: Precision) -> Images {
        images(vec![0.0; 4], &[2], precision)
    }

    fn hash(level: u8) -> ImageHash {
        drawn(level).content_hash().unwrap()
    }

    /// Writes the features of images 1 and 2: one and two vectors, whose elements are the image's level.
    fn write(directory: &Path, precision: Precision) -> PathBuf {
        let mut cache = open(directory, "p", &like(precision), &[1, 2]);
        let values = [1.0; 2].into_iter().chain([2.0; 4]).collect();
        let values = images(values, &[1, 2], precision);
        cache.add(&[hash(1), hash(2)], &values).unwrap();
        assert!(cache.holds(&hash(1)) && cache.holds(&hash(2)));
        let mut files = fs::read_dir(directory).unwrap();
        files.next().unwrap().unwrap().path()
    }

    #[test]
    fn runs_share_their_files() {
        for precision in [Precision::F32, Precision::Bf16] {
            let dir = tempfile::tempdir().unwrap();
            write(dir.path(), precision);
            let like = like(precision);
            let mut cache = open(dir.path(), "p", &like, &[3, 2]);
            assert!(cache.load_existing().unwrap().is_empty());
            assert!(!cache.holds(&hash(3)) && cache.holds(&hash(2)));
            let two = cache.features(&drawn(2)).unwrap();
            assert_eq!(two.sizes, [ImageSize { height: 8, width: 16 }]);
            let two = two.tensor();
            assert_eq!((two.shape(), two.precision()), (&[2, 2][..], precision));
            assert_eq!(two.to_precision(Precision::F32).data(), [2.0; 4]);
            assert!(cache.features(&drawn(3)).is_err(), "requested, but not there");
            assert!(!cache.holds(&hash(1)), "there, but not requested");

            // Files that another run writes meanwhile are found, and no file is read twice.
            open(dir.path(), "p", &like, &[3]).add(&[hash(3)], &like).unwrap();
            assert!(cache.load_existing().unwrap().is_empty());
            assert!(cache.holds(&hash(3)));
        }
    }

    #[test]
    fn damaged_and_foreign_files_are_not_used() {
        let refused = |cause: &str, encoder: &str, like: &Images, spoil: &dyn Fn(&Path)| {
            let dir = tempfile::tempdir().unwrap();
            let path = write(dir.path(), Precision::F32);
            spoil(&path);
            let mut cache = open(dir.path(), encoder, like, &[1, 2]);
            let unusable = cache.load_existing().unwrap();
            assert_eq!(unusable.len(), 1, "{cause}");
            assert!(unusable[0].to_string().contains(cause), "{} {cause}", unusable[0]);
            assert!(!cache.holds(&hash(1)) && !cache.holds(&hash(2)));
            // Computed again, it replaces the damaged file.
            cache.add(&[hash(1), hash(2)], &Images::concat(&[like, like])).unwrap();
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
            assert!(cache.holds(&hash(1)));
        };
        let rewrite = |path: &Path, change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = fs::read(path).unwrap();
            change(&mut bytes);
            fs::write(path, bytes).unwrap();
        };
        refused("after the end", "p", &like(Precision::F32), &|path| {
            rewrite(path, &|b| b.truncate(b.len() - 1))
        });
        refused("safetensors", "p", &like(Precision::F32), &|path| {
            rewrite(path, &|b| b.truncate(100))
        });
        refused("safetensors", "p", &like(Precision::F32), &|path| rewrite(path, &Vec::clear));
        refused("safetensors", "p", &like(Precision::F32), &|path| {
            fs::write(path, "my thesis").unwrap()
        });
        refused("checksum", "p", &like(Precision::F32), &|path| {
            rewrite(path, &|b| *b.last_mut().unwrap() ^= 1);
        });
        // The images' hashes are exchanged.
        refused("checksum", "p", &like(Precision::F32), &|path| {
            let (one, two) = (hex(&hash(1)), hex(&hash(2)));
            let swapped = (format!("{one} {two}"), format!("{two} {one}"));
            rewrite(path, &|b| {
                let at = b.windows(129).position(|w| w == swapped.0.as_bytes()).unwrap();
                b[at..at + 129].copy_from_slice(swapped.1.as_bytes());
            });
        });
        refused("another image encoder", "q", &like(Precision::F32), &|_| {});
        let wide = Images {
            sizes: vec![ImageSize::square(8)],
            values: ImageValues::Features { features: Tensor::zeros(&[1, 4]), counts: vec![1] },
        };
        refused("another shape", "p", &wide, &|_| {});
        // A size is changed.
        refused("checksum", "p", &like(Precision::F32), &|path| {
            rewrite(path, &|b| {
                let at = b.windows(6).position(|w| w == b"8x16x2").unwrap();
                b[at..at + 6].copy_from_slice(b"8x32x2");
            });
        });
        refused("precision", "p", &like(Precision::Bf16), &|_| {});
        refused("holds no image features", "p", &like(Precision::F32), &|path| {
            write_safetensors(path, &[], Precision::F32, &BTreeMap::new()).unwrap();
        });
    }

    #[test]
    fn a_directory_that_cannot_be_written_has_a_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("states");
        let like = like(Precision::F32);
        let mut cache = open(&inner, "p", &like, &[1]);
        fs::write(&inner, "a file").unwrap();
        let error = cache.load_existing().unwrap_err();
        assert!(error.to_string().contains("cache.place"), "{error}");
        let error = cache.add(&[hash(1)], &like).unwrap_err();
        assert!(error.to_string().contains("cache.place"), "{error}");
        assert!(!cache.holds(&hash(1)));
    }
}
