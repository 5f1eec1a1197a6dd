//! What a frozen prefix makes of pictures, in files: computed once, for all epochs and for all runs
//! that share the directory.
//!
//! A file holds the states `[n, ..]` of some pictures as safetensors; its metadata names the prefix
//! and the pictures, and a SHA-256 over all of it. Files are written whole or not at all and never
//! changed, so that any number of runs may write and read one directory at once.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::data::{ImageFeatures, ImageKey, ImageSource};
use crate::files::hex;
use crate::tensor::{Precision, Tensor};
use crate::weights::{hash_elements, read_safetensors, write_safetensors};
use crate::{Error, Result};

/// [`ImageSource::content_hash`].
pub(super) type PictureHash = [u8; 32];

/// The only tensor of a file.
const STATES: &str = "states";

/// The metadata's keys: the prefix, the pictures in order, the checksum.
const PREFIX: &str = "normed.prefix";
const PICTURES: &str = "normed.pictures";
const CHECKSUM: &str = "normed.sha256";

const EXTENSION: &str = "safetensors";

/// The states of pictures, in the files of a directory.
pub(super) struct States {
    directory: PathBuf,
    /// What made them: no other prefix's states are read.
    prefix: String,
    /// Of one picture's.
    shape: Vec<usize>,
    precision: Precision,
    /// What is looked for in files, and each picture's states once found.
    pictures: HashMap<PictureHash, Option<Tensor>>,
    /// The pictures that files hold, so that these are not read again.
    sources: HashMap<ImageKey, PictureHash>,
    /// Files that were looked at.
    known: HashSet<OsString>,
}

impl States {
    /// None yet, in `directory`, of the prefix with this hash, which makes `like` of a picture.
    pub fn new(directory: PathBuf, prefix: String, like: &Tensor) -> Self {
        Self {
            directory,
            prefix,
            shape: like.shape().to_vec(),
            precision: like.precision(),
            pictures: HashMap::new(),
            sources: HashMap::new(),
            known: HashSet::new(),
        }
    }

    /// Looks for `image` from now on. Its hash, unless it is looked for already.
    pub fn want(&mut self, image: &ImageSource) -> Result<Option<PictureHash>> {
        let key = image.key();
        if self.sources.contains_key(&key) {
            return Ok(None);
        }
        let hash = image.content_hash()?;
        self.sources.insert(key, hash);
        let is_new = !self.pictures.contains_key(&hash);
        if is_new {
            self.pictures.insert(hash, None);
        }
        Ok(is_new.then_some(hash))
    }

    /// Whether the states of `picture` are at hand.
    pub fn holds(&self, picture: &PictureHash) -> bool {
        self.pictures.get(picture).is_some_and(Option::is_some)
    }

    /// Takes up what files hold of the pictures looked for, those that another run wrote meanwhile
    /// among them. What is wrong with files that are none of ours, or damaged.
    pub fn take_up(&mut self) -> Result<Vec<Error>> {
        let broken = |e| Error::io(&self.directory, &e).with_remedy(ELSEWHERE);
        fs::create_dir_all(&self.directory).map_err(broken)?;
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(broken)? {
            let name = entry.map_err(broken)?.file_name();
            let is_file = Path::new(&name).extension().is_some_and(|e| e == EXTENSION);
            if is_file && self.known.insert(name.clone()) {
                names.push(name);
            }
        }
        names.sort();
        let mut wrong = Vec::new();
        for name in names {
            match self.read(&self.directory.join(name)) {
                Ok(states) => self.hold(states),
                Err(error) => wrong.push(error),
            }
        }
        Ok(wrong)
    }

    /// Writes the `states [n, ..]` of `pictures` to a file, and holds them.
    pub fn add(&mut self, pictures: &[PictureHash], states: &Tensor) -> Result<()> {
        let list = pictures.iter().map(|p| hex(p)).collect::<Vec<_>>().join(" ");
        let name = format!("{}.{EXTENSION}", hex(&Sha256::digest(&list)));
        let path = self.directory.join(&name);
        let mut hash = self.begin_checksum(&list);
        hash_elements(&mut hash, states);
        let metadata = BTreeMap::from([
            (PREFIX.to_owned(), self.prefix.clone()),
            (PICTURES.to_owned(), list),
            (CHECKSUM.to_owned(), hex(&hash.finalize())),
        ]);
        write_safetensors(&path, &[(STATES, states)], self.precision, &metadata)
            .map_err(|e| e.with_remedy(ELSEWHERE))?;
        let states = self.read(&path)?;
        self.hold(states);
        self.known.insert(name.into());
        Ok(())
    }

    fn begin_checksum(&self, pictures: &str) -> Sha256 {
        Sha256::new().chain_update(&self.prefix).chain_update(pictures)
    }

    fn hold(&mut self, states: Vec<(PictureHash, Tensor)>) {
        for (picture, states) in states {
            if let Some(place) = self.pictures.get_mut(&picture) {
                place.get_or_insert(states);
            }
        }
    }

    /// The pictures in a file and their states. Nothing is read of their elements, and none is
    /// given, where no picture is wanted that is not at hand.
    fn read(&self, path: &Path) -> Result<Vec<(PictureHash, Tensor)>> {
        let wrong = |cause: &str| Error::invalid(path.display(), cause);
        let file = read_safetensors(path)?;
        let entry = |key: &str| file.metadata.get(key).ok_or_else(|| wrong("holds no states"));
        let (list, sum) = (entry(PICTURES)?, entry(CHECKSUM)?);
        if *entry(PREFIX)? != self.prefix {
            return Err(wrong("was made by another prefix"));
        }
        let pictures: Option<Vec<PictureHash>> = list.split(' ').map(from_hex).collect();
        let pictures = pictures.ok_or_else(|| wrong("names no pictures"))?;
        if !pictures.iter().any(|p| matches!(self.pictures.get(p), Some(None))) {
            return Ok(Vec::new());
        }
        let stored = file.tensors.get(STATES).ok_or_else(|| wrong("holds no states"))?;
        let states = stored.view().filter(|states| !states.is_f16());
        let states = states.ok_or_else(|| wrong("its states are no floats"))?;
        let shape = [&[pictures.len()], &*self.shape].concat();
        if (states.shape(), states.precision()) != (&shape, self.precision) {
            return Err(wrong("its states have another shape or precision"));
        }
        let hash = self.begin_checksum(list).chain_update(stored.bytes()).finalize();
        states.let_go();
        if hex(&hash) != *sum {
            return Err(wrong("its checksum does not fit"));
        }
        Ok(pictures.into_iter().enumerate().map(|(i, p)| (p, states.part(i))).collect())
    }
}

/// The remedy where files cannot be written.
const ELSEWHERE: &str = "free some space, or set cache.place to another directory, or to \"off\"; what was computed so \
     far is used again";

impl ImageFeatures for States {
    fn features(&self, image: &ImageSource) -> Result<Tensor> {
        let known = self.sources.get(&image.key()).copied();
        let hash = known.map_or_else(|| image.content_hash(), Ok)?;
        let states = self.pictures.get(&hash).and_then(Option::as_ref);
        states.cloned().ok_or_else(|| Error::failed("cache", "a picture's states are not in it"))
    }
}

fn from_hex(text: &str) -> Option<PictureHash> {
    let mut hash = PictureHash::default();
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

    fn drawn(level: u8) -> ImageSource {
        ImageSource::Drawn(Image { width: 1, height: 1, rgb: vec![level; 3] }.into())
    }

    /// States of prefix `prefix`, with the pictures of these levels wanted.
    fn open(directory: &Path, prefix: &str, like: &Tensor, levels: &[u8]) -> States {
        let mut states = States::new(directory.to_owned(), prefix.to_owned(), like);
        for &level in levels {
            assert!(states.want(&drawn(level)).unwrap().is_some());
            assert!(states.want(&drawn(level)).unwrap().is_none(), "wanted twice");
        }
        states
    }

    fn like() -> Tensor {
        Tensor::new(&[2, 2], vec![0.0; 4])
    }

    fn hash(level: u8) -> PictureHash {
        drawn(level).content_hash().unwrap()
    }

    /// Writes the states of pictures 1 and 2: four times their level.
    fn write(directory: &Path, precision: Precision) -> PathBuf {
        let like = like().to_precision(precision);
        let mut states = open(directory, "p", &like, &[1, 2]);
        let values = [1.0; 4].into_iter().chain([2.0; 4]).collect();
        let values = Tensor::new(&[2, 2, 2], values).to_precision(precision);
        states.add(&[hash(1), hash(2)], &values).unwrap();
        assert!(states.holds(&hash(1)) && states.holds(&hash(2)));
        let mut files = fs::read_dir(directory).unwrap();
        files.next().unwrap().unwrap().path()
    }

    #[test]
    fn what_one_run_wrote_another_reads() {
        for precision in [Precision::F32, Precision::Bf16] {
            let dir = tempfile::tempdir().unwrap();
            write(dir.path(), precision);
            let like = like().to_precision(precision);
            let mut states = open(dir.path(), "p", &like, &[3, 2]);
            assert!(states.take_up().unwrap().is_empty());
            assert!(!states.holds(&hash(3)) && states.holds(&hash(2)));
            let two = states.features(&drawn(2)).unwrap();
            assert_eq!(two.precision(), precision);
            assert_eq!(two.to_precision(Precision::F32).data(), [2.0; 4]);
            assert!(states.features(&drawn(3)).is_err(), "wanted, but not there");
            assert!(!states.holds(&hash(1)), "there, but not wanted");

            // What another run writes meanwhile is found, and no file is read twice.
            open(dir.path(), "p", &like, &[3]).add(&[hash(3)], &Tensor::stack(&[&like])).unwrap();
            assert!(states.take_up().unwrap().is_empty());
            assert!(states.holds(&hash(3)));
        }
    }

    #[test]
    fn what_is_damaged_or_foreign_is_not_used() {
        let refused = |cause: &str, prefix: &str, like: &Tensor, spoil: &dyn Fn(&Path)| {
            let dir = tempfile::tempdir().unwrap();
            let path = write(dir.path(), Precision::F32);
            spoil(&path);
            let mut states = open(dir.path(), prefix, like, &[1, 2]);
            let wrong = states.take_up().unwrap();
            assert_eq!(wrong.len(), 1, "{cause}");
            assert!(wrong[0].to_string().contains(cause), "{} {cause}", wrong[0]);
            assert!(!states.holds(&hash(1)) && !states.holds(&hash(2)));
            // Computed again, it takes the place of the damaged one.
            let part = [&[2], like.shape()].concat();
            let again = Tensor::zeros(&part).to_precision(like.precision());
            states.add(&[hash(1), hash(2)], &again).unwrap();
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
            assert!(states.holds(&hash(1)));
        };
        let rewrite = |path: &Path, change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = fs::read(path).unwrap();
            change(&mut bytes);
            fs::write(path, bytes).unwrap();
        };
        refused("behind the end", "p", &like(), &|path| {
            rewrite(path, &|b| b.truncate(b.len() - 1))
        });
        refused("safetensors", "p", &like(), &|path| rewrite(path, &|b| b.truncate(100)));
        refused("safetensors", "p", &like(), &|path| rewrite(path, &Vec::clear));
        refused("safetensors", "p", &like(), &|path| fs::write(path, "my thesis").unwrap());
        refused("checksum", "p", &like(), &|path| {
            rewrite(path, &|b| *b.last_mut().unwrap() ^= 1);
        });
        // The pictures' names exchanged.
        refused("checksum", "p", &like(), &|path| {
            let (one, two) = (hex(&hash(1)), hex(&hash(2)));
            let swapped = (format!("{one} {two}"), format!("{two} {one}"));
            rewrite(path, &|b| {
                let at = b.windows(129).position(|w| w == swapped.0.as_bytes()).unwrap();
                b[at..at + 129].copy_from_slice(swapped.1.as_bytes());
            });
        });
        refused("another prefix", "q", &like(), &|_| {});
        refused("another shape", "p", &Tensor::new(&[4], vec![0.0; 4]), &|_| {});
        refused("precision", "p", &like().to_precision(Precision::Bf16), &|_| {});
        refused("holds no states", "p", &like(), &|path| {
            write_safetensors(path, &[], Precision::F32, &BTreeMap::new()).unwrap();
        });
    }

    #[test]
    fn a_directory_that_cannot_be_written_has_a_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("states");
        let mut states = open(&inner, "p", &like(), &[1]);
        fs::write(&inner, "a file").unwrap();
        let error = states.take_up().unwrap_err();
        assert!(error.to_string().contains("cache.place"), "{error}");
        let error = states.add(&[hash(1)], &Tensor::stack(&[&like()])).unwrap_err();
        assert!(error.to_string().contains("cache.place"), "{error}");
        assert!(!states.holds(&hash(1)));
    }
}
