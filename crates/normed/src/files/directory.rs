//! Writing a directory that appears when it is complete, or not at all.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::destination::{Destination, exists_already, parent};
use crate::{Error, Result};

/// A directory that is being written, under a temporary name next to its final one.
pub struct NewDirectory {
    output: PathBuf,
    unfinished: TempDir,
    /// Whether files that are in `output` already are removed.
    overwrite: bool,
}

impl NewDirectory {
    /// Starts the directory that will be `output`. Links are followed.
    ///
    /// # Errors
    /// If there is anything but an empty directory at `output`, or if nothing can be written next to it.
    pub fn create(output: &Path) -> Result<Self> {
        Self::start(output, false)
    }

    /// As [`NewDirectory::create`], but what is in the directory `output` is removed in the end.
    ///
    /// # Errors
    /// If there is a file at `output`, or if nothing can be written next to it.
    pub fn replace(output: &Path) -> Result<Self> {
        Self::start(output, true)
    }

    fn start(output: &Path, overwrite: bool) -> Result<Self> {
        let output = match Destination::of(output)? {
            Destination::Absent(path) => path,
            Destination::Directory(path) if overwrite || is_empty(&path)? => path,
            _ => return Err(exists_already(output)),
        };
        let parent = parent(&output);
        let mut builder = tempfile::Builder::new();
        builder.prefix(".unfinished-");
        // As any new directory, within the umask; the crate's default is for its owner alone.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
        let unfinished = builder.tempdir_in(parent).map_err(|e| Error::io(parent, &e))?;
        Ok(Self { output, unfinished, overwrite })
    }

    /// The path to write to.
    pub fn path(&self) -> &Path {
        self.unfinished.path()
    }

    /// Gives the directory its final name.
    ///
    /// # Errors
    /// If `output` has appeared meanwhile, and is not empty and not to be replaced.
    pub fn commit(self) -> Result<()> {
        let Self { output, unfinished, overwrite } = self;
        let failed = |e: std::io::Error| Error::io(&output, &e);
        if output.is_dir() {
            let permissions = fs::metadata(&output).map_err(failed)?.permissions();
            fs::set_permissions(unfinished.path(), permissions).map_err(failed)?;
        }
        if overwrite && output.is_dir() {
            // The old directory is next to the new one until that has the name: a failure loses neither.
            let aside = TempDir::with_prefix_in(".replaced-", parent(&output)).map_err(failed)?;
            let old = aside.path().join("old");
            fs::rename(&output, &old).map_err(failed)?;
            if let Err(error) = fs::rename(unfinished.path(), &output) {
                fs::rename(&old, &output).map_err(failed)?;
                return Err(failed(error));
            }
        } else {
            fs::rename(unfinished.path(), &output).map_err(failed)?;
        }
        let _ = unfinished.keep(); // it was renamed: there is nothing to remove
        Ok(())
    }
}

/// Makes the directory `path` for its owner alone (mode 0700 on Unix), and those above it as the system makes
/// them. A directory that is there already keeps its mode.
///
/// # Errors
/// If it cannot be made.
pub fn create_private_directory(path: &Path) -> Result<()> {
    let failed = |e: std::io::Error| Error::io(path, &e);
    if path.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(parent(path)).map_err(failed)?;
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(path) {
        // Another process was faster.
        Err(_) if path.is_dir() => Ok(()),
        made => made.map_err(failed),
    }
}

/// Whether there is nothing in a directory.
pub(super) fn is_empty(path: &Path) -> Result<bool> {
    let mut entries = fs::read_dir(path).map_err(|e| Error::io(path, &e))?;
    Ok(entries.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_empty_directory_is_taken_and_a_full_one_is_replaced_on_request() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("empty")).unwrap();
        fs::create_dir_all(at("full")).unwrap();
        fs::write(at("full/old"), "old").unwrap();
        fs::write(at("file"), "").unwrap();
        for name in ["new", "empty"] {
            let new = NewDirectory::create(&at(name)).unwrap();
            fs::write(new.path().join("text"), name).unwrap();
            new.commit().unwrap();
            assert_eq!(fs::read_to_string(at(name).join("text")).unwrap(), name);
        }
        for name in ["full", "file"] {
            let error = NewDirectory::create(&at(name)).err().unwrap();
            assert_eq!(error.cause(), "exists already", "{name}");
        }
        assert!(NewDirectory::replace(&at("file")).is_err());
        let new = NewDirectory::replace(&at("full")).unwrap();
        fs::write(new.path().join("text"), "new").unwrap();
        assert!(at("full/old").exists(), "the old directory is gone before the new one is whole");
        new.commit().unwrap();
        assert!(at("full/text").exists() && !at("full/old").exists());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 4, "something is left over");
    }

    #[cfg(unix)]
    #[test]
    fn a_private_directory_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let (above, path) = (dir.path().join("runs"), dir.path().join("runs/x"));
        let usual = dir.path().join("usual");
        fs::create_dir(&usual).unwrap();
        create_private_directory(&path).unwrap();
        assert_eq!(mode(&path), 0o700);
        assert_eq!(mode(&above), mode(&usual), "others may read what else is above it");
        fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        create_private_directory(&path).unwrap();
        assert_eq!(mode(&path), 0o755);
        fs::write(dir.path().join("file"), "").unwrap();
        assert!(create_private_directory(&dir.path().join("file")).is_err());
    }
}
