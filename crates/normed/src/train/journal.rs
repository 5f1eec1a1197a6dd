//! A file that only grows, and can be cut back to where a checkpoint left it.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// A file that only grows.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    length: u64,
}

impl Journal {
    /// Opens `path` and cuts it back to `length`: what a killed process wrote after its last
    /// checkpoint is written again.
    pub fn open(path: &Path, length: u64) -> Result<Self> {
        let cut = || -> std::io::Result<(File, u64)> {
            let mut file =
                OpenOptions::new().create(true).write(true).truncate(false).open(path)?;
            let length = length.min(file.metadata()?.len());
            file.set_len(length)?;
            file.seek(SeekFrom::End(0))?;
            Ok((file, length))
        };
        let (file, length) = cut().map_err(|e| Error::io(path, &e))?;
        Ok(Self { path: path.to_owned(), file, length })
    }

    /// Appends.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|e| Error::io(&self.path, &e))?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Makes it last through a power failure; its length in bytes.
    pub fn sync(&mut self) -> Result<u64> {
        self.file.sync_all().map_err(|e| Error::io(&self.path, &e))?;
        Ok(self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_from_where_it_was_cut() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let mut journal = Journal::open(&path, 0).unwrap();
        journal.write(b"one").unwrap();
        let length = journal.sync().unwrap();
        journal.write(b"lost").unwrap();
        drop(journal);
        let mut journal = Journal::open(&path, length).unwrap();
        journal.write(b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"onetwo");
        assert_eq!(Journal::open(&path, 100).unwrap().sync().unwrap(), 6);
    }
}
