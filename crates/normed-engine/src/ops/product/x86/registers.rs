//! Building blocks of packing with AVX-512: masked loads of words, transposes in registers, and the loops
//! that store panels.

use std::arch::x86_64::*;
use std::ops::Range;

/// Inner indices from a load to the prefetch that goes with it.
pub(super) const PREFETCH_AHEAD: usize = 32;

/// Words of all panels that are stored before the next words. Neighbors in memory are then read together,
/// which is faster than one cache line of every row at a time.
pub(super) const WORDS_TOGETHER: usize = 8;

/// Asks for the cache line at `p`, which may be any address. The rows of a large matrix are pages apart,
/// where the processor does not prefetch by itself.
#[inline(always)]
pub(super) fn prefetch<T>(p: *const T) {
    // SAFETY: A prefetch is a hint and never faults. Every x86-64 processor has it.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
}

/// A mask of the lowest `n` of 16 lanes.
#[inline(always)]
pub(super) fn mask16(n: usize) -> __mmask16 {
    if n >= 16 { u16::MAX } else { (1 << n) - 1 }
}

/// A mask of the lowest `n` of 32 lanes.
#[inline(always)]
fn mask32(n: usize) -> __mmask32 {
    if n >= 32 { u32::MAX } else { (1 << n) - 1 }
}

/// Converts 16 bf16 to f32.
///
/// # Safety
/// The processor must have AVX-512F.
#[inline(always)]
unsafe fn bf16_to_f32(x: __m256i) -> __m512 {
    // SAFETY: By the contract of this function.
    unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(x))) }
}

/// Rounds 32 f32 to bf16, those of `low` first.
///
/// # Safety
/// The processor must have AVX-512 with bf16.
#[inline(always)]
pub(super) unsafe fn round_to_bf16(high: __m512, low: __m512) -> __m512i {
    // SAFETY: By the contract of this function; both types are 512 bits.
    unsafe { std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low)) }
}

/// Pairs each 16-bit element of the lower half with the one of the upper half in the same position.
///
/// # Safety
/// The processor must have AVX-512 (F, BW).
#[inline(always)]
pub(super) unsafe fn interleave(halves: __m512i) -> __m512i {
    // SAFETY: By the contract of this function.
    unsafe {
        let order = _mm512_set_epi16(
            31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5, 20,
            4, 19, 3, 18, 2, 17, 1, 16, 0,
        );
        _mm512_permutexvar_epi16(order, halves)
    }
}

/// Word `word` of 16 rows of a column-major f32 matrix with `inner` columns. `x` is at the first of
/// these rows in column 0.
///
/// # Safety
/// - The processor must have AVX-512 (F, BW, VL, DQ), and bf16 if `PAIRS`.
/// - The rows in `mask` of every column below `inner` must be valid for reading.
#[inline(always)]
pub(super) unsafe fn column_words_f32<const PAIRS: bool>(
    x: *const f32,
    stride: usize,
    inner: usize,
    word: usize,
    mask: __mmask16,
) -> __m512i {
    // SAFETY: By the contract of this function.
    unsafe {
        if !PAIRS {
            return _mm512_castps_si512(column_f32(x, stride, inner, word, mask));
        }
        let low = column_f32(x, stride, inner, 2 * word, mask);
        let high = column_f32(x, stride, inner, 2 * word + 1, mask);
        interleave(round_to_bf16(high, low))
    }
}

/// 16 rows of column `k`, zeros from column `inner` on.
///
/// # Safety
/// As [`column_words_f32`].
#[inline(always)]
unsafe fn column_f32(
    x: *const f32,
    stride: usize,
    inner: usize,
    k: usize,
    mask: __mmask16,
) -> __m512 {
    prefetch(x.wrapping_add((k + PREFETCH_AHEAD) * stride));
    let mask = if k < inner { mask } else { 0 };
    // SAFETY: By the contract of this function; a masked load reads nothing outside its mask.
    unsafe { _mm512_maskz_loadu_ps(mask, x.wrapping_add(k * stride)) }
}

/// [`column_words_f32`] of a bf16 matrix.
///
/// # Safety
/// As [`column_words_f32`]; bf16 instructions are not needed.
#[inline(always)]
pub(super) unsafe fn column_words_bf16<const PAIRS: bool>(
    x: *const i16,
    stride: usize,
    inner: usize,
    word: usize,
    mask: __mmask16,
) -> __m512i {
    // SAFETY: By the contract of this function.
    unsafe {
        if !PAIRS {
            return _mm512_castps_si512(bf16_to_f32(column_bf16(x, stride, inner, word, mask)));
        }
        let low = column_bf16(x, stride, inner, 2 * word, mask);
        let high = column_bf16(x, stride, inner, 2 * word + 1, mask);
        interleave(_mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high))
    }
}

/// 16 rows of column `k`, zeros from column `inner` on.
///
/// # Safety
/// As [`column_words_bf16`].
#[inline(always)]
unsafe fn column_bf16(
    x: *const i16,
    stride: usize,
    inner: usize,
    k: usize,
    mask: __mmask16,
) -> __m256i {
    prefetch(x.wrapping_add((k + PREFETCH_AHEAD) * stride));
    let mask = if k < inner { mask } else { 0 };
    // SAFETY: By the contract of this function; a masked load reads nothing outside its mask.
    unsafe { _mm256_maskz_loadu_epi16(mask, x.wrapping_add(k * stride)) }
}

/// The words `words`, at most 16, of a contiguous row of `inner` f32.
///
/// # Safety
/// - The processor must have AVX-512 (F, BW, VL, DQ), and bf16 if `PAIRS`.
/// - `row` must be valid for reading `inner` elements, and the first of the words must start below `inner`. Without
///   `PAIRS`, all words must be below `inner`.
#[inline(always)]
pub(super) unsafe fn load_words_f32<const PAIRS: bool>(
    row: *const f32,
    words: Range<usize>,
    inner: usize,
) -> __m512i {
    // SAFETY: Loads are masked to elements below `inner`, by the contract of this function.
    unsafe {
        if !PAIRS {
            let mask = mask16(words.end - words.start);
            return _mm512_castps_si512(_mm512_maskz_loadu_ps(mask, row.add(words.start)));
        }
        let (from, to) = (2 * words.start, inner.min(2 * words.end));
        let low = _mm512_maskz_loadu_ps(mask16(to - from), row.add(from));
        let rest = (to - from).saturating_sub(16);
        let high = _mm512_maskz_loadu_ps(mask16(rest), row.wrapping_add(from + 16));
        round_to_bf16(high, low)
    }
}

/// [`load_words_f32`] of a row of bf16.
///
/// # Safety
/// As [`load_words_f32`]; bf16 instructions are not needed.
#[inline(always)]
pub(super) unsafe fn load_words_bf16<const PAIRS: bool>(
    row: *const u16,
    words: Range<usize>,
    inner: usize,
) -> __m512i {
    // SAFETY: Loads are masked to elements below `inner`, by the contract of this function.
    unsafe {
        if PAIRS {
            let (from, to) = (2 * words.start, inner.min(2 * words.end));
            return _mm512_maskz_loadu_epi16(mask32(to - from), row.add(from).cast());
        }
        let mask = mask16(words.end - words.start);
        let half = _mm256_maskz_loadu_epi16(mask, row.add(words.start).cast());
        _mm512_castps_si512(bf16_to_f32(half))
    }
}

/// Packs panels of `rows` rows whose words are contiguous: 16 by 16 words at a time, transposed in
/// registers. `load(row, words)` gives up to 16 words of a row below `rows`.
///
/// # Safety
/// The processor must have AVX-512F.
#[inline(always)]
pub(super) unsafe fn pack_contiguous_rows(
    rows: usize,
    width: usize,
    words: usize,
    out: &mut [u32],
    load: impl Fn(usize, Range<usize>) -> __m512i,
) {
    for (i, out) in out.chunks_exact_mut(words * width).enumerate() {
        for at in (0..width).step_by(16) {
            let store = mask16(width - at);
            let height = (rows - i * width).min(width).saturating_sub(at);
            for from in (0..words).step_by(16) {
                // SAFETY: By the contract of this function; stores are within the
                // `words * width` words of a panel.
                unsafe {
                    let part = from..words.min(from + 16);
                    let mut block = [_mm512_setzero_si512(); 16];
                    for (row, block) in block.iter_mut().enumerate() {
                        if row < height {
                            *block = load(i * width + at + row, part.clone());
                        }
                    }
                    let block = transpose(block);
                    for (word, block) in part.zip(block) {
                        let to = out.as_mut_ptr().add(word * width + at);
                        _mm512_mask_storeu_epi32(to.cast(), store, block);
                    }
                }
            }
        }
    }
}

/// The transpose of 16 rows of 16 words.
///
/// # Safety
/// The processor must have AVX-512F.
#[inline(always)]
pub(super) unsafe fn transpose(mut r: [__m512i; 16]) -> [__m512i; 16] {
    // SAFETY: By the contract of this function.
    unsafe {
        let mut t = r;
        for i in 0..8 {
            t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
            t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
        }
        for i in 0..4 {
            r[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
            r[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
            r[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
            r[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
        }
        for i in 0..4 {
            t[i] = _mm512_shuffle_i32x4::<0x88>(r[i], r[i + 4]);
            t[i + 4] = _mm512_shuffle_i32x4::<0xdd>(r[i], r[i + 4]);
            t[i + 8] = _mm512_shuffle_i32x4::<0x88>(r[i + 8], r[i + 12]);
            t[i + 12] = _mm512_shuffle_i32x4::<0xdd>(r[i + 8], r[i + 12]);
        }
        for i in 0..8 {
            r[i] = _mm512_shuffle_i32x4::<0x88>(t[i], t[i + 8]);
            r[i + 8] = _mm512_shuffle_i32x4::<0xdd>(t[i], t[i + 8]);
        }
        r
    }
}

/// Packs panels of `rows` rows that lie along the panels: word by word, without a transpose.
/// `load(word, at, mask)` gives a word of the rows `at..at + 16` that are in `mask`.
///
/// # Safety
/// The processor must have AVX-512F.
#[inline(always)]
pub(super) unsafe fn pack_columns(
    rows: usize,
    width: usize,
    words: usize,
    out: &mut [u32],
    load: impl Fn(usize, usize, __mmask16) -> __m512i,
) {
    for from in (0..words).step_by(WORDS_TOGETHER) {
        for (i, out) in out.chunks_exact_mut(words * width).enumerate() {
            let height = width.min(rows - i * width);
            for word in from..words.min(from + WORDS_TOGETHER) {
                for at in (0..width).step_by(16) {
                    let mask = mask16(height.saturating_sub(at));
                    let block = load(word, i * width + at, mask);
                    // SAFETY: By the contract of this function; stores are within the
                    // `words * width` words of a panel.
                    unsafe {
                        let to = out.as_mut_ptr().add(word * width + at);
                        _mm512_mask_storeu_epi32(to.cast(), mask16(width - at), block);
                    }
                }
            }
        }
    }
}
