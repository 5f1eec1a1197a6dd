//! The kernels for `vpdpbusd`, which multiplies four unsigned bytes of each lane by four signed ones and
//! adds the products to a 32-bit sum: AVX-512 with VNNI, and AVX-VNNI with registers of 256 bits.
//!
//! The left codes are unsigned: 128 is added to each. A group's sums begin at -128 times the sum of the
//! right codes, which takes that away exactly. Nothing saturates: four products are below 2^17, and the
//! sum of a group is below 2^23.

use std::arch::x86_64::*;

use crate::ops::product::int8::kernel::{CodeKernel, LeftGroups, RightGroups};
use crate::tensor::{GROUP, PANEL};

/// A register of 32-bit sums.
trait Lanes: Copy {
    /// 32-bit lanes of a register.
    const WIDTH: usize;
    /// A register of f32.
    type Floats: Copy;

    /// -128 times [`Lanes::WIDTH`] numbers.
    ///
    /// # Safety
    /// The processor must have the instructions of the type, and `from` must be valid for reading.
    unsafe fn load_offsets(from: *const i32) -> Self;
    /// A register of codes.
    ///
    /// # Safety
    /// As [`Lanes::load_offsets`].
    unsafe fn load(from: *const i8) -> Self;
    /// Four codes in all lanes.
    ///
    /// # Safety
    /// As [`Lanes::load_offsets`].
    unsafe fn splat(four: *const i8) -> Self;
    /// `self` plus the products of unsigned and signed codes.
    ///
    /// # Safety
    /// The processor must have the instructions of the type.
    unsafe fn plus_products(self, unsigned: Self, signed: Self) -> Self;
    /// [`Lanes::WIDTH`] f32.
    ///
    /// # Safety
    /// As [`Lanes::load_offsets`].
    unsafe fn load_floats(from: *const f32) -> Self::Floats;
    /// Adds `self * right * left` to the f32 at `to`.
    ///
    /// # Safety
    /// The processor must have the instructions of the type, and `to` must be valid for reading and
    /// writing [`Lanes::WIDTH`] f32.
    unsafe fn add_scaled(self, right: Self::Floats, left: f32, to: *mut f32);
}

#[derive(Clone, Copy)]
struct Wide(__m512i);

impl Lanes for Wide {
    const WIDTH: usize = 16;
    type Floats = __m512;

    #[inline(always)]
    unsafe fn load_offsets(from: *const i32) -> Self {
        // SAFETY: By the method's contract.
        unsafe {
            let sums = _mm512_slli_epi32::<7>(_mm512_loadu_si512(from.cast()));
            Self(_mm512_sub_epi32(_mm512_setzero_si512(), sums))
        }
    }
    #[inline(always)]
    unsafe fn load(from: *const i8) -> Self {
        // SAFETY: By the method's contract.
        Self(unsafe { _mm512_loadu_si512(from.cast()) })
    }
    #[inline(always)]
    unsafe fn splat(four: *const i8) -> Self {
        // SAFETY: By the method's contract.
        Self(unsafe { _mm512_set1_epi32(four.cast::<i32>().read_unaligned()) })
    }
    #[inline(always)]
    unsafe fn plus_products(self, unsigned: Self, signed: Self) -> Self {
        // SAFETY: By the method's contract.
        Self(unsafe { _mm512_dpbusd_epi32(self.0, unsigned.0, signed.0) })
    }
    #[inline(always)]
    unsafe fn load_floats(from: *const f32) -> __m512 {
        // SAFETY: By the method's contract.
        unsafe { _mm512_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn add_scaled(self, right: __m512, left: f32, to: *mut f32) {
        // SAFETY: By the method's contract.
        unsafe {
            let scaled = _mm512_mul_ps(_mm512_cvtepi32_ps(self.0), right);
            let sum = _mm512_fmadd_ps(scaled, _mm512_set1_ps(left), _mm512_loadu_ps(to));
            _mm512_storeu_ps(to, sum);
        }
    }
}

#[derive(Clone, Copy)]
struct Narrow(__m256i);

impl Lanes for Narrow {
    const WIDTH: usize = 8;
    type Floats = __m256;

    #[inline(always)]
    unsafe fn load_offsets(from: *const i32) -> Self {
        // SAFETY: By the method's contract.
        unsafe {
            let sums = _mm256_slli_epi32::<7>(_mm256_loadu_si256(from.cast()));
            Self(_mm256_sub_epi32(_mm256_setzero_si256(), sums))
        }
    }
    #[inline(always)]
    unsafe fn load(from: *const i8) -> Self {
        // SAFETY: By the method's contract.
        Self(unsafe { _mm256_loadu_si256(from.cast()) })
    }
    #[inline(always)]
    unsafe fn splat(four: *const i8) -> Self {
        // SAFETY: By the method's contract.
        Self(unsafe { _mm256_set1_epi32(four.cast::<i32>().read_unaligned()) })
    }
    #[inline(always)]
    unsafe fn plus_products(self, unsigned: Self, signed: Self) -> Self {
        // SAFETY: By the method's contract.
        Self(unsafe { _mm256_dpbusd_avx_epi32(self.0, unsigned.0, signed.0) })
    }
    #[inline(always)]
    unsafe fn load_floats(from: *const f32) -> __m256 {
        // SAFETY: By the method's contract.
        unsafe { _mm256_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn add_scaled(self, right: __m256, left: f32, to: *mut f32) {
        // SAFETY: By the method's contract.
        unsafe {
            let scaled = _mm256_mul_ps(_mm256_cvtepi32_ps(self.0), right);
            let sum = _mm256_fmadd_ps(scaled, _mm256_set1_ps(left), _mm256_loadu_ps(to));
            _mm256_storeu_ps(to, sum);
        }
    }
}

/// AVX-512 with VNNI.
#[derive(Clone, Copy)]
pub(in crate::ops::product::int8) struct Avx512Vnni(());

/// AVX-VNNI: registers of 256 bits.
#[derive(Clone, Copy)]
pub(in crate::ops::product::int8) struct AvxVnni(());

impl Avx512Vnni {
    /// The kernel, if this processor has the instructions.
    pub fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni");
        has.then_some(Self(()))
    }
}

impl AvxVnni {
    /// The kernel, if this processor has the instructions.
    pub fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("avxvnni");
        has.then_some(Self(()))
    }
}

/// Runs `f`, and all that is inlined into it, compiled for AVX-512 with VNNI.
#[target_feature(enable = "avx512f,avx512vnni")]
fn with_avx512_vnni<R>(f: impl FnOnce() -> R) -> R {
    f()
}

/// Runs `f`, and all that is inlined into it, compiled for AVX-VNNI.
#[target_feature(enable = "avx2,fma,avxvnni")]
fn with_avx_vnni<R>(f: impl FnOnce() -> R) -> R {
    f()
}

macro_rules! vnni_kernel {
    ($name:ident, $with:ident, $lanes:ty, $rows:literal, $panels:literal) => {
        impl CodeKernel for $name {
            const TILE_ROWS: usize = $rows;
            const UNSIGNED_LEFT: bool = true;
            const MAX_ROW_PANELS: usize = $panels;

            unsafe fn multiply_tile(
                self,
                height: usize,
                left: LeftGroups<'_>,
                right: RightGroups<'_>,
                sums: &mut [f32],
            ) {
                // SAFETY: `self` proves that the processor has these instructions.
                unsafe {
                    $with(
                        #[inline(always)]
                        || multiply_tile::<$lanes, $rows>(height, left, right, sums),
                    );
                }
            }
        }
    };
}

// Two registers of sums a row: 28 of 32 registers, and 12 of 16.
vnni_kernel!(Avx512Vnni, with_avx512_vnni, Wide, 14, 12);
vnni_kernel!(AvxVnni, with_avx_vnni, Narrow, 6, 28);

/// [`CodeKernel::multiply_tile`] of a tile of `ROWS` rows, of which the first `height` are computed.
///
/// # Safety
/// The processor must have the instructions of `L`.
///
/// # Panics
/// If `height` is not in `1..=ROWS`, or if the factors or the sums do not fit each other.
#[inline(always)]
unsafe fn multiply_tile<L: Lanes, const ROWS: usize>(
    height: usize,
    left: LeftGroups<'_>,
    right: RightGroups<'_>,
    sums: &mut [f32],
) {
    let groups = right.count(left, ROWS, sums);
    assert!(height <= ROWS);
    macro_rules! of_height {
        ($($height:literal)*) => {
            match height {
                // SAFETY: `count` has checked the lengths of `groups` groups and of the sums, and the
                // processor has the instructions by this function's contract.
                $($height if $height <= ROWS => unsafe {
                    for col in (0..PANEL).step_by(2 * L::WIDTH) {
                        multiply_rows::<L, ROWS, $height>(groups, left, right, col, sums);
                    }
                },)*
                _ => unreachable!("a tile has 1 to {ROWS} rows"),
            }
        };
    }
    of_height!(1 2 3 4 5 6 7 8 9 10 11 12 13 14);
}

/// [`multiply_tile`] of two registers of columns, from column `col` on, and of a height that the compiler
/// knows, so that all sums are in registers.
///
/// # Safety
/// - The processor must have the instructions of `L`.
/// - [`RightGroups::count`] must have given `groups` for `ROWS` rows, and `HEIGHT` must be at most `ROWS`.
/// - `col + 2 * L::WIDTH` must be at most [`PANEL`].
#[inline(always)]
unsafe fn multiply_rows<L: Lanes, const ROWS: usize, const HEIGHT: usize>(
    groups: usize,
    left: LeftGroups<'_>,
    right: RightGroups<'_>,
    col: usize,
    sums: &mut [f32],
) {
    // SAFETY: By the contract of this function.
    unsafe {
        let halves = [col, col + L::WIDTH];
        let sums = sums.as_mut_ptr();
        let mut left_codes = left.codes.as_ptr().cast::<i8>();
        let mut left_scales = left.scales.as_ptr();
        let mut right_codes = right.codes.as_ptr().cast::<i8>();
        let mut right_scales = right.scales.as_ptr();
        let mut right_sums = right.sums.as_ptr();
        for _ in 0..groups {
            let mut acc = [halves.map(|c| L::load_offsets(right_sums.add(c))); HEIGHT];
            for k in (0..GROUP).step_by(4) {
                let b = halves.map(|c| L::load(right_codes.add(k * PANEL + 4 * c)));
                for (i, acc) in acc.iter_mut().enumerate() {
                    let a = L::splat(left_codes.add(i * GROUP + k));
                    for (acc, b) in acc.iter_mut().zip(b) {
                        *acc = acc.plus_products(a, b);
                    }
                }
            }
            let scales = halves.map(|c| L::load_floats(right_scales.add(c)));
            for (i, acc) in acc.iter().enumerate() {
                for ((acc, scales), c) in acc.iter().zip(scales).zip(halves) {
                    acc.add_scaled(scales, *left_scales.add(i), sums.add(i * PANEL + c));
                }
            }
            left_codes = left_codes.add(ROWS * GROUP);
            left_scales = left_scales.add(ROWS);
            right_codes = right_codes.add(GROUP * PANEL);
            right_scales = right_scales.add(PANEL);
            right_sums = right_sums.add(PANEL);
        }
    }
}
