//! What an instruction set provides, and the version that needs none.

use super::matrix::Matrix;
use super::pack::{Cut, pack};

/// The innermost loop of a product on one instruction set. A value of the type proves that the
/// processor has it.
pub(super) trait Kernel: Copy + Send + Sync {
    /// Rows of a tile.
    const ROWS: usize;
    /// Columns of a tile.
    const COLS: usize;
    /// Whether a word is two bf16 rather than an f32.
    const PAIRS: bool;

    /// Words of a block: a panel of either side then stays in a cache near the processor.
    const INNER: usize = 512;

    /// Left panels of a task at most: a block of all of them stays in the second level of cache.
    const TALLEST: usize = 12;
    /// Tasks that every thread should have, so that none waits long for another, and left panels that
    /// each is worth.
    const TASKS_PER_THREAD: usize = 6;
    /// See [`Kernel::TASKS_PER_THREAD`].
    const SHORTEST: usize = 3;

    /// Words of a row of `inner` elements.
    fn words(inner: usize) -> usize {
        if Self::PAIRS { inner.div_ceil(2) } else { inner }
    }

    /// Packs the rows from `first` on of `m` into as many left panels as `out` holds, zeros beyond its
    /// edges: `[words][ROWS]`, unless the kernel has an order of its own in which blocks of
    /// [`Kernel::INNER`] words lie behind one another all the same.
    fn pack_left(self, m: Matrix<'_>, first: usize, out: &mut [u32]) {
        self.pack(m, Cut { first, width: Self::ROWS, words: Self::words(m.cols()) }, out);
    }

    /// Likewise right panels, `[words][COLS]`.
    fn pack_right(self, m: Matrix<'_>, first: usize, out: &mut [u32]) {
        self.pack(m, Cut { first, width: Self::COLS, words: Self::words(m.cols()) }, out);
    }

    /// Packs panels `[words][width]`.
    fn pack(self, m: Matrix<'_>, cut: Cut, out: &mut [u32]);

    /// Runs `f`, which calls [`Kernel::tile`].
    #[inline(always)]
    fn prepared<R>(self, f: impl FnOnce() -> R) -> R {
        f()
    }

    /// `sums [ROWS, COLS] (+)= leftᵀ right`, of as many words of a panel each, in the first `height`
    /// rows; `resume` continues from what `sums` holds.
    fn tile(self, height: usize, left: &[u32], right: &[u32], sums: &mut [f32], resume: bool);
}

/// Plain loops over arrays, which compilers turn into what vectors the target has.
#[derive(Clone, Copy)]
pub(super) struct Portable;

impl Kernel for Portable {
    const ROWS: usize = 4;
    const COLS: usize = 16;
    const TALLEST: usize = 42;
    const PAIRS: bool = false;

    fn pack(self, m: Matrix<'_>, cut: Cut, out: &mut [u32]) {
        pack::<false>(m, cut, out);
    }

    fn tile(self, height: usize, left: &[u32], right: &[u32], sums: &mut [f32], resume: bool) {
        let (left, right) = (left.chunks_exact(Self::ROWS), right.chunks_exact(Self::COLS));
        let mut acc = [[0.0f32; Self::COLS]; Self::ROWS];
        if resume {
            for (acc, sums) in acc.iter_mut().zip(sums.chunks_exact(Self::COLS)) {
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
        for (acc, sums) in acc.iter().zip(sums.chunks_exact_mut(Self::COLS)).take(height) {
            sums.copy_from_slice(acc);
        }
    }
}

/// `a b + c`, rounded once where the target is compiled with such an instruction: elsewhere
/// `mul_add` is a call.
#[inline(always)]
fn multiply_add(a: f32, b: f32, c: f32) -> f32 {
    if cfg!(any(target_feature = "fma", target_arch = "aarch64")) {
        a.mul_add(b, c)
    } else {
        a * b + c
    }
}
