//! The image files in a folder, and which of them a cell means.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use crate::near_name::near_name;
use crate::{Error, Result};

/// How deep folders are looked into.
const MAX_DEPTH: usize = 16;

/// Endings of image files. A name without an ending means one of these.
const ENDINGS: [&str; 22] = [
    "png", "jpg", "jpeg", "bmp", "gif", "tif", "tiff", "webp", "dcm", "dicom", "ima", "nii",
    "nii.gz", "hdr", "img", "jp2", "j2k", "jpx", "jxl", "pgm", "ppm", "pbm",
];

/// The files in a folder and below it. Names that start with a full stop are left out.
pub(super) struct ImageFolder {
    root: PathBuf,
    /// Paths relative to the root, by the parts between separators.
    files: Vec<Vec<String>>,
    /// Files by their name in small letters.
    by_name: HashMap<String, Vec<usize>>,
    /// Images by their name in small letters without its ending.
    by_stem: HashMap<String, Vec<usize>>,
    /// The folders that the cell named which found the file first.
    claims: HashMap<PathBuf, Vec<String>>,
}

impl ImageFolder {
    /// Lists the folder.
    ///
    /// # Errors
    ///
    /// If it does not exist or cannot be read.
    pub fn open(root: &Path) -> Result<Self> {
        if !root.is_dir() {
            let cause = match root.exists() {
                true => "is not a folder",
                false => "there is no such folder",
            };
            return Err(Error::invalid(root.display(), cause)
                .with_remedy("name the folder of the images by --image-root"));
        }
        let mut folder = Self {
            root: root.to_owned(),
            files: Vec::new(),
            by_name: HashMap::new(),
            by_stem: HashMap::new(),
            claims: HashMap::new(),
        };
        folder.list(root, &mut Vec::new(), &mut BTreeSet::new())?;
        folder.files.sort();
        for (i, parts) in folder.files.iter().enumerate() {
            let name = parts.last().map(|name| name.to_lowercase()).unwrap_or_default();
            if let Some(stem) = image_stem(&name) {
                folder.by_stem.entry(stem.to_owned()).or_default().push(i);
            }
            folder.by_name.entry(name).or_default().push(i);
        }
        Ok(folder)
    }

    fn list(
        &mut self,
        path: &Path,
        parts: &mut Vec<String>,
        seen: &mut BTreeSet<PathBuf>,
    ) -> Result<()> {
        let io = |e: std::io::Error| Error::io(path, &e);
        // A link to a folder above would be followed forever.
        if parts.len() > MAX_DEPTH || !seen.insert(path.canonicalize().map_err(io)?) {
            return Ok(());
        }
        for entry in fs::read_dir(path).map_err(io)? {
            let entry = entry.map_err(io)?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if name.starts_with('.') {
                continue;
            }
            let below = entry.path();
            parts.push(name);
            match below.is_dir() {
                true => self.list(&below, parts, seen)?,
                false => self.files.push(parts.clone()),
            }
            parts.pop();
        }
        Ok(())
    }

    /// The file that `text` means: a path that exists; else the file below the folder of this name, with or without its
    /// ending, in whatever case. Folders in `text` must fit those of the file as far as both go, so that the path of
    /// another machine is found and another patient's image is not.
    ///
    /// # Errors
    ///
    /// The cause, if there is no such file or there are several.
    pub fn find(&mut self, text: &str) -> Result<PathBuf, String> {
        let plain = text.trim().replace('\\', "/");
        let plain = plain.strip_prefix("file://").unwrap_or(&plain);
        let exact = self.root.join(plain);
        if exact.is_file() {
            return Ok(exact);
        }
        if exact.is_dir() {
            return Err(format!("`{text}` is a folder, not an image"));
        }
        let is_drive = |part: &&str| part.len() == 2 && part.ends_with(':');
        let wanted: Vec<String> = plain
            .split('/')
            .filter(|part| !part.is_empty() && *part != "." && !is_drive(part))
            .map(str::to_owned)
            .collect();
        let Some((name, folders)) = wanted.split_last() else {
            return Err(format!("`{text}` is not the path of an image"));
        };
        let small = name.to_lowercase();
        let found = self.by_name.get(&small).or_else(|| self.by_stem.get(&small));
        let fits = |&&i: &&usize| common_folders(&self.files[i], folders).is_some();
        let mut fitting: Vec<usize> = found.into_iter().flatten().filter(fits).copied().collect();
        let rank = |i: &usize| {
            let parts = &self.files[*i];
            let is_header = parts.last().is_some_and(|name| name.to_lowercase().ends_with(".hdr"));
            (common_folders(parts, folders), parts.last() == Some(name), is_header)
        };
        // Of files that fit, the one that has more of the folders, or the same case; of a pair, the header.
        let best = fitting.iter().map(rank).max();
        fitting.retain(|i| Some(rank(i)) == best);
        match fitting.as_slice() {
            [one] => {
                let file = self.path(*one);
                self.claim(text, file, folders)
            }
            [] => Err(self.missing(text, name)),
            [first, second, rest @ ..] => {
                let more = match rest.len() {
                    0 => String::new(),
                    n => format!(" and {n} more"),
                };
                let (first, second) = (self.path(*first), self.path(*second));
                Err(format!(
                    "`{text}` can be {} or {}{more}: write its folder and ending, too",
                    first.display(),
                    second.display()
                ))
            }
        }
    }

    fn path(&self, file: usize) -> PathBuf {
        self.root.join(self.files[file].iter().collect::<PathBuf>())
    }

    /// `file`, unless a cell with other folders found it before: one of the two means another file.
    fn claim(&mut self, text: &str, file: PathBuf, folders: &[String]) -> Result<PathBuf, String> {
        let before = self.claims.entry(file.clone()).or_insert_with(|| folders.to_vec());
        match agree(before, folders).is_some() {
            true => {
                if folders.len() > before.len() {
                    *before = folders.to_vec();
                }
                Ok(file)
            }
            false => Err(format!(
                "`{text}` and `{}/...` would both be {}: set --image-root to the folder that holds both",
                before.join("/"),
                file.display()
            )),
        }
    }

    fn missing(&self, text: &str, name: &str) -> String {
        let names = self.files.iter().filter_map(|parts| parts.last());
        let near = near_name(name, names.map(String::as_str));
        let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        format!("there is no image `{text}` in {} or below it{near}", self.root.display())
    }
}

/// How many folders of a file and of a cell are the same, counted from the file's name; `None` if they differ before
/// one of the two ends.
fn common_folders(file: &[String], folders: &[String]) -> Option<usize> {
    agree(&file[..file.len().saturating_sub(1)], folders)
}

fn agree(a: &[String], b: &[String]) -> Option<usize> {
    let pairs = || a.iter().rev().zip(b.iter().rev());
    let are_same = pairs().all(|(a, b)| a.to_lowercase() == b.to_lowercase());
    are_same.then(|| pairs().count())
}

/// The name of an image without its ending; `None` if the file is none. `name` is in small letters.
fn image_stem(name: &str) -> Option<&str> {
    let stem = |ending: &&str| name.strip_suffix(*ending)?.strip_suffix('.');
    // The longer of `.nii.gz` and other endings counts.
    ENDINGS.iter().filter_map(stem).min_by_key(|stem| stem.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[&str]) -> (tempfile::TempDir, ImageFolder) {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let folder = ImageFolder::open(dir.path()).unwrap();
        (dir, folder)
    }

    #[test]
    fn a_cell_finds_its_file() {
        let (dir, mut folder) = folder(&[
            "a.png",
            "p1/b.PNG",
            "p1/1.png",
            "p2/1.png",
            "ct.nii.gz",
            "t.txt",
            "x/t.dcm",
            "s/i.hdr",
            "s/i.img",
            "007.png",
            ".hidden.png",
        ]);
        for (cell, want) in [
            ("a.png", "a.png"),
            ("./A.PNG", "a.png"),
            (" a ", "a.png"),
            ("b", "p1/b.PNG"),
            ("p1\\1.png", "p1/1.png"),
            ("P2/1", "p2/1.png"),
            ("C:\\Users\\Bob\\scans\\p2\\1.png", "p2/1.png"),
            ("/home/bob/scans/a.png", "a.png"),
            ("ct", "ct.nii.gz"),
            ("CT.nii.gz", "ct.nii.gz"),
            ("t", "x/t.dcm"),
            ("i", "s/i.hdr"),
        ] {
            assert_eq!(folder.find(cell), Ok(dir.path().join(want)), "{cell}");
        }
        for (cell, cause) in [
            ("1.png", "can be"),
            ("p3/1.png", "there is no image `p3/1.png`"),
            ("p1", "is a folder"),
            ("a.jpg", "did you mean `a.png`?"),
            ("7.png", "there is no image"),
            ("hidden", "there is no image"),
        ] {
            let error = folder.find(cell).unwrap_err();
            assert!(error.contains(cause), "{cell}: {error}");
        }
    }

    /// Two patients' images of one name, of which one is there, are not the same image.
    #[test]
    fn folders_that_differ_are_not_one_file() {
        let (_dir, mut folder) = folder(&["1.png"]);
        assert!(folder.find("p1/1.png").is_ok());
        assert!(folder.find("scans/p1/1.png").is_ok());
        let error = folder.find("p2/1.png").unwrap_err();
        assert!(error.contains("`p2/1.png` and `scans/p1/...` would both be"), "{error}");
    }
}
