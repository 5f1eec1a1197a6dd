//! Eight bits an element, symmetric, a scale a row, as bitsandbytes' `int8_vectorwise_quant` without
//! outliers: `code = round(x 127 / max|row|)`, ties to even.

use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use crate::tensor::Factor;

/// The largest code.
const LARGEST: f32 = 127.0;

/// A matrix in 8 bits, as products read it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Int8<'a> {
    /// Two's complement, row-major.
    pub(super) codes: &'a [u8],
    /// Of every row.
    pub(super) absmax: &'a [f32],
    pub(super) cols: usize,
}

impl<'a> Int8<'a> {
    /// The codes, two's complement.
    pub fn codes(self) -> &'a [u8] {
        self.codes
    }

    /// The largest magnitude of every row.
    pub fn absmax(self) -> &'a [f32] {
        self.absmax
    }

    /// What the codes of a row are multiplied by.
    #[inline(always)]
    pub fn scale(self, row: usize) -> f32 {
        self.absmax[row] / LARGEST
    }

    /// The elements from `start` on, as many as `out` has.
    #[inline(always)]
    pub(in crate::tensor) fn widen(self, start: usize, out: &mut [f32]) {
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

/// Codes, and the largest magnitude of every row; None if an element is no number.
pub(super) fn quantize(
    matrix: Factor<'_>,
    rows: usize,
    cols: usize,
) -> Option<(Vec<u8>, Vec<f32>)> {
    let (mut codes, mut absmax) = (vec![0; rows * cols], vec![0.0; rows]);
    let finite = AtomicBool::new(true);
    let each = codes.par_chunks_exact_mut(cols.max(1)).zip(&mut absmax).enumerate();
    each.for_each_init(
        || vec![0.0; cols],
        |elements, (row, (codes, absmax))| {
            matrix.widen(row * cols, elements);
            if !elements.iter().all(|x| x.is_finite()) {
                finite.store(false, Ordering::Relaxed);
            }
            *absmax = elements.iter().fold(0.0f32, |a, x| a.max(x.abs()));
            if *absmax == 0.0 {
                return;
            }
            // Rounded twice, as torch divides a number by a tensor.
            let scale = 1.0 / *absmax * LARGEST;
            for (code, x) in codes.iter_mut().zip(elements) {
                // The cast saturates; nothing is outside but where `scale` is infinite.
                *code = ((*x * scale).round_ties_even() as i8).cast_unsigned();
            }
        },
    );
    finite.into_inner().then_some((codes, absmax))
}
