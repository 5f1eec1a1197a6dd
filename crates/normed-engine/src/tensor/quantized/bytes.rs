//! Bytes, in memory or in a mapped file.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

use memmap2::Mmap;

/// Cloning is cheap.
#[derive(Clone)]
pub struct Bytes(Place);

#[derive(Clone)]
enum Place {
    Owned(Arc<[u8]>),
    Mapped { map: Arc<Mmap>, range: Range<usize> },
}

impl Bytes {
    /// A range of a mapped file; None if it is not inside it.
    pub fn mapped(map: &Arc<Mmap>, range: Range<usize>) -> Option<Self> {
        let inside = range.start <= range.end && range.end <= map.len();
        inside.then(|| Self(Place::Mapped { map: Arc::clone(map), range }))
    }

    /// Lets the memory go that mapped bytes take: they are read again if they are needed again.
    pub fn let_go(&self) {
        #[cfg(unix)]
        if let Place::Mapped { map, range } = &self.0 {
            // SAFETY: the map is of a file and read-only, so that nothing is lost. It is a hint: what
            // becomes of it changes no value.
            let _ = unsafe {
                map.unchecked_advise_range(
                    memmap2::UncheckedAdvice::DontNeed,
                    range.start,
                    range.len(),
                )
            };
        }
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Place::Owned(bytes.into()))
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Place::Owned(bytes) => bytes,
            Place::Mapped { map, range } => &map[range.clone()],
        }
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}
