//! Bytes in memory or in a mapped file.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

use crate::tensor::mapped::MappedFile;

/// Bytes in memory or in a mapped file. Cloning is cheap.
#[derive(Clone)]
pub struct Bytes(Storage);

#[derive(Clone)]
enum Storage {
    Owned(Arc<[u8]>),
    Mapped { file: Arc<MappedFile>, range: Range<usize> },
}

impl Bytes {
    /// A range of a mapped file. `None` if it is not inside the file.
    pub fn mapped(file: &Arc<MappedFile>, range: Range<usize>) -> Option<Self> {
        let inside = range.start <= range.end && range.end <= file.len();
        inside.then(|| Self(Storage::Mapped { file: Arc::clone(file), range }))
    }

    /// Releases the memory of mapped bytes. They are read from their file again when needed.
    pub fn release_pages(&self) {
        if let Storage::Mapped { file, range } = &self.0 {
            file.release_pages(range.clone());
        }
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Storage::Owned(bytes.into()))
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Storage::Owned(bytes) => bytes,
            Storage::Mapped { file, range } => &file[range.clone()],
        }
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}
