//! Products of few rows by a matrix that stands in memory transposed, as a linear layer's weight does: a
//! token of an answer, or a short answer.
//!
//! Such a product reads its right factor from memory and hardly computes. [`multiply_with`] packs that
//! factor into memory that all threads share, and reads it again: with few rows, this takes most of the
//! time. Here each task reads a few columns, an L1 or L2 cache full, and multiplies them at once. Memory is
//! read once, as it is stored.
//!
//! Factors are rounded and elements are summed exactly as in [`multiply_with`]. The bits of a row are the
//! same for any number of rows.
//!
//! [`multiply_with`]: super::multiply::multiply_with

use std::cell::RefCell;

use rayon::prelude::*;

use super::aligned::AlignedVec;
use super::epilogue::{Tile, TileSink};
use super::kernel::{Kernel, Portable};
use super::matrix::Matrix;

thread_local! {
    /// The packed rows. They are taken out while in use: a thread that waits for its tasks may start
    /// another product.
    static ROWS: RefCell<AlignedVec<u32>> = const { RefCell::new(AlignedVec::new()) };
    /// A task's packed columns, and its sums.
    static PANEL: RefCell<(AlignedVec<u32>, AlignedVec<f32>)> =
        const { RefCell::new((AlignedVec::new(), AlignedVec::new())) };
}

/// A kernel that multiplies few rows by panels of columns.
pub(super) trait FewRowsKernel: Kernel {
    /// The largest number of rows that are multiplied in this way.
    const MAX_ROWS: usize;

    /// The number of columns of a panel.
    const PANEL_COLS: usize = Self::TILE_COLS;

    /// Words of `rows` packed rows of `inner` elements.
    fn row_words(rows: usize, inner: usize) -> usize {
        rows.next_multiple_of(Self::TILE_ROWS) * Self::words_per_row(inner)
    }

    /// Words of scratch memory of a panel whose columns have `inner` elements.
    fn panel_words(inner: usize) -> usize {
        Self::TILE_COLS * Self::words_per_row(inner)
    }

    /// Sums, and other f32, that a panel needs.
    fn panel_sums(_inner: usize) -> usize {
        Self::TILE_ROWS * Self::TILE_COLS
    }

    /// Packs the rows of `a` into the [`FewRowsKernel::row_words`] of `out`.
    fn pack_few_rows(self, a: Matrix<'_>, out: &mut [u32]) {
        self.pack_left(a, 0, out);
    }

    /// Multiplies `count` packed rows by a panel, which is rows of `columns` (the transposed right factor)
    /// from row `first` on, and hands the sums to `sink`. `panel` and `sums` are scratch memory, as long as
    /// [`FewRowsKernel::panel_words`] and [`FewRowsKernel::panel_sums`] say.
    ///
    /// Calls on one thread must not be nested.
    fn multiply_panel(
        self,
        (count, rows): (usize, &[u32]),
        (columns, first): (Matrix<'_>, usize),
        (panel, sums): (&mut [u32], &mut [f32]),
        sink: TileSink<'_>,
    ) {
        let words = Self::words_per_row(columns.cols());
        let width = Self::TILE_COLS.min(columns.rows() - first);
        self.pack_right(columns, first, panel);
        self.with_tile_state(|| {
            for (i, left) in rows.chunks_exact(Self::TILE_ROWS * words).enumerate() {
                let row = i * Self::TILE_ROWS;
                let height = Self::TILE_ROWS.min(count - row);
                // SAFETY: This is within `with_tile_state`, on its thread.
                unsafe { self.multiply_tile(height, left, panel, sums, false) };
                sink(Tile { row, col: first, height, width, sums, stride: Self::TILE_COLS });
            }
        });
    }
}

impl FewRowsKernel for Portable {
    const MAX_ROWS: usize = 16;
}

/// Whether `a` has few rows and the columns of `b` are contiguous.
pub(super) fn is_of_few_rows<K: FewRowsKernel>(a: Matrix<'_>, b: Matrix<'_>) -> bool {
    a.rows() <= K::MAX_ROWS && b.is_column_major()
}

/// [`multiply_with`](super::multiply::multiply_with) for few rows.
pub(super) fn multiply_few_rows<K: FewRowsKernel>(
    kernel: K,
    a: Matrix<'_>,
    b: Matrix<'_>,
    sink: TileSink<'_>,
) {
    assert_eq!(a.cols(), b.rows(), "the inner dimensions of a product differ");
    let (count, inner, cols) = (a.rows(), a.cols(), b.cols());
    if count == 0 || cols == 0 {
        return;
    }
    assert!(inner > 0, "a product over an inner dimension of 0");
    let columns = b.transposed();
    let mut rows = ROWS.take();
    let row_words = K::row_words(count, inner);
    rows.grow(row_words);
    kernel.pack_few_rows(a, &mut rows.words_mut()[..row_words]);
    let packed = &rows.words()[..row_words];
    let (panel_words, panel_sums) = (K::panel_words(inner), K::panel_sums(inner));
    (0..cols.div_ceil(K::PANEL_COLS)).into_par_iter().for_each(|panel| {
        PANEL.with_borrow_mut(|(words, sums)| {
            words.grow(panel_words);
            sums.grow(panel_sums);
            let scratch = (&mut words.words_mut()[..panel_words], sums.words_mut());
            // `PANEL` is borrowed, so that this thread cannot get here a second time.
            let columns = (columns, panel * K::PANEL_COLS);
            kernel.multiply_panel((count, packed), columns, scratch, sink);
        });
    });
    ROWS.set(rows);
}

/// The bytes of scratch memory that all threads together use in [`multiply_few_rows`] of `[rows, inner]`.
/// 0 for more rows than are multiplied in this way.
pub(super) fn few_rows_scratch_bytes<K: FewRowsKernel>(rows: usize, inner: usize) -> usize {
    if rows > K::MAX_ROWS {
        return 0;
    }
    let thread = K::panel_words(inner) + K::panel_sums(inner);
    size_of::<u32>() * (K::row_words(rows, inner) + rayon::current_num_threads() * thread)
}
