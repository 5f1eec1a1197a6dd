//! The kernels for AVX-512: f32, and bf16 pairs where the processor has their dot product.

use super::pack_avx512::pack_avx512;
use super::tile::{Bf16x32, F32x16, multiply_tile};
use crate::ops::product::kernel::Kernel;
use crate::ops::product::matrix::Matrix;
use crate::ops::product::pack::PanelLayout;

/// AVX-512 with dot products of bf16 pairs (`vdpbf16ps`).
#[derive(Clone, Copy)]
pub(in crate::ops::product) struct Avx512Bf16(());

/// AVX-512, f32.
#[derive(Clone, Copy)]
pub(in crate::ops::product) struct Avx512(());

impl Avx512Bf16 {
    /// The kernel, if this processor has the instructions.
    pub fn detect() -> Option<Self> {
        let has = Avx512::detect().is_some() && is_x86_feature_detected!("avx512bf16");
        has.then_some(Self(()))
    }
}

impl Avx512 {
    /// The kernel, if this processor has the instructions.
    pub fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("fma");
        has.then_some(Self(()))
    }
}

/// Runs `f`, and all that is inlined into it, compiled for AVX-512 with bf16.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,fma")]
pub(super) fn with_avx512_bf16<R>(f: impl FnOnce() -> R) -> R {
    f()
}

/// Runs `f`, and all that is inlined into it, compiled for AVX-512.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma")]
fn with_avx512<R>(f: impl FnOnce() -> R) -> R {
    f()
}

/// Rows of a tile: 28 of the 32 registers hold its sums.
const TILE_ROWS: usize = 14;

macro_rules! avx512_kernel {
    ($name:ident, $with:ident, $lanes:ty, $pairs:literal) => {
        impl Kernel for $name {
            const TILE_ROWS: usize = TILE_ROWS;
            /// Two registers.
            const TILE_COLS: usize = 32;
            const BF16_PAIRS: bool = $pairs;

            fn pack(self, m: Matrix<'_>, layout: PanelLayout, out: &mut [u32]) {
                // SAFETY: `self` proves that the processor has these instructions.
                unsafe {
                    $with(
                        #[inline(always)]
                        || pack_avx512::<$pairs>(m, layout, out),
                    );
                }
            }

            unsafe fn multiply_tile(
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
                        || multiply_tile::<$lanes, TILE_ROWS>(height, left, right, sums, resume),
                    );
                }
            }
        }
    };
}

avx512_kernel!(Avx512Bf16, with_avx512_bf16, Bf16x32, true);
avx512_kernel!(Avx512, with_avx512, F32x16, false);
