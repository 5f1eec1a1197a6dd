//! Packing with AVX-512 of factors in f16, int8 and NF4: every element becomes f32 as
//! [`Factor::copy_to_f32`] makes it, and is rounded to bf16 from there if the words are pairs.

use std::arch::x86_64::*;
use std::ops::Range;

use super::registers::{
    PREFETCH_AHEAD, WORDS_TOGETHER, interleave, mask16, pack_columns, pack_contiguous_rows,
    prefetch, round_to_bf16,
};
use crate::ops::product::matrix::Matrix;
use crate::ops::product::pack::{PanelLayout, pack};
use crate::tensor::{Factor, Int8, NF4_BLOCK, Nf4};

/// Rows of a right panel of the AVX-512 and AMX kernels: half a block of NF4.
const PANEL: usize = 32;

/// [`pack_avx512`](super::pack_avx512::pack_avx512) of factors other than f32 and bf16.
///
/// # Safety
/// - The processor must have AVX-512 (F, BW, VL, DQ), and bf16 if `PAIRS`.
/// - [`PanelLayout::check`] must have passed.
#[allow(
    clippy::too_many_lines,
    reason = "one arm for every element type and orientation, each of them one call"
)]
#[inline(always)]
pub(super) unsafe fn pack_narrow<const PAIRS: bool>(
    m: Matrix<'_>,
    layout: PanelLayout,
    out: &mut [u32],
) {
    let PanelLayout { first, width, words } = layout;
    let rows = m.rows() - first;
    let per_word = if PAIRS { 2 } else { 1 };
    let (stride, inner) = (m.stride(), m.cols());
    // SAFETY: Loads are of rows below `m.rows()` and of columns below `m.cols()`, which `Matrix::new` has
    // checked against the elements. The rest is this function's contract.
    unsafe {
        match (m.data(), m.is_column_major()) {
            (Factor::F16(x), false) => {
                let x = x.as_ptr().cast::<i16>();
                pack_contiguous_rows(
                    rows,
                    width,
                    words,
                    out,
                    #[inline(always)]
                    |row, words| {
                        let row = x.add((first + row) * stride);
                        prefetch(row.wrapping_add(width * stride + per_word * words.start));
                        words_of_row::<PAIRS>(
                            words,
                            inner,
                            #[inline(always)]
                            |from, mask| load_f16(row, from, mask),
                        )
                    },
                );
            }
            (Factor::F16(x), true) => {
                let x = x.as_ptr().cast::<i16>();
                pack_f32_columns::<PAIRS>(
                    rows,
                    width,
                    words,
                    out,
                    inner,
                    #[inline(always)]
                    |k, at, mask| {
                        prefetch(x.wrapping_add((k + PREFETCH_AHEAD) * stride + first + at));
                        load_f16(x, k * stride + first + at, mask)
                    },
                );
            }
            (Factor::Int8(x), false) => {
                let codes = x.codes().as_ptr().cast::<i8>();
                pack_contiguous_rows(
                    rows,
                    width,
                    words,
                    out,
                    #[inline(always)]
                    |row, words| {
                        let row = first + row;
                        let (start, scale) =
                            (codes.add(row * stride), _mm512_set1_ps(x.scale(row)));
                        prefetch(start.wrapping_add(width * stride + per_word * words.start));
                        words_of_row::<PAIRS>(
                            words,
                            inner,
                            #[inline(always)]
                            |from, mask| load_int8(start, from, mask, scale),
                        )
                    },
                );
            }
            (Factor::Int8(x), true) => pack_int8_columns::<PAIRS>(x, m, layout, out),
            // Whole blocks only: no byte and no block may span two rows or two panels.
            (Factor::Nf4(x), false) if inner.is_multiple_of(NF4_BLOCK) && stride == inner => {
                pack_nf4_rows::<PAIRS>(x, m, (first, rows, width), out);
            }
            (Factor::Nf4(x), true)
                if m.rows().is_multiple_of(NF4_BLOCK)
                    && stride == m.rows()
                    && first.is_multiple_of(PANEL)
                    && width == PANEL =>
            {
                pack_nf4_columns::<PAIRS>(x, m, layout, out);
            }
            (Factor::Nf4(_) | Factor::Codes(_) | Factor::F32(_) | Factor::Bf16(_), _) => {
                pack::<PAIRS>(m, layout, out);
            }
        }
    }
}

/// The words `words`, at most 16, of a row of `inner` elements. `load(from, mask)` gives the elements
/// `from..from + 16` that are in `mask`, as f32.
///
/// # Safety
/// - The processor must have AVX-512 (F, BW, VL, DQ), and bf16 if `PAIRS`.
/// - The first element of the words must be below `inner`. Without `PAIRS`, all must be.
#[inline(always)]
pub(super) unsafe fn words_of_row<const PAIRS: bool>(
    words: Range<usize>,
    inner: usize,
    load: impl Fn(usize, __mmask16) -> __m512,
) -> __m512i {
    // SAFETY: By the contract of this function.
    unsafe {
        if !PAIRS {
            return _mm512_castps_si512(load(words.start, mask16(words.end - words.start)));
        }
        let (from, to) = (2 * words.start, inner.min(2 * words.end));
        let rest = (to - from).saturating_sub(16);
        round_to_bf16(load(from + 16, mask16(rest)), load(from, mask16(to - from)))
    }
}

/// [`pack_columns`] of elements that are loaded as f32: `load(k, at, mask)` gives the rows `at..at + 16`
/// of column `k` that are in `mask`.
///
/// # Safety
/// The processor must have AVX-512 (F, BW, VL, DQ), and bf16 if `PAIRS`.
#[inline(always)]
unsafe fn pack_f32_columns<const PAIRS: bool>(
    rows: usize,
    width: usize,
    words: usize,
    out: &mut [u32],
    inner: usize,
    load: impl Fn(usize, usize, __mmask16) -> __m512,
) {
    // SAFETY: By the contract of this function.
    unsafe {
        pack_columns(
            rows,
            width,
            words,
            out,
            #[inline(always)]
            |word, at, mask| {
                if !PAIRS {
                    return _mm512_castps_si512(load(word, at, mask));
                }
                let mut pair = [_mm512_setzero_ps(); 2];
                for (k, half) in (2 * word..inner).zip(&mut pair) {
                    *half = load(k, at, mask);
                }
                interleave(round_to_bf16(pair[1], pair[0]))
            },
        );
    }
}

/// 16 f16 from `from` on, as f32.
///
/// # Safety
/// The processor must have AVX-512 (F, BW, VL), and the elements in `mask` must be valid for reading.
#[inline(always)]
pub(super) unsafe fn load_f16(x: *const i16, from: usize, mask: __mmask16) -> __m512 {
    // SAFETY: By the contract of this function.
    unsafe { _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, x.wrapping_add(from))) }
}

/// 16 int8 codes from `from` on, times their scale.
///
/// # Safety
/// As [`load_f16`].
#[inline(always)]
pub(super) unsafe fn load_int8(
    x: *const i8,
    from: usize,
    mask: __mmask16,
    scale: __m512,
) -> __m512 {
    // SAFETY: By the contract of this function.
    unsafe {
        let codes = _mm_maskz_loadu_epi8(mask, x.wrapping_add(from));
        _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(codes)), scale)
    }
}

/// Packs a column-major int8 matrix, in which a scale belongs to a column.
///
/// # Safety
/// As [`pack_narrow`].
#[inline(always)]
unsafe fn pack_int8_columns<const PAIRS: bool>(
    x: Int8<'_>,
    m: Matrix<'_>,
    PanelLayout { first, width, words }: PanelLayout,
    out: &mut [u32],
) {
    let (codes, stride, inner) = (x.codes().as_ptr().cast::<i8>(), m.stride(), m.cols());
    let rows = m.rows() - first;
    // SAFETY: By the contract of this function.
    unsafe {
        pack_f32_columns::<PAIRS>(
            rows,
            width,
            words,
            out,
            inner,
            #[inline(always)]
            |k, at, mask| {
                prefetch(codes.wrapping_add((k + PREFETCH_AHEAD) * stride + first + at));
                load_int8(codes, k * stride + first + at, mask, _mm512_set1_ps(x.scale(k)))
            },
        );
    }
}

/// The 16 values that the codes of an NF4 block stand for: the table times the block's absmax.
///
/// # Safety
/// The processor must have AVX-512F.
#[inline(always)]
unsafe fn block_values(x: Nf4<'_>, block: usize) -> __m512 {
    // SAFETY: By the contract of this function; the table has 16 values.
    unsafe {
        let values = _mm512_loadu_ps(x.values().as_ptr());
        _mm512_mul_ps(values, _mm512_set1_ps(x.block_absmax(block)))
    }
}

/// 16 NF4 elements from the even element `from` on, as f32, of the block with these values.
///
/// # Safety
/// The processor must have AVX-512F, and the 8 bytes of the codes must be valid for reading.
#[inline(always)]
unsafe fn load_nf4_f32(codes: *const u8, from: usize, values: __m512) -> __m512 {
    // SAFETY: By the contract of this function.
    unsafe {
        let bytes = _mm512_cvtepu8_epi64(_mm_loadl_epi64(codes.add(from / 2).cast()));
        // A byte becomes two 32-bit indices: first its upper four bits, then its lower four. The
        // permutation uses only the lowest four bits of an index.
        let indices =
            _mm512_or_si512(_mm512_slli_epi64::<32>(bytes), _mm512_srli_epi64::<4>(bytes));
        _mm512_permutexvar_ps(indices, values)
    }
}

/// 32 NF4 elements from the even element `from` on, as bf16, of the block with these values.
///
/// # Safety
/// The processor must have AVX-512 (F, BW) with bf16, and the 16 bytes of the codes must be valid for
/// reading.
#[inline(always)]
unsafe fn load_nf4_bf16(codes: *const u8, from: usize, values: __m512) -> __m512i {
    // SAFETY: By the contract of this function.
    unsafe {
        let values = std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(values));
        // The permutation uses the lowest five bits of an index, and the fifth belongs to another code:
        // the table is there twice.
        let table = _mm512_broadcast_i64x4(values);
        let bytes = _mm512_cvtepu8_epi32(_mm_loadu_si128(codes.add(from / 2).cast()));
        let indices =
            _mm512_or_si512(_mm512_slli_epi32::<16>(bytes), _mm512_srli_epi32::<4>(bytes));
        _mm512_permutexvar_epi16(indices, table)
    }
}

/// Packs a row-major NF4 matrix whose rows are whole blocks.
///
/// # Safety
/// As [`pack_narrow`], and rows must be whole blocks without gaps between them.
#[inline(always)]
unsafe fn pack_nf4_rows<const PAIRS: bool>(
    x: Nf4<'_>,
    m: Matrix<'_>,
    (first, rows, width): (usize, usize, usize),
    out: &mut [u32],
) {
    let (codes, inner) = (x.codes().as_ptr(), m.cols());
    let per_word = if PAIRS { 2 } else { 1 };
    // SAFETY: By the contract of this function; 16 words are 16 or 32 elements of one block of a row.
    unsafe {
        pack_contiguous_rows(
            rows,
            width,
            inner / per_word,
            out,
            #[inline(always)]
            |row, words| {
                let from = (first + row) * inner + per_word * words.start;
                prefetch(codes.wrapping_add((from + width * inner) / 2));
                let values = block_values(x, from / NF4_BLOCK);
                if PAIRS {
                    load_nf4_bf16(codes, from, values)
                } else {
                    _mm512_castps_si512(load_nf4_f32(codes, from, values))
                }
            },
        );
    }
}

/// Packs a column-major NF4 matrix whose columns are whole blocks into panels of [`PANEL`] rows: half a
/// block of every column.
///
/// # Safety
/// As [`pack_narrow`]. Columns must be whole blocks without gaps between them, and `first` must be a
/// multiple of [`PANEL`].
#[inline(always)]
unsafe fn pack_nf4_columns<const PAIRS: bool>(
    x: Nf4<'_>,
    m: Matrix<'_>,
    PanelLayout { first, words, .. }: PanelLayout,
    out: &mut [u32],
) {
    let (codes, stride, inner) = (x.codes().as_ptr(), m.stride(), m.cols());
    // Indices into two registers of 32 bf16 that pair elements of an even column and of the next: of the
    // first sixteen rows, and of the others.
    // SAFETY: By the contract of this function.
    let (first_rows, other_rows) = unsafe {
        let order = _mm512_set_epi16(
            47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8, 39, 7, 38, 6, 37, 5, 36,
            4, 35, 3, 34, 2, 33, 1, 32, 0,
        );
        (order, _mm512_add_epi16(order, _mm512_set1_epi16(16)))
    };
    for from in (0..words).step_by(WORDS_TOGETHER) {
        for (i, out) in out.chunks_exact_mut(words * PANEL).enumerate() {
            let first = first + i * PANEL;
            for word in from..words.min(from + WORDS_TOGETHER) {
                // SAFETY: By the contract of this function. The 32 elements that are loaded are in one
                // block inside the matrix, because panels are whole; stores are within the
                // `words * PANEL` words of a panel.
                unsafe {
                    let to = out.as_mut_ptr().add(word * PANEL);
                    if !PAIRS {
                        let at = column_start(codes, word, stride, first);
                        let values = block_values(x, at / NF4_BLOCK);
                        _mm512_storeu_ps(to.cast(), load_nf4_f32(codes, at, values));
                        _mm512_storeu_ps(to.add(16).cast(), load_nf4_f32(codes, at + 16, values));
                        continue;
                    }
                    let mut pair = [_mm512_setzero_si512(); 2];
                    for (k, half) in (2 * word..inner).zip(&mut pair) {
                        let at = column_start(codes, k, stride, first);
                        *half = load_nf4_bf16(codes, at, block_values(x, at / NF4_BLOCK));
                    }
                    let [low, high] = pair;
                    let these = _mm512_permutex2var_epi16(low, first_rows, high);
                    let those = _mm512_permutex2var_epi16(low, other_rows, high);
                    _mm512_storeu_si512(to.cast(), these);
                    _mm512_storeu_si512(to.add(16).cast(), those);
                }
            }
        }
    }
}

/// The first element of a panel in column `k`. Prefetches that of a later column.
#[inline(always)]
fn column_start(codes: *const u8, k: usize, stride: usize, first: usize) -> usize {
    prefetch(codes.wrapping_add(((k + PREFETCH_AHEAD) * stride + first) / 2));
    k * stride + first
}
