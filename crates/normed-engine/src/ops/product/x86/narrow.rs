//! Packing with AVX-512 of what is kept in half precision, 8 or 4 bits: every element becomes f32 as
//! [`Factor::widen`] makes it, and is rounded from there.
//!
//! Closures are `#[inline(always)]`, here and beside: one that is not inlined is not compiled for the
//! instruction set, and calls every intrinsic.

use std::arch::x86_64::*;
use std::ops::Range;

use super::super::matrix::Matrix;
use super::super::pack::{self, Cut};
use super::{AHEAD, COLS, TOGETHER, copy_columns, fetch, interleave, mask16, transpose_rows};
use crate::tensor::{Factor, Int8, NF4_BLOCK, NF4_VALUES, Nf4};

/// As [`super::pack_512`].
///
/// # Safety
/// The processor must have AVX-512 (F, BW, VL, DQ), and BF16 for `PAIRS`.
#[inline(always)]
pub(super) unsafe fn pack_narrow<const PAIRS: bool>(m: Matrix<'_>, cut: Cut, out: &mut [u32]) {
    let Cut { first, width, words } = cut;
    let rows = m.rows() - first;
    let per_word = if PAIRS { 2 } else { 1 };
    assert!(words * width <= out.len() && width <= COLS);
    let (stride, inner) = (m.stride(), m.cols());
    // SAFETY: loads are masked to rows below `m.rows()` and columns below `m.cols()`, which
    // `Matrix::new` has checked against the elements; stores are within `words * width` words.
    unsafe {
        match (m.data(), m.by_columns()) {
            (Factor::F16(x), false) => {
                let x = x.as_ptr().cast::<i16>();
                transpose_rows(
                    rows,
                    width,
                    words,
                    out,
                    #[inline(always)]
                    |row, words| {
                        let row = x.add((first + row) * stride);
                        fetch(row.wrapping_add(width * stride + per_word * words.start));
                        words_of_row::<PAIRS>(
                            words,
                            inner,
                            #[inline(always)]
                            |from, mask| half(row, from, mask),
                        )
                    },
                );
            }
            (Factor::F16(x), true) => {
                let x = x.as_ptr().cast::<i16>();
                columns::<PAIRS>(
                    rows,
                    width,
                    words,
                    out,
                    inner,
                    #[inline(always)]
                    |k, at, mask| {
                        fetch(x.wrapping_add((k + AHEAD) * stride + first + at));
                        half(x, k * stride + first + at, mask)
                    },
                );
            }
            (Factor::Int8(x), false) => {
                let codes = x.codes().as_ptr().cast::<i8>();
                transpose_rows(
                    rows,
                    width,
                    words,
                    out,
                    #[inline(always)]
                    |row, words| {
                        let row = first + row;
                        let (start, scale) =
                            (codes.add(row * stride), _mm512_set1_ps(x.scale(row)));
                        fetch(start.wrapping_add(width * stride + per_word * words.start));
                        words_of_row::<PAIRS>(
                            words,
                            inner,
                            #[inline(always)]
                            |from, mask| eight(start, from, mask, scale),
                        )
                    },
                );
            }
            (Factor::Int8(x), true) => int8_columns::<PAIRS>(x, m, cut, out),
            // Blocks and bytes must not run over the ends of rows, nor of panels.
            (Factor::Nf4(x), false) if inner.is_multiple_of(NF4_BLOCK) && stride == inner => {
                nf4_rows::<PAIRS>(x, m, (first, rows, width), out);
            }
            (Factor::Nf4(x), true)
                if m.rows().is_multiple_of(NF4_BLOCK)
                    && stride == m.rows()
                    && first.is_multiple_of(COLS)
                    && width == COLS =>
            {
                nf4_columns::<PAIRS>(x, m, cut, out);
            }
            (Factor::Nf4(_) | Factor::F32(_) | Factor::Bf16(_), _) => {
                pack::pack::<PAIRS>(m, cut, out);
            }
        }
    }
}

/// Words `words` (at most 16) of a row of `inner` elements; `load` gives 16 from `from` on.
#[inline(always)]
unsafe fn words_of_row<const PAIRS: bool>(
    words: Range<usize>,
    inner: usize,
    load: impl Fn(usize, __mmask16) -> __m512,
) -> __m512i {
    // SAFETY: masked to elements below `inner`.
    unsafe {
        if !PAIRS {
            return _mm512_castps_si512(load(words.start, mask16(words.end - words.start)));
        }
        let (from, to) = (2 * words.start, inner.min(2 * words.end));
        let rest = (to - from).saturating_sub(16);
        rounded(load(from + 16, mask16(rest)), load(from, mask16(to - from)))
    }
}

/// [`copy_columns`] of f32; `load(k, at, mask)` gives rows `at..at + 16` of inner index `k`.
#[inline(always)]
unsafe fn columns<const PAIRS: bool>(
    rows: usize,
    width: usize,
    words: usize,
    out: &mut [u32],
    inner: usize,
    load: impl Fn(usize, usize, __mmask16) -> __m512,
) {
    // SAFETY: by the caller's contract.
    unsafe {
        copy_columns(
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
                interleave(rounded(pair[1], pair[0]))
            },
        );
    }
}

/// 32 bf16, those of `low` first.
#[inline(always)]
unsafe fn rounded(high: __m512, low: __m512) -> __m512i {
    // SAFETY: by the caller's contract.
    unsafe { std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low)) }
}

/// 16 f16 at `from`.
#[inline(always)]
unsafe fn half(x: *const i16, from: usize, mask: __mmask16) -> __m512 {
    // SAFETY: by the caller's contract.
    unsafe { _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, x.wrapping_add(from))) }
}

/// 16 elements of 8 bits at `from`.
#[inline(always)]
unsafe fn eight(x: *const i8, from: usize, mask: __mmask16, scale: __m512) -> __m512 {
    // SAFETY: by the caller's contract.
    unsafe {
        let codes = _mm_maskz_loadu_epi8(mask, x.wrapping_add(from));
        _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(codes)), scale)
    }
}

#[inline(always)]
unsafe fn int8_columns<const PAIRS: bool>(
    x: Int8<'_>,
    m: Matrix<'_>,
    Cut { first, width, words }: Cut,
    out: &mut [u32],
) {
    let (codes, stride, inner) = (x.codes().as_ptr().cast::<i8>(), m.stride(), m.cols());
    let rows = m.rows() - first;
    // SAFETY: by the caller's contract.
    unsafe {
        columns::<PAIRS>(
            rows,
            width,
            words,
            out,
            inner,
            #[inline(always)]
            |k, at, mask| {
                fetch(codes.wrapping_add((k + AHEAD) * stride + first + at));
                eight(codes, k * stride + first + at, mask, _mm512_set1_ps(x.scale(k)))
            },
        );
    }
}

/// The 16 values of a block, times its largest magnitude.
#[inline(always)]
unsafe fn values_of_block(x: Nf4<'_>, block: usize) -> __m512 {
    // SAFETY: by the caller's contract; there are 16 values.
    unsafe {
        let values = _mm512_loadu_ps(NF4_VALUES.as_ptr());
        _mm512_mul_ps(values, _mm512_set1_ps(x.block_absmax(block)))
    }
}

/// 16 elements, the first of an even number, of the block of `values`.
#[inline(always)]
unsafe fn sixteen(codes: *const u8, from: usize, values: __m512) -> __m512 {
    // SAFETY: by the caller's contract; these 8 bytes are inside.
    unsafe {
        let bytes = _mm512_cvtepu8_epi64(_mm_loadl_epi64(codes.add(from / 2).cast()));
        // The lower word of each pair takes the upper half of the byte; of an index, four bits count.
        let places = _mm512_or_si512(_mm512_slli_epi64::<32>(bytes), _mm512_srli_epi64::<4>(bytes));
        _mm512_permutexvar_ps(places, values)
    }
}

/// 32 elements as bf16, the first of an even number, of the block of `values`.
#[inline(always)]
unsafe fn thirty_two(codes: *const u8, from: usize, values: __m512) -> __m512i {
    // SAFETY: by the caller's contract; these 16 bytes are inside.
    unsafe {
        let narrow = std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(values));
        // Twice, as five bits of an index count, and the fifth is the next code's.
        let table = _mm512_broadcast_i64x4(narrow);
        let bytes = _mm512_cvtepu8_epi32(_mm_loadu_si128(codes.add(from / 2).cast()));
        let places = _mm512_or_si512(_mm512_slli_epi32::<16>(bytes), _mm512_srli_epi32::<4>(bytes));
        _mm512_permutexvar_epi16(places, table)
    }
}

/// Rows whose words are contiguous, of whole blocks.
#[inline(always)]
unsafe fn nf4_rows<const PAIRS: bool>(
    x: Nf4<'_>,
    m: Matrix<'_>,
    (first, rows, width): (usize, usize, usize),
    out: &mut [u32],
) {
    let (codes, inner) = (x.codes().as_ptr(), m.cols());
    let per_word = if PAIRS { 2 } else { 1 };
    // SAFETY: 16 words are 16 or 32 elements inside one block of the row.
    unsafe {
        transpose_rows(
            rows,
            width,
            inner / per_word,
            out,
            #[inline(always)]
            |row, words| {
                let from = (first + row) * inner + per_word * words.start;
                fetch(codes.wrapping_add((from + width * inner) / 2));
                let values = values_of_block(x, from / NF4_BLOCK);
                if PAIRS {
                    thirty_two(codes, from, values)
                } else {
                    _mm512_castps_si512(sixteen(codes, from, values))
                }
            },
        );
    }
}

/// Rows that lie along the panels, [`COLS`] to each: half a block of every inner index.
#[inline(always)]
unsafe fn nf4_columns<const PAIRS: bool>(
    x: Nf4<'_>,
    m: Matrix<'_>,
    Cut { first, words, .. }: Cut,
    out: &mut [u32],
) {
    let (codes, stride, inner) = (x.codes().as_ptr(), m.stride(), m.cols());
    // Of the first sixteen, and of the others: one of the lower row, one of the upper (from 32 on).
    // SAFETY: by the caller's contract.
    let (order, others) = unsafe {
        let order = _mm512_set_epi16(
            47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8, 39, 7, 38, 6, 37, 5, 36,
            4, 35, 3, 34, 2, 33, 1, 32, 0,
        );
        (order, _mm512_add_epi16(order, _mm512_set1_epi16(16)))
    };
    for from in (0..words).step_by(TOGETHER) {
        for (i, out) in out.chunks_exact_mut(words * COLS).enumerate() {
            let first = first + i * COLS;
            for word in from..words.min(from + TOGETHER) {
                // SAFETY: the 32 elements from `place` on are in one block of the matrix, as whole
                // panels are inside it; stores are within `words * COLS` words.
                unsafe {
                    let to = out.as_mut_ptr().add(word * COLS);
                    if !PAIRS {
                        let at = place(codes, word, stride, first);
                        let values = values_of_block(x, at / NF4_BLOCK);
                        _mm512_storeu_ps(to.cast(), sixteen(codes, at, values));
                        _mm512_storeu_ps(to.add(16).cast(), sixteen(codes, at + 16, values));
                        continue;
                    }
                    let mut pair = [_mm512_setzero_si512(); 2];
                    for (k, half) in (2 * word..inner).zip(&mut pair) {
                        let at = place(codes, k, stride, first);
                        *half = thirty_two(codes, at, values_of_block(x, at / NF4_BLOCK));
                    }
                    let [low, high] = pair;
                    let these = _mm512_permutex2var_epi16(low, order, high);
                    let those = _mm512_permutex2var_epi16(low, others, high);
                    _mm512_storeu_si512(to.cast(), these);
                    _mm512_storeu_si512(to.add(16).cast(), those);
                }
            }
        }
    }
}

/// Where the elements of inner index `k` begin, those of an index to come being fetched.
#[inline(always)]
fn place(codes: *const u8, k: usize, stride: usize, first: usize) -> usize {
    fetch(codes.wrapping_add(((k + AHEAD) * stride + first) / 2));
    k * stride + first
}
