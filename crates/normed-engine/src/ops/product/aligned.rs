//! Memory that starts at a cache line, so that loading a register never touches two lines.

/// A cache line of words.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct CacheLine<T>([T; WORDS]);

/// Words of four bytes in a cache line of 64 bytes.
const WORDS: usize = 16;

/// A vector of four-byte words, aligned to cache lines, that grows and never shrinks.
#[derive(Debug)]
pub(super) struct AlignedVec<T>(Vec<CacheLine<T>>);

impl<T: Copy + Default> AlignedVec<T> {
    /// An empty vector.
    pub const fn new() -> Self {
        const { assert!(size_of::<T>() * WORDS == align_of::<CacheLine<T>>()) };
        Self(Vec::new())
    }

    /// Grows to at least `words` words. Present words keep their values.
    pub fn grow(&mut self, words: usize) {
        let lines = words.div_ceil(WORDS).max(self.0.len());
        self.0.resize(lines, CacheLine([T::default(); WORDS]));
    }

    /// All words.
    pub fn words(&self) -> &[T] {
        // SAFETY: A cache line is an array of words without padding, as `new` checks, and so is the
        // vector. Its length in words cannot overflow, since its bytes fit the address space.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), self.0.len() * WORDS) }
    }

    /// All words, for writing.
    pub fn words_mut(&mut self) -> &mut [T] {
        // SAFETY: As in `words`; the vector is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), self.0.len() * WORDS) }
    }
}

impl<T: Copy + Default> Default for AlignedVec<T> {
    fn default() -> Self {
        Self::new()
    }
}
