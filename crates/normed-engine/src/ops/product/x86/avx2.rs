//! The kernel for AVX2 with FMA, f32.

use super::tile::{F32x8, multiply_tile};
use crate::ops::product::kernel::Kernel;
use crate::ops::product::matrix::Matrix;
use crate::ops::product::pack::{PanelLayout, pack};

/// AVX2 and FMA, f32.
#[derive(Clone, Copy)]
pub(in crate::ops::product) struct Avx2(());

impl Avx2 {
    /// The kernel, if this processor has the instructions.
    pub fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(Self(()))
    }
}

/// Runs `f`, and all that is inlined into it, compiled for AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
fn with_avx2<R>(f: impl FnOnce() -> R) -> R {
    f()
}

/// Rows of a tile: 12 of the 16 registers hold its sums.
const TILE_ROWS: usize = 6;

impl Kernel for Avx2 {
    const TILE_ROWS: usize = TILE_ROWS;
    /// Two registers.
    const TILE_COLS: usize = 16;
    const MAX_ROW_PANELS: usize = 28;
    const BF16_PAIRS: bool = false;

    fn pack(self, m: Matrix<'_>, layout: PanelLayout, out: &mut [u32]) {
        // SAFETY: `self` proves that the processor has these instructions.
        unsafe {
            with_avx2(
                #[inline(always)]
                || pack::<false>(m, layout, out),
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
            with_avx2(
                #[inline(always)]
                || multiply_tile::<F32x8, TILE_ROWS>(height, left, right, sums, resume),
            );
        }
    }
}
