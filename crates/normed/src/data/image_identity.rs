//! Which names of images lead to the same image: other spellings of a path, links, and copies.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::plain_path::plain_path;
use super::{Image, ImageOptions};

/// Sets that are joined step by step.
pub(super) struct DisjointSets(Vec<usize>);

impl DisjointSets {
    /// `count` sets of one element each.
    pub fn new(count: usize) -> Self {
        Self((0..count).collect())
    }

    /// The first element of the set that `i` is in.
    pub fn root(&mut self, mut i: usize) -> usize {
        while self.0[i] != i {
            self.0[i] = self.0[self.0[i]];
            i = self.0[i];
        }
        i
    }

    /// Joins the sets of `a` and `b`. Returns whether they were two.
    pub fn join(&mut self, a: usize, b: usize) -> bool {
        let (a, b) = (self.root(a), self.root(b));
        self.0[a.max(b)] = a.min(b);
        a != b
    }
}

/// What makes two paths lead to one file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum FileIdentity {
    /// A file that exists: its path without links, or its device and inode, which hard links share.
    File(Place),
    /// A file that does not exist: its absolute path, without `.`, `..` and repeated separators.
    Missing(PathBuf),
}

/// Where an existing file is.
#[cfg(unix)]
pub(super) type Place = (u64, u64);
/// Where an existing file is.
#[cfg(not(unix))]
pub(super) type Place = PathBuf;

impl FileIdentity {
    /// The identity of the file at `path`, and the path that it was found at.
    pub fn of(path: &Path) -> (Self, PathBuf) {
        let plain = plain_path(path);
        for candidate in [path, &plain] {
            if let Some(place) = place(candidate) {
                return (Self::File(place), candidate.to_owned());
            }
        }
        (Self::Missing(plain.clone()), plain)
    }

    /// Whether the file exists.
    pub fn exists(&self) -> bool {
        matches!(self, Self::File(_))
    }
}

#[cfg(unix)]
fn place(path: &Path) -> Option<Place> {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
fn place(path: &Path) -> Option<Place> {
    fs::canonicalize(path).ok()
}

/// Images by name, and which of the names lead to the same image.
pub(super) struct ImageSets {
    /// The number of each name's image: names of the same image have the same.
    pub image: HashMap<String, usize>,
    /// Names that are another spelling of, or a link to, an image that has a name already; and that name.
    pub aliases: Vec<(String, String)>,
    /// Names of images that equal another image pixel by pixel, and its name.
    pub copies: Vec<(String, String)>,
    /// Names whose images could not be decoded or do not exist: only their paths were compared.
    pub unread: Vec<String>,
}

impl ImageSets {
    /// Compares the images `names`, which are relative to `directory`: by path, and by pixels if
    /// `compares_pixels` is set. `on_done` is called for each image that is decoded.
    pub fn find(
        names: &[&str],
        directory: &Path,
        compares_pixels: bool,
        on_done: &(dyn Fn() + Sync),
    ) -> Self {
        let mut sets = Self {
            image: HashMap::new(),
            aliases: Vec::new(),
            copies: Vec::new(),
            unread: Vec::new(),
        };
        let mut numbers: HashMap<FileIdentity, usize> = HashMap::new();
        let mut files: Vec<(&str, PathBuf, bool)> = Vec::new();
        for &name in names {
            if sets.image.contains_key(name) {
                continue;
            }
            let (identity, path) = FileIdentity::of(&directory.join(name));
            let exists = identity.exists();
            let number = *numbers.entry(identity).or_insert(files.len());
            match files.get(number) {
                Some((first, ..)) => sets.aliases.push((name.to_owned(), (*first).to_owned())),
                None => files.push((name, path, exists)),
            }
            sets.image.insert(name.to_owned(), number);
        }
        if compares_pixels {
            sets.join_copies(&files, on_done);
        }
        sets
    }

    /// Gives images of equal pixels one number.
    fn join_copies(&mut self, files: &[(&str, PathBuf, bool)], on_done: &(dyn Fn() + Sync)) {
        let hash = |(_, path, exists): &(&str, PathBuf, bool)| {
            let image = exists.then(|| Image::decode(path, &ImageOptions::default()).ok());
            on_done();
            image.flatten().map(|image| hash_of_pixels(&image))
        };
        let hashes: Vec<Option<[u8; 32]>> = files.par_iter().map(hash).collect();
        let mut first: HashMap<[u8; 32], usize> = HashMap::new();
        let mut same: Vec<usize> = (0..files.len()).collect();
        for (number, hash) in hashes.into_iter().enumerate() {
            let name = files[number].0.to_owned();
            let Some(hash) = hash else {
                self.unread.push(name);
                continue;
            };
            same[number] = *first.entry(hash).or_insert(number);
            if same[number] != number {
                self.copies.push((name, files[same[number]].0.to_owned()));
            }
        }
        self.image.values_mut().for_each(|number| *number = same[*number]);
    }
}

/// SHA-256 over the size and the pixels of an image: equal for copies in other formats that lose nothing.
pub(super) fn hash_of_pixels(image: &Image) -> [u8; 32] {
    Sha256::new()
        .chain_update(b"pixels")
        .chain_update((image.width as u64).to_le_bytes())
        .chain_update((image.height as u64).to_le_bytes())
        .chain_update(&image.rgb)
        .finalize()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many different images there are.
    fn count(sets: &ImageSets) -> usize {
        sets.image.values().collect::<std::collections::HashSet<_>>().len()
    }

    #[test]
    fn spellings_links_and_copies_are_one_image() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("im/sub")).unwrap();
        let picture = |level: u8| {
            image::GrayImage::from_fn(9, 7, |x, y| image::Luma([level + (x * y) as u8]))
        };
        picture(1).save(at("im/a.png")).unwrap();
        picture(1).save(at("im/copy.bmp")).unwrap();
        image::DynamicImage::from(picture(1)).into_rgb8().save(at("im/rgb.png")).unwrap();
        picture(2).save(at("im/b.png")).unwrap();
        fs::write(at("im/text.png"), "text").unwrap();
        let absolute = at("im/a.png").to_str().unwrap().to_owned();
        let mut names = vec!["im/a.png", "./im/a.png", "im//a.png", "im/none/../a.png", &absolute];
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("a.png", at("im/link.png")).unwrap();
            std::os::unix::fs::symlink("im", at("linked")).unwrap();
            fs::hard_link(at("im/a.png"), at("im/hard.png")).unwrap();
            names.extend(["im/link.png", "linked/a.png", "im/hard.png"]);
        }
        let others =
            ["im/b.png", "im/text.png", "none.png", "x/../none.png", "im/copy.bmp", "im/rgb.png"];
        let aliases = names.len(); // one of them is the first name, and none.png has two
        let all = [&names[..], &others].concat();
        let sets = ImageSets::find(&all, dir.path(), true, &|| ());
        assert!(names.iter().all(|name| sets.image[*name] == sets.image["im/a.png"]));
        assert_eq!((sets.aliases.len(), sets.copies.len(), count(&sets)), (aliases, 2, 4));
        assert_eq!(sets.copies[0], ("im/copy.bmp".to_owned(), "im/a.png".to_owned()));
        assert_eq!(sets.unread, ["im/text.png", "none.png"]);
        let by_path = ImageSets::find(&all, dir.path(), false, &|| ());
        assert_eq!((by_path.copies.len(), count(&by_path)), (0, 6));
    }
}
