//! The micro-kernel of AVX2 and AVX-512: a tile of sums in registers.

use std::arch::x86_64::*;

/// A register of sums, or of the words that are multiplied.
pub(super) trait Lanes: Copy {
    /// Words in a register.
    const WIDTH: usize;
    /// All zeros.
    ///
    /// # Safety
    /// The processor must have the instructions of the type.
    unsafe fn zero() -> Self;
    /// [`Lanes::WIDTH`] words.
    ///
    /// # Safety
    /// The processor must have the instructions, and `from` must be valid for reading as many words.
    unsafe fn load(from: *const f32) -> Self;
    /// Writes [`Lanes::WIDTH`] words.
    ///
    /// # Safety
    /// The processor must have the instructions, and `to` must be valid for writing as many words.
    unsafe fn store(self, to: *mut f32);
    /// One word in all lanes.
    ///
    /// # Safety
    /// The processor must have the instructions of the type.
    unsafe fn splat(word: f32) -> Self;
    /// `a * b + self`, word by word.
    ///
    /// # Safety
    /// The processor must have the instructions of the type.
    unsafe fn plus_product(self, a: Self, b: Self) -> Self;
}

/// Implements [`Lanes`] for a new register type over the given intrinsics.
macro_rules! lanes {
    ($(#[$doc:meta])* $name:ident, $register:ty, $width:literal, $zero:ident, $load:ident,
     $store:ident, $splat:ident, |$sum:ident, $a:ident, $b:ident| $product:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub(super) struct $name($register);

        impl Lanes for $name {
            const WIDTH: usize = $width;
            #[inline(always)]
            unsafe fn zero() -> Self {
                // SAFETY: By the method's contract.
                Self(unsafe { $zero() })
            }
            #[inline(always)]
            unsafe fn load(from: *const f32) -> Self {
                // SAFETY: By the method's contract.
                Self(unsafe { $load(from) })
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut f32) {
                // SAFETY: By the method's contract.
                unsafe { $store(to, self.0) }
            }
            #[inline(always)]
            unsafe fn splat(word: f32) -> Self {
                // SAFETY: By the method's contract.
                Self(unsafe { $splat(word) })
            }
            #[inline(always)]
            unsafe fn plus_product(self, a: Self, b: Self) -> Self {
                let ($sum, $a, $b) = (self.0, a.0, b.0);
                // SAFETY: By the method's contract.
                Self(unsafe { $product })
            }
        }
    };
}

lanes!(
    /// 8 f32, AVX2 and FMA.
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
    /// 16 f32, AVX-512.
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
    /// 16 pairs of bf16, or 16 sums of their products: AVX-512 with bf16.
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

/// [`Kernel::multiply_tile`] for a tile of `ROWS` rows and two registers of columns, of which the first
/// `height` rows are computed.
///
/// [`Kernel::multiply_tile`]: crate::ops::product::kernel::Kernel::multiply_tile
///
/// # Safety
/// The processor must have the instructions of `L`.
///
/// # Panics
/// If `height` is not in `1..=ROWS`, or if the panels or the sums are too short.
#[inline(always)]
pub(super) unsafe fn multiply_tile<L: Lanes, const ROWS: usize>(
    height: usize,
    left: &[u32],
    right: &[u32],
    sums: &mut [f32],
    resume: bool,
) {
    let (words, cols) = (left.len() / ROWS, 2 * L::WIDTH);
    // `words * cols` cannot overflow: a slice has less than 2^61 words, of which `ROWS`, more than 4, make
    // one of these words, and there are at most 32 columns.
    assert!(height <= ROWS && words * cols <= right.len() && ROWS * cols <= sums.len());
    let (left, right, sums) = (left.as_ptr().cast(), right.as_ptr().cast(), sums.as_mut_ptr());
    macro_rules! of_height {
        ($($height:literal)*) => {
            match height {
                // SAFETY: `words` words of either panel and a tile of sums are inside the slices, by
                // the assertion.
                $($height if $height <= ROWS => unsafe {
                    multiply_rows::<L, ROWS, $height>(words, left, right, sums, resume);
                },)*
                _ => unreachable!("a tile has 1 to {ROWS} rows"),
            }
        };
    }
    of_height!(1 2 3 4 5 6 7 8 9 10 11 12 13 14);
}

/// [`multiply_tile`] of a height that the compiler knows, so that all sums are in registers.
///
/// # Safety
/// - The processor must have the instructions of `L`.
/// - `HEIGHT` must be at most `ROWS`.
/// - `left` and `right` must be valid for reading `words` words of a panel of `ROWS` rows and of a
///   panel of `2 * L::WIDTH` columns, and `sums` for reading and writing `HEIGHT` rows of as many
///   columns.
#[inline(always)]
unsafe fn multiply_rows<L: Lanes, const ROWS: usize, const HEIGHT: usize>(
    words: usize,
    mut left: *const f32,
    mut right: *const f32,
    sums: *mut f32,
    resume: bool,
) {
    // SAFETY: By the contract of this function.
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
