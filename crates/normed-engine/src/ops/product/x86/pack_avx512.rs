//! Packing with AVX-512.

use super::narrow::pack_narrow;
use super::registers::{
    column_words_bf16, column_words_f32, load_words_bf16, load_words_f32, pack_columns,
    pack_contiguous_rows, prefetch,
};
use crate::ops::product::matrix::Matrix;
use crate::ops::product::pack::PanelLayout;
use crate::tensor::Factor;

/// Packs the rows of `m` into as many panels as `out` holds.
///
/// # Safety
/// The processor must have AVX-512 (F, BW, VL, DQ), and bf16 if `PAIRS`.
///
/// # Panics
/// If the panels do not fit the matrix.
#[allow(
    clippy::too_many_lines,
    reason = "one arm for every element type and orientation, each of them one call"
)]
#[inline(always)]
pub(super) unsafe fn pack_avx512<const PAIRS: bool>(
    m: Matrix<'_>,
    layout: PanelLayout,
    out: &mut [u32],
) {
    let PanelLayout { first, width, words } = layout;
    layout.check::<PAIRS>(m, out);
    let rows = m.rows() - first;
    let (stride, inner) = (m.stride(), m.cols());
    // SAFETY: Loads are of rows below `m.rows()` and of columns below `m.cols()`, which `Matrix::new` has
    // checked against the slice. `PanelLayout::check` has checked that panels start inside `m` and that
    // words are those of its rows. The processor has the instructions by this function's contract.
    unsafe {
        match (m.data(), m.is_column_major()) {
            (Factor::F32(x), false) => {
                let x = x.as_ptr();
                pack_contiguous_rows(
                    rows,
                    width,
                    words,
                    out,
                    #[inline(always)]
                    |row, words| {
                        let row = x.add((first + row) * stride);
                        let per_word = if PAIRS { 2 } else { 1 };
                        for line in (0..per_word * 16).step_by(16) {
                            prefetch(
                                row.wrapping_add(width * stride + per_word * words.start + line),
                            );
                        }
                        load_words_f32::<PAIRS>(row, words, inner)
                    },
                );
            }
            (Factor::Bf16(x), false) => {
                let x = x.as_ptr().cast::<u16>();
                pack_contiguous_rows(
                    rows,
                    width,
                    words,
                    out,
                    #[inline(always)]
                    |row, words| {
                        let row = x.add((first + row) * stride);
                        let per_word = if PAIRS { 2 } else { 1 };
                        prefetch(row.wrapping_add(width * stride + per_word * words.start));
                        load_words_bf16::<PAIRS>(row, words, inner)
                    },
                );
            }
            (Factor::F32(x), true) => {
                let x = x.as_ptr().wrapping_add(first);
                pack_columns(
                    rows,
                    width,
                    words,
                    out,
                    #[inline(always)]
                    |word, at, mask| {
                        column_words_f32::<PAIRS>(x.wrapping_add(at), stride, inner, word, mask)
                    },
                );
            }
            (Factor::Bf16(x), true) => {
                let x = x.as_ptr().cast::<i16>().wrapping_add(first);
                pack_columns(
                    rows,
                    width,
                    words,
                    out,
                    #[inline(always)]
                    |word, at, mask| {
                        column_words_bf16::<PAIRS>(x.wrapping_add(at), stride, inner, word, mask)
                    },
                );
            }
            (Factor::F16(_) | Factor::Int8(_) | Factor::Nf4(_) | Factor::Codes(_), _) => {
                pack_narrow::<PAIRS>(m, layout, out);
            }
        }
    }
}
