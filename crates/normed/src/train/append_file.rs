//! A file that only grows, and can be truncated to its length at a checkpoint.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// A file that only grows.
#[derive(Debug)]
pub(super) struct AppendFile {
    path: PathBuf,
    file: File,
    length: u64,
}

impl AppendFile {
    /// Opens `path` and truncates it to `length`. Whatever a killed process wrote after its last checkpoint
    /// will be written again.
    pub fn open(path: &Path, length: u64) -> Result<Self> {
        let open = || -> std::io::Result<(File, u64)> {
            let mut file =
                OpenOptions::new().create(true).write(true).truncate(false).open(path)?;
            let length = length.min(file.metadata()?.len());
            file.set_len(length)?;
            file.seek(SeekFrom::End(0))?;
            Ok((file, length))
        };
        let (file, length) = open().map_err(|e| Error::io(path, &e))?;
        Ok(Self { path: path.to_owned(), file, length })
    }

    /// Appends `bytes`.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|e| Error::io(&self.path, &e))?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Flushes the file to disk, so that it survives a power failure. Returns its length in bytes.
    pub fn sync(&mut self) -> Result<u64> {
        self.file.sync_all().map_err(|e| Error::io(&self.path, &e))?;
        Ok(self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_from_where_it_was_truncated() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let mut file = AppendFile::open(&path, 0).unwrap();
        file.write(b"one").unwrap();
        let length = file.sync().unwrap();
        file.write(b"lost").unwrap();
        drop(file);
        let mut file = AppendFile::open(&path, length).unwrap();
        file.write(b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"onetwo");
        assert_eq!(AppendFile::open(&path, 100).unwrap().sync().unwrap(), 6);
    }
}
