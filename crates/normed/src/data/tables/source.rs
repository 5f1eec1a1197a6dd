//! A file that is read at any place.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::sync::{Mutex, PoisonError};

/// An open file of rows.
pub(in crate::data) struct Source {
    /// Its position is that of the last read.
    file: Mutex<File>,
    length: u64,
}

impl Source {
    /// The open `file`, which has `length` bytes.
    pub fn new(file: File, length: u64) -> Self {
        Self { file: Mutex::new(file), length }
    }

    /// The length of the file, in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Reads `length` bytes from `start` on.
    ///
    /// # Errors
    ///
    /// If the file has fewer, before anything is allocated.
    pub fn read(&self, start: u64, length: u64) -> Result<Vec<u8>, String> {
        let end = start.checked_add(length).filter(|end| *end <= self.length);
        let (Some(_), Ok(size)) = (end, usize::try_from(length)) else {
            return Err("is cut short".into());
        };
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = vec![0; size];
        let read = file.seek(SeekFrom::Start(start)).and_then(|_| file.read_exact(&mut bytes));
        read.map_err(|error| format!("cannot be read: {error}"))?;
        Ok(bytes)
    }
}
