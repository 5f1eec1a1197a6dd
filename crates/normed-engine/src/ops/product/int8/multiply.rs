//! A product in int8 on all threads.

use std::cell::RefCell;

use rayon::prelude::*;

use super::kernel::{CodeKernel, RightGroups};
use super::left::LeftPanels;
use super::select::with_code_kernel;
use crate::ops::product::aligned::AlignedVec;
use crate::ops::product::blocking::{Grid, GridLimits};
use crate::ops::product::epilogue::{Tile, TileSink, row_by_row};
use crate::ops::product::matrix::Matrix;
use crate::tensor::{CodePanels, GROUP, PANEL};

/// Columns that a task multiplies by one block of groups before the next block.
const TASK_COLS: usize = 256;
/// Groups that are multiplied before the next block of groups. A panel's block then stays in a cache close
/// to the processor.
const BLOCK_GROUPS: usize = 2048 / GROUP;

thread_local! {
    /// A task's packed left rows, and its sums.
    static LEFT: RefCell<(LeftPanels, AlignedVec<f32>)> = RefCell::default();
}

/// Multiplies `a [rows, inner]` by the codes `b [inner, cols]` on all threads, and calls
/// `epilogue(row, col, sums)` as [`multiply`](crate::ops::product::multiply()) does.
///
/// # Panics
/// If the inner dimensions differ, or if the rows of `a` are not contiguous f32 or bf16.
pub(in crate::ops) fn multiply_codes(
    a: Matrix<'_>,
    b: &CodePanels,
    epilogue: impl Fn(usize, usize, &[f32]) + Sync,
) {
    multiply_into_tiles(a, b, &row_by_row(epilogue));
}

/// Apart from [`multiply_codes`], so that kernels are compiled once rather than for every epilogue.
fn multiply_into_tiles(a: Matrix<'_>, b: &CodePanels, sink: TileSink<'_>) {
    with_code_kernel!(multiply_with(a, b, sink))
}

/// [`multiply_codes`] with a certain kernel.
pub(super) fn multiply_with<K: CodeKernel>(
    kernel: K,
    a: Matrix<'_>,
    b: &CodePanels,
    sink: TileSink<'_>,
) {
    assert_eq!(a.cols(), b.inner(), "the inner dimensions of a product differ");
    if a.rows() == 0 || b.cols() == 0 {
        return;
    }
    let grid = Grid::with_limits(a.rows(), b.cols().div_ceil(PANEL), limits::<K>());
    (0..grid.tasks()).into_par_iter().with_max_len(1).for_each(|task| {
        multiply_block(kernel, a, b, (grid.rows(task), grid.panels(task)), sink);
    });
}

fn limits<K: CodeKernel>() -> GridLimits {
    GridLimits {
        panel_rows: K::TILE_ROWS,
        max_row_panels: K::MAX_ROW_PANELS,
        min_row_panels: K::MIN_ROW_PANELS,
        tasks_per_thread: K::TASKS_PER_THREAD,
    }
}

/// One task: some rows of `a` with some panels of `b`.
fn multiply_block<K: CodeKernel>(
    kernel: K,
    a: Matrix<'_>,
    b: &CodePanels,
    ((first, end), (from, to)): ((usize, usize), (usize, usize)),
    sink: TileSink<'_>,
) {
    let tile = K::TILE_ROWS * PANEL;
    LEFT.with_borrow_mut(|(left, sums)| {
        left.pack(kernel, a, first, end);
        let row_panels = (end - first).div_ceil(K::TILE_ROWS);
        sums.grow(TASK_COLS / PANEL * row_panels * tile);
        let sums = sums.words_mut();
        let groups = b.groups();
        // `LEFT` is borrowed, so that this thread cannot get here a second time.
        kernel.with_tile_state(|| {
            for at in (from..to).step_by(TASK_COLS / PANEL) {
                let panels = at..to.min(at + TASK_COLS / PANEL);
                sums[..panels.len() * row_panels * tile].fill(0.0);
                for start in (0..groups).step_by(BLOCK_GROUPS) {
                    let block = (start, groups.min(start + BLOCK_GROUPS));
                    for panel in panels.clone() {
                        let right = RightGroups {
                            codes: b.codes(panel, block.0, block.1),
                            scales: b.scales(panel, block.0, block.1),
                            sums: b.sums(panel, block.0, block.1),
                        };
                        for i in 0..row_panels {
                            let row = first + i * K::TILE_ROWS;
                            let height = K::TILE_ROWS.min(end - row);
                            let left = left.groups((i, K::TILE_ROWS), groups, block);
                            let sums = &mut sums[((panel - at) * row_panels + i) * tile..][..tile];
                            // SAFETY: This is within `with_tile_state`, on its thread.
                            unsafe { kernel.multiply_tile(height, left, right, sums) };
                            if block.1 == groups {
                                let col = panel * PANEL;
                                let width = PANEL.min(b.cols() - col);
                                sink(Tile { row, col, height, width, sums, stride: PANEL });
                            }
                        }
                    }
                }
            }
        });
    });
}

/// The bytes of scratch memory that all threads together use in [`multiply_codes`] of `rows` rows and an
/// inner dimension of `inner`.
pub(in crate::ops) fn scratch_bytes(rows: usize, inner: usize) -> usize {
    with_code_kernel!(scratch_bytes_with(rows, inner))
}

fn scratch_bytes_with<K: CodeKernel>(_: K, rows: usize, inner: usize) -> usize {
    let rows = rows.div_ceil(K::TILE_ROWS).min(K::MAX_ROW_PANELS) * K::TILE_ROWS;
    let sums = size_of::<f32>() * rows * TASK_COLS;
    rayon::current_num_threads() * (LeftPanels::bytes(rows, inner) + sums)
}
