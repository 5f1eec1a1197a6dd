//! The kernels for x86-64: AMX, AVX-512 with bf16 dot products, AVX-512, and AVX2 with FMA.

mod amx;
mod narrow;

use std::arch::x86_64::*;
use std::ops::Range;

use super::kernel::Kernel;
use super::matrix::Matrix;
use super::pack::{self, Cut};
use crate::tensor::Factor;
pub(super) use amx::AmxBf16;
use narrow::pack_narrow;

/// AVX-512 with products of bf16 pairs (`vdpbf16ps`).
#[derive(Clone, Copy)]
pub(super) struct Avx512Bf16(());

/// AVX-512, f32.
#[derive(Clone, Copy)]
pub(super) struct Avx512(());

/// AVX2 and FMA, f32.
#[derive(Clone, Copy)]
pub(super) struct Avx2(());

impl Avx512Bf16 {
    /// If this processor has it.
    pub fn detect() -> Option<Self> {
        let has = Avx512::detect().is_some() && is_x86_feature_detected!("avx512bf16");
        has.then_some(Self(()))
    }
}

impl Avx512 {
    /// If this processor has it.
    pub fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("fma");
        has.then_some(Self(()))
    }
}

impl Avx2 {
    /// If this processor has it.
    pub fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(Self(()))
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,fma")]
fn with_avx512_bf16<R>(f: impl FnOnce() -> R) -> R {
    f()
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma")]
fn with_avx512<R>(f: impl FnOnce() -> R) -> R {
    f()
}

#[target_feature(enable = "avx2,fma")]
fn with_avx2<R>(f: impl FnOnce() -> R) -> R {
    f()
}

/// Rows of an AVX-512 tile: 28 of the 32 registers hold its sums.
const ROWS: usize = 14;
/// Columns of it: two registers.
const COLS: usize = 32;

macro_rules! avx512_kernel {
    ($name:ident, $with:ident, $lanes:ty, $pairs:literal) => {
        impl Kernel for $name {
            const ROWS: usize = ROWS;
            const COLS: usize = COLS;
            const PAIRS: bool = $pairs;

            fn pack(self, m: Matrix<'_>, cut: Cut, out: &mut [u32]) {
                // SAFETY: `self` proves that the processor has these instructions.
                unsafe {
                    $with(
                        #[inline(always)]
                        || pack_512::<$pairs>(m, cut, out),
                    );
                }
            }

            fn tile(
                self,
                height: usize,
                left: &[u32],
                right: &[u32],
                sums: &mut [f32],
                resume: bool,
            ) {
                // SAFETY: `self` proves that the processor has these instructions.
                unsafe {
                    $with(
                        #[inline(always)]
                        || tile::<$lanes, ROWS>(height, left, right, sums, resume),
                    );
                }
            }
        }
    };
}

avx512_kernel!(Avx512Bf16, with_avx512_bf16, Bf16x32, true);
avx512_kernel!(Avx512, with_avx512, F32x16, false);

/// A register of sums, or of the words that they are made of.
///
/// # Safety
/// To call any of these the processor must have the instructions, and pointers must be to `WIDTH` words.
trait Lanes: Copy {
    /// Words in it.
    const WIDTH: usize;
    unsafe fn zero() -> Self;
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn store(self, to: *mut f32);
    unsafe fn splat(word: f32) -> Self;
    /// `a b + self`, word by word.
    unsafe fn plus_product(self, a: Self, b: Self) -> Self;
}

macro_rules! lanes {
    ($name:ident, $register:ty, $width:literal, $zero:ident, $load:ident, $store:ident,
     $splat:ident, |$sum:ident, $a:ident, $b:ident| $product:expr) => {
        #[derive(Clone, Copy)]
        struct $name($register);

        impl Lanes for $name {
            const WIDTH: usize = $width;
            #[inline(always)]
            unsafe fn zero() -> Self {
                // SAFETY (here and below): by the trait's contract.
                Self(unsafe { $zero() })
            }
            #[inline(always)]
            unsafe fn load(from: *const f32) -> Self {
                Self(unsafe { $load(from) })
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut f32) {
                unsafe { $store(to, self.0) }
            }
            #[inline(always)]
            unsafe fn splat(word: f32) -> Self {
                Self(unsafe { $splat(word) })
            }
            #[inline(always)]
            unsafe fn plus_product(self, a: Self, b: Self) -> Self {
                let ($sum, $a, $b) = (self.0, a.0, b.0);
                Self(unsafe { $product })
            }
        }
    };
}

lanes!(
    F32x8,
    __m256,
    8,
    _mm256_setzero_ps,
    _mm256_loadu_ps,
    _mm256_storeu_ps,
    _mm256_set1_ps,
    |s, a, b| _mm256_fmadd_ps(a, b, s)
);
lanes!(
    F32x16,
    __m512,
    16,
    _mm512_setzero_ps,
    _mm512_loadu_ps,
    _mm512_storeu_ps,
    _mm512_set1_ps,
    |s, a, b| _mm512_fmadd_ps(a, b, s)
);
lanes!(
    Bf16x32,
    __m512,
    16,
    _mm512_setzero_ps,
    _mm512_loadu_ps,
    _mm512_storeu_ps,
    _mm512_set1_ps,
    |s, a, b| _mm512_dpbf16_ps(
        s,
        std::mem::transmute::<__m512, __m512bh>(a),
        std::mem::transmute::<__m512, __m512bh>(b)
    )
);

/// A tile of `ROWS` rows and two registers of columns, of which the first `height` rows are computed.
///
/// # Safety
/// The processor must have the instructions of `L`.
#[inline(always)]
unsafe fn tile<L: Lanes, const ROWS: usize>(
    height: usize,
    left: &[u32],
    right: &[u32],
    sums: &mut [f32],
    resume: bool,
) {
    let (words, cols) = (left.len() / ROWS, 2 * L::WIDTH);
    assert!(height <= ROWS && words * cols <= right.len() && ROWS * cols <= sums.len());
    let (left, right, sums) = (left.as_ptr().cast(), right.as_ptr().cast(), sums.as_mut_ptr());
    macro_rules! of_height {
        ($($height:literal)*) => {
            match height {
                // SAFETY: `words` words of either side and a tile of sums are inside the slices, as
                // was just checked.
                $($height if $height <= ROWS => unsafe { rows::<L, ROWS, $height>(words, left, right, sums, resume) },)*
                _ => unreachable!("a tile has 1 to {ROWS} rows"),
            }
        };
    }
    of_height!(1 2 3 4 5 6 7 8 9 10 11 12 13 14);
}

/// # Safety
/// As [`tile`]; the pointers are to `words` panels' words and a tile, and `HEIGHT <= ROWS`.
#[inline(always)]
unsafe fn rows<L: Lanes, const ROWS: usize, const HEIGHT: usize>(
    words: usize,
    mut left: *const f32,
    mut right: *const f32,
    sums: *mut f32,
    resume: bool,
) {
    // SAFETY: by this function's contract.
    unsafe {
        let halves = [0, L::WIDTH];
        let mut acc = [[L::zero(); 2]; HEIGHT];
        if resume {
            for (i, acc) in acc.iter_mut().enumerate() {
                *acc = halves.map(|c| L::load(sums.add(i * 2 * L::WIDTH + c)));
            }
        }
        for _ in 0..words {
            let b = halves.map(|c| L::load(right.add(c)));
            for (i, acc) in acc.iter_mut().enumerate() {
                let a = L::splat(*left.add(i));
                for (acc, b) in acc.iter_mut().zip(b) {
                    *acc = acc.plus_product(a, b);
                }
            }
            left = left.add(ROWS);
            right = right.add(2 * L::WIDTH);
        }
        for (i, acc) in acc.iter().enumerate() {
            for (acc, c) in acc.iter().zip(halves) {
                acc.store(sums.add(i * 2 * L::WIDTH + c));
            }
        }
    }
}

/// Bits `0..n`.
#[inline(always)]
fn mask16(n: usize) -> __mmask16 {
    if n >= 16 { u16::MAX } else { (1 << n) - 1 }
}

#[inline(always)]
fn mask32(n: usize) -> __mmask32 {
    if n >= 32 { u32::MAX } else { (1 << n) - 1 }
}

/// # Safety
/// The processor must have AVX-512 (F, BW, VL, DQ), and BF16 for `PAIRS`.
#[inline(always)]
unsafe fn pack_512<const PAIRS: bool>(m: Matrix<'_>, cut: Cut, out: &mut [u32]) {
    let Cut { first, width, words } = cut;
    assert!(words * width <= out.len() && width <= COLS);
    let rows = m.rows() - first;
    let (stride, inner) = (m.stride(), m.cols());
    // SAFETY: every load is masked to rows below `m.rows()` and columns below `m.cols()`, which
    // `Matrix::new` has checked against the slice; every store is within `words * width` words.
    unsafe {
        match (m.data(), m.by_columns()) {
            (Factor::F32(x), false) => {
                let x = x.as_ptr();
                transpose_rows(
                    rows,
                    width,
                    words,
                    out,
                    #[inline(always)]
                    |row, words| {
                        let row = x.add((first + row) * stride);
                        let per_word = if PAIRS { 2 } else { 1 };
                        for line in (0..per_word * 16).step_by(16) {
                            fetch(row.wrapping_add(width * stride + per_word * words.start + line));
                        }
                        load_words_f32::<PAIRS>(row, words, inner)
                    },
                );
            }
            (Factor::Bf16(x), false) => {
                let x = x.as_ptr().cast::<u16>();
                transpose_rows(
                    rows,
                    width,
                    words,
                    out,
                    #[inline(always)]
                    |row, words| {
                        let row = x.add((first + row) * stride);
                        let per_word = if PAIRS { 2 } else { 1 };
                        fetch(row.wrapping_add(width * stride + per_word * words.start));
                        load_words_bf16::<PAIRS>(row, words, inner)
                    },
                );
            }
            (Factor::F32(x), true) => {
                let x = x.as_ptr().wrapping_add(first);
                copy_columns(
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
                copy_columns(
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
            (Factor::F16(_) | Factor::Int8(_) | Factor::Nf4(_), _) => {
                pack_narrow::<PAIRS>(m, cut, out);
            }
        }
    }
}

/// Inner indices that are fetched ahead of their use.
const AHEAD: usize = 32;

/// Has the cache line at `p` brought in; harmless if there is none. Rows of a large matrix lie pages
/// apart, where the processor does not look ahead by itself.
#[inline(always)]
fn fetch<T>(p: *const T) {
    // SAFETY: a hint, which never faults.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
}

/// bf16 to f32.
#[inline(always)]
unsafe fn widen(x: __m256i) -> __m512 {
    // SAFETY: by the caller's contract.
    unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(x))) }
}

/// Word `word` of 16 rows of `inner` f32 that lie side by side from `x` on.
#[inline(always)]
unsafe fn column_words_f32<const PAIRS: bool>(
    x: *const f32,
    stride: usize,
    inner: usize,
    word: usize,
    mask: __mmask16,
) -> __m512i {
    // SAFETY: masked to rows that there are and to inner indices below `inner`.
    unsafe {
        if !PAIRS {
            return _mm512_castps_si512(column_f32(x, stride, inner, word, mask));
        }
        let low = column_f32(x, stride, inner, 2 * word, mask);
        let high = column_f32(x, stride, inner, 2 * word + 1, mask);
        let both = _mm512_cvtne2ps_pbh(high, low);
        interleave(std::mem::transmute::<__m512bh, __m512i>(both))
    }
}

#[inline(always)]
unsafe fn column_f32(
    x: *const f32,
    stride: usize,
    inner: usize,
    k: usize,
    mask: __mmask16,
) -> __m512 {
    fetch(x.wrapping_add((k + AHEAD) * stride));
    let mask = if k < inner { mask } else { 0 };
    // SAFETY: by the caller's contract.
    unsafe { _mm512_maskz_loadu_ps(mask, x.wrapping_add(k * stride)) }
}

/// As [`column_words_f32`], of bf16.
#[inline(always)]
unsafe fn column_words_bf16<const PAIRS: bool>(
    x: *const i16,
    stride: usize,
    inner: usize,
    word: usize,
    mask: __mmask16,
) -> __m512i {
    // SAFETY: as there.
    unsafe {
        if !PAIRS {
            return _mm512_castps_si512(widen(column_bf16(x, stride, inner, word, mask)));
        }
        let low = column_bf16(x, stride, inner, 2 * word, mask);
        let high = column_bf16(x, stride, inner, 2 * word + 1, mask);
        interleave(_mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high))
    }
}

#[inline(always)]
unsafe fn column_bf16(
    x: *const i16,
    stride: usize,
    inner: usize,
    k: usize,
    mask: __mmask16,
) -> __m256i {
    fetch(x.wrapping_add((k + AHEAD) * stride));
    let mask = if k < inner { mask } else { 0 };
    // SAFETY: by the caller's contract.
    unsafe { _mm256_maskz_loadu_epi16(mask, x.wrapping_add(k * stride)) }
}

/// Words `words` (at most 16) of a row of `inner` f32.
#[inline(always)]
unsafe fn load_words_f32<const PAIRS: bool>(
    row: *const f32,
    words: Range<usize>,
    inner: usize,
) -> __m512i {
    // SAFETY: masked to elements below `inner`.
    unsafe {
        if !PAIRS {
            let mask = mask16(words.end - words.start);
            return _mm512_castps_si512(_mm512_maskz_loadu_ps(mask, row.add(words.start)));
        }
        let (from, to) = (2 * words.start, inner.min(2 * words.end));
        let low = _mm512_maskz_loadu_ps(mask16(to - from), row.add(from));
        let rest = (to - from).saturating_sub(16);
        let high = _mm512_maskz_loadu_ps(mask16(rest), row.wrapping_add(from + 16));
        std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low))
    }
}

/// Words `words` (at most 16) of a row of `inner` bf16.
#[inline(always)]
unsafe fn load_words_bf16<const PAIRS: bool>(
    row: *const u16,
    words: Range<usize>,
    inner: usize,
) -> __m512i {
    // SAFETY: masked to elements below `inner`.
    unsafe {
        if PAIRS {
            let (from, to) = (2 * words.start, inner.min(2 * words.end));
            return _mm512_maskz_loadu_epi16(mask32(to - from), row.add(from).cast());
        }
        let mask = mask16(words.end - words.start);
        let half = _mm256_maskz_loadu_epi16(mask, row.add(words.start).cast());
        _mm512_castps_si512(widen(half))
    }
}

/// `rows` rows whose words are contiguous: 16 by 16 words at a time, transposed in registers.
#[inline(always)]
unsafe fn transpose_rows(
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
                // SAFETY: by the caller's contract; stores are within `words * width` words.
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
#[inline(always)]
unsafe fn transpose(mut r: [__m512i; 16]) -> [__m512i; 16] {
    // SAFETY: by the caller's contract.
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

/// Words of all panels that are copied before the next words: what lies in a row side by side is read
/// together, which memory likes better than a cache line of each row at a time.
const TOGETHER: usize = 8;

/// `rows` rows that lie along the panels: word by word, without a transpose. `load(word, at, mask)`
/// gives rows `at..at + 16` of a word.
#[inline(always)]
unsafe fn copy_columns(
    rows: usize,
    width: usize,
    words: usize,
    out: &mut [u32],
    load: impl Fn(usize, usize, __mmask16) -> __m512i,
) {
    for from in (0..words).step_by(TOGETHER) {
        for (i, out) in out.chunks_exact_mut(words * width).enumerate() {
            let height = width.min(rows - i * width);
            for word in from..words.min(from + TOGETHER) {
                for at in (0..width).step_by(16) {
                    let mask = mask16(height.saturating_sub(at));
                    let block = load(word, i * width + at, mask);
                    // SAFETY: by the caller's contract; within `words * width` words.
                    unsafe {
                        let to = out.as_mut_ptr().add(word * width + at);
                        _mm512_mask_storeu_epi32(to.cast(), mask16(width - at), block);
                    }
                }
            }
        }
    }
}

/// Pairs of one bf16 of the lower and one of the upper half.
#[inline(always)]
unsafe fn interleave(halves: __m512i) -> __m512i {
    // SAFETY: by the caller's contract.
    unsafe {
        let order = _mm512_set_epi16(
            31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5, 20,
            4, 19, 3, 18, 2, 17, 1, 16, 0,
        );
        _mm512_permutexvar_epi16(order, halves)
    }
}

/// Rows and columns of an AVX2 tile: 12 of the 16 registers hold its sums.
const ROWS_256: usize = 6;
const COLS_256: usize = 16;

impl Kernel for Avx2 {
    const ROWS: usize = ROWS_256;
    const TALLEST: usize = 28;
    const COLS: usize = COLS_256;
    const PAIRS: bool = false;

    fn pack(self, m: Matrix<'_>, cut: Cut, out: &mut [u32]) {
        // SAFETY: `self` proves that the processor has these instructions.
        unsafe {
            with_avx2(
                #[inline(always)]
                || pack::pack::<false>(m, cut, out),
            );
        }
    }

    fn tile(self, height: usize, left: &[u32], right: &[u32], sums: &mut [f32], resume: bool) {
        // SAFETY: `self` proves that the processor has these instructions.
        unsafe {
            with_avx2(
                #[inline(always)]
                || tile::<F32x8, ROWS_256>(height, left, right, sums, resume),
            );
        }
    }
}
