//! Portable packing: every factor, for any kernel's panels, one word at a time.
//!
//! A panel holds `width` neighboring rows of a matrix as `[words][width]`. Word `w` of a row is its
//! element `w` as f32, or its elements `2w` and `2w + 1` as a pair of bf16. Rows and columns beyond the
//! matrix are zeros.

use half::bf16;

use super::matrix::Matrix;
use crate::tensor::Factor;

/// Which rows of a matrix are packed, and the shape of their panels.
#[derive(Clone, Copy)]
pub(super) struct PanelLayout {
    /// The first row of the first panel.
    pub first: usize,
    /// Rows of a panel.
    pub width: usize,
    /// Words of a row. Words beyond the matrix are zeros.
    pub words: usize,
}

impl PanelLayout {
    /// Checks that `words` is the packed length of a row of `m` and that every panel in `out` starts
    /// inside `m`. Kernels that load and store without bounds checks rely on this.
    ///
    /// # Panics
    /// If a condition does not hold.
    pub fn check<const PAIRS: bool>(self, m: Matrix<'_>, out: &[u32]) {
        let Self { first, width, words } = self;
        let words_match = if PAIRS {
            // A kernel may round the number of words up to a multiple of 16.
            words.div_ceil(16) == m.cols().div_ceil(2).div_ceil(16)
        } else {
            words == m.cols()
        };
        let panel = words.checked_mul(width).filter(|&panel| panel > 0);
        let panels_fit = panel.is_some_and(|panel| {
            first < m.rows() && out.len() / panel <= (m.rows() - first).div_ceil(width)
        });
        assert!(words_match && panels_fit, "panels do not fit the matrix that is packed into them");
    }
}

/// Packs the rows of `m` into as many panels as `out` holds.
#[inline(always)]
pub(super) fn pack<const PAIRS: bool>(m: Matrix<'_>, layout: PanelLayout, out: &mut [u32]) {
    let PanelLayout { width, words, .. } = layout;
    layout.check::<PAIRS>(m, out);
    for (i, out) in out.chunks_exact_mut(words * width).enumerate() {
        let first = layout.first + i * width;
        match m.data() {
            Factor::F32(x) => pack_elements::<PAIRS, _>(x, |x| x, m, first, width, out),
            Factor::Bf16(x) => pack_elements::<PAIRS, _>(x, bf16::to_f32, m, first, width, out),
            Factor::F16(_) | Factor::Int8(_) | Factor::Nf4(_) | Factor::Codes(_)
                if m.is_column_major() =>
            {
                pack_columns::<PAIRS>(m, first, width, out);
            }
            Factor::F16(_) | Factor::Int8(_) | Factor::Nf4(_) | Factor::Codes(_) => {
                pack_rows::<PAIRS>(m, first, width, out);
            }
        }
    }
}

/// One panel of f32 or bf16 elements, in either orientation.
#[inline(always)]
fn pack_elements<const PAIRS: bool, T: Copy>(
    data: &[T],
    to_f32: impl Fn(T) -> f32,
    m: Matrix<'_>,
    first: usize,
    width: usize,
    out: &mut [u32],
) {
    let height = width.min(m.rows() - first);
    let (along_row, along_col) =
        if m.is_column_major() { (1, m.stride()) } else { (m.stride(), 1) };
    let at = |row: usize, k: usize| {
        if k < m.cols() { to_f32(data[(first + row) * along_row + k * along_col]) } else { 0.0 }
    };
    for (w, out) in out.chunks_exact_mut(width).enumerate() {
        out[height..].fill(0);
        for (row, out) in out[..height].iter_mut().enumerate() {
            *out =
                if PAIRS { pair(at(row, 2 * w), at(row, 2 * w + 1)) } else { at(row, w).to_bits() };
        }
    }
}

/// A word with two values rounded to bf16.
#[inline(always)]
fn pair(low: f32, high: f32) -> u32 {
    let [low, high] = [low, high].map(|x| u32::from(bf16::from_f32(x).to_bits()));
    low | high << 16
}

/// Elements that are converted to f32 at a time, so that a scale is looked up once for many.
const RUN: usize = 64;

/// One panel of a row-major matrix, in runs along each row.
#[inline(always)]
fn pack_rows<const PAIRS: bool>(m: Matrix<'_>, first: usize, width: usize, out: &mut [u32]) {
    let height = width.min(m.rows() - first);
    let per_word = if PAIRS { 2 } else { 1 };
    out.chunks_exact_mut(width).for_each(|out| out[height..].fill(0));
    out[m.cols().div_ceil(per_word) * width..].fill(0);
    let mut run = [0.0; RUN];
    for row in 0..height {
        for from in (0..m.cols()).step_by(RUN) {
            let part = (m.cols() - from).min(RUN);
            m.data().copy_to_f32((first + row) * m.stride() + from, &mut run[..part]);
            run[part..].fill(0.0);
            let words = out[from / per_word * width + row..].iter_mut().step_by(width);
            for (out, x) in words.zip(run.chunks_exact(per_word)) {
                *out = if PAIRS { pair(x[0], x[1]) } else { x[0].to_bits() };
            }
        }
    }
}

/// One panel of a column-major matrix, whose columns lie along the panel.
#[inline(always)]
fn pack_columns<const PAIRS: bool>(m: Matrix<'_>, first: usize, width: usize, out: &mut [u32]) {
    let height = width.min(m.rows() - first);
    let per_word = if PAIRS { 2 } else { 1 };
    let mut runs = [[0.0; RUN]; 2];
    assert!(width <= RUN);
    for (w, out) in out.chunks_exact_mut(width).enumerate() {
        for (i, run) in runs[..per_word].iter_mut().enumerate() {
            let k = per_word * w + i;
            if k < m.cols() {
                m.data().copy_to_f32(k * m.stride() + first, &mut run[..height]);
            } else {
                run[..height].fill(0.0);
            }
        }
        out[height..].fill(0);
        let [low, high] = &runs;
        for ((out, &low), &high) in out[..height].iter_mut().zip(low).zip(high) {
            *out = if PAIRS { pair(low, high) } else { low.to_bits() };
        }
    }
}
