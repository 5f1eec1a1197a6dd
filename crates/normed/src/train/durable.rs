//! Files that are whole or not there, whenever the process is killed or the disk is full.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// Replaces `path` by `bytes`, as [`replace`] does.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    replace(path, |partial| {
        let mut file = File::create(partial)?;
        file.write_all(bytes)
    })
}

/// Has `fill` write a file of a temporary name, syncs it, renames it to `path`, and syncs the
/// directory. Until then `path` is what it was; a temporary file that a killed process left behind
/// is overwritten by the next.
pub(super) fn replace(
    path: &Path,
    fill: impl FnOnce(&Path) -> std::io::Result<()>,
) -> Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".partial");
    let partial = path.with_file_name(name);
    let done = fill(&partial)
        .and_then(|()| File::options().write(true).open(&partial)?.sync_all())
        .and_then(|()| fs::rename(&partial, path));
    if let Err(error) = done {
        // What is left of it is of no use, and the disk may be full.
        let _ = fs::remove_file(&partial);
        return Err(Error::failed(path.display(), format!("could not be written: {error}"))
            .hint("what was there before is untouched; make room and go on with --resume"));
    }
    sync_directory(path)
}

/// Makes the names in `path`'s directory last through a power failure.
fn sync_directory(path: &Path) -> Result<()> {
    let directory: PathBuf = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    // Only Unix can open a directory; elsewhere the file system sees to it.
    if cfg!(unix) {
        let synced = File::open(&directory).and_then(|d| d.sync_all());
        synced.map_err(|e| Error::io(&directory, &e))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_fails_half_way_leaves_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        write(&path, b"old").unwrap();
        let error = replace(&path, |partial| {
            fs::write(partial, b"ne")?;
            Err(std::io::Error::other("no space left on device"))
        })
        .unwrap_err();
        assert!(error.to_string().contains("no space left"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        write(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }
}
