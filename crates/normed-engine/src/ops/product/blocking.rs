//! How a product is divided into tasks, and the loops of a task over blocks of words, panels and tiles.

use std::cell::RefCell;

use super::aligned::AlignedVec;
use super::epilogue::{Tile, TileSink};
use super::kernel::Kernel;
use super::matrix::Matrix;

/// Columns that a task multiplies by one block of words before the next block.
const TASK_COLS: usize = 256;

thread_local! {
    /// A task's packed left rows, and its sums.
    static LEFT: RefCell<(AlignedVec<u32>, AlignedVec<f32>)> =
        const { RefCell::new((AlignedVec::new(), AlignedVec::new())) };
}

/// Packed panels of a right factor.
#[derive(Clone, Copy)]
pub(super) struct Panels<'a> {
    pub words: &'a [u32],
    /// Words from one panel to the next.
    pub stride: usize,
}

impl Panels<'_> {
    /// The panels `from..to`.
    pub fn range(self, from: usize, to: usize) -> Self {
        Self { words: &self.words[from * self.stride..to * self.stride], ..self }
    }
}

/// The division of a product's rows and right panels among tasks: a grid with `down * across` cells.
pub(super) struct Grid {
    rows: usize,
    /// Rows of a left panel.
    panel_rows: usize,
    right_panels: usize,
    /// Tasks from top to bottom.
    down: usize,
    /// Tasks from left to right.
    across: usize,
}

/// What a kernel asks of a [`Grid`]: the constants of [`Kernel`] with these names.
pub(super) struct GridLimits {
    /// Rows of a left panel.
    pub panel_rows: usize,
    pub max_row_panels: usize,
    pub min_row_panels: usize,
    pub tasks_per_thread: usize,
}

impl Grid {
    /// The grid for `rows` rows and `right_panels` right panels.
    pub fn new<K: Kernel>(rows: usize, right_panels: usize) -> Self {
        let limits = GridLimits {
            panel_rows: K::TILE_ROWS,
            max_row_panels: K::MAX_ROW_PANELS,
            min_row_panels: K::MIN_ROW_PANELS,
            tasks_per_thread: K::TASKS_PER_THREAD,
        };
        Self::with_limits(rows, right_panels, limits)
    }

    /// [`Grid::new`] within these limits.
    pub fn with_limits(rows: usize, right_panels: usize, limits: GridLimits) -> Self {
        let GridLimits { panel_rows, max_row_panels, min_row_panels, tasks_per_thread } = limits;
        let threads = rayon::current_num_threads();
        let left_panels = rows.div_ceil(panel_rows);
        let needed = left_panels.div_ceil(max_row_panels);
        // Several tasks for every thread, so that no thread waits long for another. The columns are
        // divided only if there are too few rows, because each task packs the rows that it needs.
        let wanted = if threads == 1 { 1 } else { tasks_per_thread * threads };
        let down = needed.max(wanted.min(left_panels / min_row_panels));
        let down = down.next_multiple_of(threads).min(left_panels);
        let across = wanted.div_ceil(down).min(right_panels);
        Self { rows, panel_rows, right_panels, down, across }
    }

    /// The number of tasks.
    pub fn tasks(&self) -> usize {
        self.down * self.across
    }

    /// The first row of a task and the row after its last.
    pub fn rows(&self, task: usize) -> (usize, usize) {
        let left_panels = self.rows.div_ceil(self.panel_rows);
        let at = |i: usize| (i * left_panels / self.down * self.panel_rows).min(self.rows);
        (at(task / self.across), at(task / self.across + 1))
    }

    /// The first right panel of a task and the panel after its last.
    pub fn panels(&self, task: usize) -> (usize, usize) {
        let at = |i: usize| i * self.right_panels / self.across;
        (at(task % self.across), at(task % self.across + 1))
    }
}

/// One task: a range of the left factor's rows with some of the right factor's panels.
pub(super) struct Block {
    /// The first row and the row after the last.
    pub rows: (usize, usize),
    /// The first column of the first panel.
    pub col: usize,
    /// Columns of the whole product.
    pub cols: usize,
}

impl Block {
    /// Multiplies the block's rows of `a` by the packed panels, `words` words a row, and hands every tile
    /// to `sink` once its sums are finished.
    pub fn multiply<K: Kernel>(
        &self,
        kernel: K,
        a: Matrix<'_>,
        right: Panels<'_>,
        words: usize,
        sink: TileSink<'_>,
    ) {
        LEFT.with_borrow_mut(|(left, sums)| {
            let (first, end) = self.rows;
            let row_panels = (end - first).div_ceil(K::TILE_ROWS);
            let left_panel = K::TILE_ROWS * words;
            left.grow(row_panels * left_panel);
            let left = left.words_mut();
            for (i, out) in left.chunks_exact_mut(left_panel).take(row_panels).enumerate() {
                kernel.pack_left(a, first + i * K::TILE_ROWS, out);
            }
            let tile = K::TILE_ROWS * K::TILE_COLS;
            let group = TASK_COLS / K::TILE_COLS;
            sums.grow(group * row_panels * tile);
            let sums = sums.words_mut();
            let blocks = words.div_ceil(K::BLOCK_WORDS);
            let stride = right.stride;
            // `LEFT` is borrowed, so that this thread cannot get here a second time.
            kernel.with_tile_state(|| {
                for (g, panels) in right.words.chunks(group * stride).enumerate() {
                    for block in 0..blocks {
                        let from = block * K::BLOCK_WORDS;
                        let to = (from + K::BLOCK_WORDS).min(words);
                        for (j, right) in panels.chunks(stride).enumerate() {
                            let col = self.col + (g * group + j) * K::TILE_COLS;
                            for i in 0..row_panels {
                                let row = first + i * K::TILE_ROWS;
                                let height = K::TILE_ROWS.min(end - row);
                                let sums = &mut sums[(j * row_panels + i) * tile..][..tile];
                                let left = &left[i * left_panel + from * K::TILE_ROWS
                                    ..i * left_panel + to * K::TILE_ROWS];
                                let right = &right[from * K::TILE_COLS..to * K::TILE_COLS];
                                // SAFETY: This is within `with_tile_state`, on its thread.
                                unsafe {
                                    kernel.multiply_tile(height, left, right, sums, block > 0);
                                }
                                if block + 1 == blocks {
                                    let width = K::TILE_COLS.min(self.cols - col);
                                    let stride = K::TILE_COLS;
                                    sink(Tile { row, col, height, width, sums, stride });
                                }
                            }
                        }
                    }
                }
            });
        });
    }
}

/// The bytes of scratch memory of one thread's tasks, in a product of `rows` rows and an inner dimension
/// of `inner`.
pub(super) fn block_bytes<K: Kernel>(rows: usize, inner: usize) -> usize {
    let row_panels = rows.div_ceil(K::TILE_ROWS).min(K::MAX_ROW_PANELS);
    let row_words = K::words_per_row(inner) + TASK_COLS;
    size_of::<u32>() * row_panels * K::TILE_ROWS * row_words
}
