//! Memory that begins with a cache line: a register's load then never takes two.

/// A cache line's worth of words.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line<T>([T; WORDS]);

const WORDS: usize = 16;

/// Memory for words, of four bytes each, that grows and keeps what was in it.
#[derive(Debug)]
pub(super) struct Lines<T>(Vec<Line<T>>);

impl<T: Copy + Default> Lines<T> {
    /// None yet.
    pub const fn new() -> Self {
        const { assert!(size_of::<T>() * WORDS == align_of::<Line<T>>()) };
        Self(Vec::new())
    }

    /// Makes sure that there are so many words.
    pub fn grow(&mut self, words: usize) {
        let lines = words.div_ceil(WORDS).max(self.0.len());
        self.0.resize(lines, Line([T::default(); WORDS]));
    }

    /// All words.
    pub fn words(&self) -> &[T] {
        // SAFETY: a line is an array of its words, without padding as `new` has checked.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), self.0.len() * WORDS) }
    }

    /// All words, for writing.
    pub fn words_mut(&mut self) -> &mut [T] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), self.0.len() * WORDS) }
    }
}

impl<T: Copy + Default> Default for Lines<T> {
    fn default() -> Self {
        Self::new()
    }
}
