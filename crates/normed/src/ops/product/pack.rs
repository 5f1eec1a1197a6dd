//! Packing, the plain version: any kernel's layout, one word at a time.
//!
//! A panel holds `width` neighbouring rows of a matrix as `[words][width]`: word `w` of a row is its
//! element `w`, or its elements `2w` and `2w + 1` as bf16. Rows and columns beyond the matrix are 0.

use half::bf16;

use super::matrix::Matrix;
use crate::tensor::Elements;

/// Packs the rows from `first` on of `m` into as many panels as `out` holds.
#[inline(always)]
pub(super) fn pack<const PAIRS: bool>(m: Matrix<'_>, first: usize, width: usize, out: &mut [u32]) {
    let words = if PAIRS { m.cols().div_ceil(2) } else { m.cols() };
    for (i, out) in out.chunks_exact_mut(words * width).enumerate() {
        let first = first + i * width;
        match m.data() {
            Elements::F32(x) => pack_elements::<PAIRS, _>(x, |x| x, m, first, width, out),
            Elements::Bf16(x) => pack_elements::<PAIRS, _>(x, bf16::to_f32, m, first, width, out),
        }
    }
}

#[inline(always)]
fn pack_elements<const PAIRS: bool, T: Copy>(
    data: &[T],
    wide: impl Fn(T) -> f32,
    m: Matrix<'_>,
    first: usize,
    width: usize,
    out: &mut [u32],
) {
    let height = width.min(m.rows() - first);
    let (along_row, along_col) = if m.by_columns() { (1, m.stride()) } else { (m.stride(), 1) };
    let at = |row: usize, k: usize| {
        if k < m.cols() { wide(data[(first + row) * along_row + k * along_col]) } else { 0.0 }
    };
    for (w, out) in out.chunks_exact_mut(width).enumerate() {
        out[height..].fill(0);
        for (row, out) in out[..height].iter_mut().enumerate() {
            *out = if PAIRS {
                let [low, high] = [2 * w, 2 * w + 1].map(|k| bf16::from_f32(at(row, k)).to_bits());
                u32::from(low) | u32::from(high) << 16
            } else {
                at(row, w).to_bits()
            };
        }
    }
}
