//! What a matrix product needs of an instruction set, and an implementation for any processor.

use super::matrix::Matrix;
use super::pack::{PanelLayout, pack};

/// The packing and the micro-kernel of one instruction set.
///
/// A value of an implementing type proves that the processor has the instructions: the constructor of
/// the type checks for them.
pub(super) trait Kernel: Copy + Send + Sync {
    /// Rows of a tile, and of a left panel.
    const TILE_ROWS: usize;
    /// Columns of a tile, and of a right panel.
    const TILE_COLS: usize;
    /// Whether a packed word holds two bf16 that are neighbors along the inner dimension. Otherwise
    /// it holds one f32.
    const BF16_PAIRS: bool;

    /// Words of the inner dimension that are multiplied before the next block of words. A panel's
    /// block then stays in a cache close to the processor.
    const BLOCK_WORDS: usize = 512;

    /// The largest number of left panels in a task. A block of all of them stays in the second-level
    /// cache.
    const MAX_ROW_PANELS: usize = 12;
    /// The smallest number of left panels that is worth a task.
    const MIN_ROW_PANELS: usize = 3;
    /// Tasks for every thread, so that no thread waits long for another.
    const TASKS_PER_THREAD: usize = 6;

    /// Packed words of a row of `inner` elements.
    fn words_per_row(inner: usize) -> usize {
        if Self::BF16_PAIRS { inner.div_ceil(2) } else { inner }
    }

    /// Packs the rows of `m` from row `first` on into as many left panels as `out` holds, with zeros
    /// beyond the edges of `m`.
    ///
    /// A panel is `[words][TILE_ROWS]`. A kernel may order the words within each block of
    /// [`Kernel::BLOCK_WORDS`] differently, but not across blocks.
    fn pack_left(self, m: Matrix<'_>, first: usize, out: &mut [u32]) {
        let words = Self::words_per_row(m.cols());
        self.pack(m, PanelLayout { first, width: Self::TILE_ROWS, words }, out);
    }

    /// Packs the rows of `m`, the transposed right factor, from row `first` on into as many right
    /// panels `[words][TILE_COLS]` as `out` holds, with zeros beyond the edges of `m`.
    fn pack_right(self, m: Matrix<'_>, first: usize, out: &mut [u32]) {
        let words = Self::words_per_row(m.cols());
        self.pack(m, PanelLayout { first, width: Self::TILE_COLS, words }, out);
    }

    /// Packs panels `[words][width]`, as many as `out` holds.
    fn pack(self, m: Matrix<'_>, layout: PanelLayout, out: &mut [u32]);

    /// Runs `f` with the processor state that [`Kernel::multiply_tile`] needs. Calls must not be
    /// nested.
    #[inline(always)]
    fn with_tile_state<R>(self, f: impl FnOnce() -> R) -> R {
        f()
    }

    /// The micro-kernel: `sums [TILE_ROWS, TILE_COLS] = leftᵀ right` over the words of a left and a
    /// right panel, at least in the first `height` rows. If `resume`, the product is added to `sums`.
    ///
    /// # Safety
    /// The call must come from within [`Kernel::with_tile_state`], on the same thread.
    unsafe fn multiply_tile(
        self,
        height: usize,
        left: &[u32],
        right: &[u32],
        sums: &mut [f32],
        resume: bool,
    );
}

/// Plain loops over arrays, which compilers turn into whatever vectors the target has.
#[derive(Clone, Copy)]
pub(super) struct Portable;

impl Kernel for Portable {
    const TILE_ROWS: usize = 4;
    const TILE_COLS: usize = 16;
    const MAX_ROW_PANELS: usize = 42;
    const BF16_PAIRS: bool = false;

    fn pack(self, m: Matrix<'_>, layout: PanelLayout, out: &mut [u32]) {
        pack::<false>(m, layout, out);
    }

    unsafe fn multiply_tile(
        self,
        height: usize,
        left: &[u32],
        right: &[u32],
        sums: &mut [f32],
        resume: bool,
    ) {
        let left = left.chunks_exact(Self::TILE_ROWS);
        let right = right.chunks_exact(Self::TILE_COLS);
        let mut acc = [[0.0f32; Self::TILE_COLS]; Self::TILE_ROWS];
        if resume {
            for (acc, sums) in acc.iter_mut().zip(sums.chunks_exact(Self::TILE_COLS)) {
                acc.copy_from_slice(sums);
            }
        }
        for (left, right) in left.zip(right) {
            for (acc, &a) in acc.iter_mut().zip(left) {
                let a = f32::from_bits(a);
                for (acc, &b) in acc.iter_mut().zip(right) {
                    *acc = multiply_add(a, f32::from_bits(b), *acc);
                }
            }
        }
        for (acc, sums) in acc.iter().zip(sums.chunks_exact_mut(Self::TILE_COLS)).take(height) {
            sums.copy_from_slice(acc);
        }
    }
}

/// `a * b + c`, rounded once if the target has an instruction for it. On other targets `mul_add` would
/// be a call to libm.
#[inline(always)]
fn multiply_add(a: f32, b: f32, c: f32) -> f32 {
    if cfg!(any(target_feature = "fma", target_arch = "aarch64")) {
        a.mul_add(b, c)
    } else {
        a * b + c
    }
}
