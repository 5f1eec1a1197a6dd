//! Files in memory: elements that are read where they lie in a memory-mapped file.

use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::ops::{Deref, Range};
use std::sync::Arc;

use half::{bf16, f16};
use memmap2::Mmap;

/// A memory-mapped file, read-only.
#[derive(Debug)]
pub struct MappedFile(Mmap);

impl MappedFile {
    /// Maps a whole file.
    ///
    /// # Safety
    /// Nobody may change or truncate the file while it is mapped. No program can enforce that for files
    /// of other processes; to change a checkpoint while it is in use is the user's mistake.
    ///
    /// # Errors
    /// If the operating system cannot map the file.
    pub unsafe fn map(file: &File) -> io::Result<Self> {
        // SAFETY: the caller's promise.
        unsafe { Mmap::map(file) }.map(Self)
    }

    /// Releases the memory of the pages in `range`. They are read from the file again when needed.
    ///
    /// # Panics
    /// If the range is not inside the file.
    pub fn release_pages(&self, range: Range<usize>) {
        assert!(
            range.start <= range.end && range.end <= self.0.len(),
            "{range:?} of a mapped file"
        );
        // SAFETY: the range is inside the map. The map is of a file and read-only, so that its pages can
        // be read again with the same contents.
        #[cfg(unix)]
        let advised = unsafe {
            let advice = memmap2::UncheckedAdvice::DontNeed;
            self.0.unchecked_advise_range(advice, range.start, range.len())
        };
        // It is a hint: where it fails, the pages stay in memory.
        #[cfg(unix)]
        drop(advised);
    }
}

impl Deref for MappedFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// A type for which every bit pattern is a valid value.
///
/// # Safety
/// That must be true.
pub(super) unsafe trait AnyBits: Copy {}

// SAFETY: every 32 bits are an f32, NaNs included.
unsafe impl AnyBits for f32 {}
// SAFETY: a bf16 wraps a u16.
unsafe impl AnyBits for bf16 {}
// SAFETY: an f16 wraps a u16.
unsafe impl AnyBits for f16 {}

/// `len` little-endian elements in a file, from the byte `offset` on. Cloning is cheap.
#[derive(Clone)]
pub(super) struct Mapped<T> {
    file: Arc<MappedFile>,
    offset: usize,
    len: usize,
    element: PhantomData<T>,
}

impl<T: AnyBits> Mapped<T> {
    /// `None` if the range is not inside the file, if it is not aligned for `T`, or if this machine is
    /// big-endian.
    pub fn new(file: &Arc<MappedFile>, offset: usize, len: usize) -> Option<Self> {
        let end = offset.checked_add(len.checked_mul(size_of::<T>())?)?;
        let aligned = (file.as_ptr() as usize).wrapping_add(offset).is_multiple_of(align_of::<T>());
        let valid = end <= file.len() && aligned && cfg!(target_endian = "little");
        valid.then(|| Self { file: Arc::clone(file), offset, len, element: PhantomData })
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn get(&self) -> &[T] {
        let bytes = &self.file[self.bytes()];
        // SAFETY: `new` and `slice` keep the range inside the file and aligned for `T`, every bit pattern
        // is a `T`, and the file stays mapped and unchanged as long as `self` lives.
        unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast(), self.len) }
    }

    /// The elements `[start, start + len)`, a view.
    pub fn slice(&self, start: usize, len: usize) -> Self {
        assert!(start <= self.len && len <= self.len - start, "a slice of mapped elements");
        let file = Arc::clone(&self.file);
        Self { file, offset: self.offset + start * size_of::<T>(), len, element: PhantomData }
    }

    /// See [`MappedFile::release_pages`].
    pub fn release_pages(&self) {
        self.file.release_pages(self.bytes());
    }

    fn bytes(&self) -> Range<usize> {
        self.offset..self.offset + size_of::<T>() * self.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(bytes: &[u8]) -> Arc<MappedFile> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        // SAFETY: nobody else has the file.
        Arc::new(unsafe { MappedFile::map(file.as_file()) }.unwrap())
    }

    #[test]
    fn only_aligned_ranges_inside_the_file_are_mapped() {
        let file = map(&[0; 16]);
        assert!(Mapped::<f32>::new(&file, 0, 4).is_some());
        assert!(Mapped::<f32>::new(&file, 4, 3).is_some());
        assert!(Mapped::<f32>::new(&file, 4, 4).is_none(), "past the end");
        assert!(Mapped::<f32>::new(&file, 2, 2).is_none(), "not aligned");
        assert!(Mapped::<bf16>::new(&file, 2, 7).is_some());
        assert!(Mapped::<f32>::new(&file, usize::MAX - 3, 1).is_none(), "an offset that overflows");
        assert!(Mapped::<f32>::new(&file, 0, usize::MAX / 2).is_none(), "a size that overflows");
    }

    #[test]
    fn released_pages_are_read_again() {
        let values: Vec<f32> = (0..5000).map(|i| i as f32).collect();
        let file = map(&values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>());
        let all = Mapped::<f32>::new(&file, 0, values.len()).unwrap();
        let slice = all.slice(1000, 3000);
        assert_eq!(slice.get(), &values[1000..4000]);
        all.release_pages();
        assert_eq!(slice.get(), &values[1000..4000]);
        assert_eq!((slice.len(), all.get()), (3000, &values[..]));
    }

    #[test]
    #[should_panic(expected = "a slice of mapped elements")]
    fn a_slice_stays_inside() {
        Mapped::<f32>::new(&map(&[0; 16]), 0, 2).unwrap().slice(1, 2);
    }
}
