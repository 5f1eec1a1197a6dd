//! Matrices of 8 bits an element, with a scale a row: bitsandbytes' `int8_vectorwise_quant` without
//! outliers. `code = round(127 x / max|row|)`, ties to even.

/// The largest code.
pub(super) const LARGEST: f32 = 127.0;

/// A matrix of 8 bits an element, as matrix products read it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Int8<'a> {
    /// In two's complement, row-major.
    pub(super) codes: &'a [u8],
    /// The largest magnitude of each row.
    pub(super) absmax: &'a [f32],
    pub(super) cols: usize,
}

impl<'a> Int8<'a> {
    /// The codes in two's complement, row-major.
    pub fn codes(self) -> &'a [u8] {
        self.codes
    }

    /// The largest magnitude of each row.
    pub fn absmax(self) -> &'a [f32] {
        self.absmax
    }

    /// The factor by which the codes of a row are multiplied.
    #[inline(always)]
    pub fn scale(self, row: usize) -> f32 {
        self.absmax[row] / LARGEST
    }

    /// Copies the elements from index `start` on into `out`.
    #[inline(always)]
    pub(in crate::tensor) fn copy_to_f32(self, start: usize, out: &mut [f32]) {
        let (mut at, mut out) = (start, out);
        while !out.is_empty() {
            let row = at / self.cols;
            let run = out.len().min((row + 1) * self.cols - at);
            let (now, rest) = out.split_at_mut(run);
            let scale = self.scale(row);
            for (out, &code) in now.iter_mut().zip(&self.codes[at..][..run]) {
                *out = f32::from(code.cast_signed()) * scale;
            }
            (at, out) = (at + run, rest);
        }
    }
}
