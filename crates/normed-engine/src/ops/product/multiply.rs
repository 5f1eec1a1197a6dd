//! A matrix product on all threads.

use std::cell::RefCell;

use rayon::prelude::*;

use super::aligned::AlignedVec;
use super::blocking::{Block, Grid, Panels, block_bytes};
use super::epilogue::{TileSink, row_by_row};
use super::few_rows::{FewRowsKernel, few_rows_scratch_bytes, is_of_few_rows, multiply_few_rows};
use super::kernel::Kernel;
use super::matrix::Matrix;
use super::select::with_kernel;
use crate::tensor::Precision;

/// Words of the right factor that are packed at a time and shared by all threads: a good part of the
/// last-level cache.
pub(super) const SHARED_WORDS: usize = 2 << 20;
/// Right panels that one task packs.
const PANELS_PER_PACKING_TASK: usize = 8;

thread_local! {
    /// The packed right factor. It is taken out while in use: a thread that waits for its tasks may
    /// start another product.
    static RIGHT: RefCell<AlignedVec<u32>> = const { RefCell::new(AlignedVec::new()) };
}

/// Multiplies `a [rows, inner]` by `b [inner, cols]` on all threads, and calls `epilogue(row, col, sums)`
/// once for every run of columns of every row of the product, from any thread.
///
/// Where the processor has bf16 products, factors are rounded to `precision` before they are multiplied.
/// Sums are f32.
///
/// The epilogue is compiled for every instruction set: it should be `#[inline(always)]` and leave its
/// loops to the compiler.
///
/// # Panics
/// If the inner dimensions differ, or are 0 in a product that has elements.
pub(in crate::ops) fn multiply(
    a: Matrix<'_>,
    b: Matrix<'_>,
    precision: Precision,
    epilogue: impl Fn(usize, usize, &[f32]) + Sync,
) {
    multiply_into_tiles(a, b, precision, &row_by_row(epilogue));
}

/// Apart from [`multiply`], so that kernels are compiled once rather than for every epilogue.
fn multiply_into_tiles(a: Matrix<'_>, b: Matrix<'_>, precision: Precision, sink: TileSink<'_>) {
    with_kernel!(precision, multiply_few_or_many_rows(a, b, sink))
}

fn multiply_few_or_many_rows<K: FewRowsKernel>(
    kernel: K,
    a: Matrix<'_>,
    b: Matrix<'_>,
    sink: TileSink<'_>,
) {
    if is_of_few_rows::<K>(a, b) {
        multiply_few_rows(kernel, a, b, sink);
    } else {
        multiply_with(kernel, a, b, sink);
    }
}

/// [`multiply`] with a certain kernel.
pub(super) fn multiply_with<K: Kernel>(
    kernel: K,
    a: Matrix<'_>,
    b: Matrix<'_>,
    sink: TileSink<'_>,
) {
    assert_eq!(a.cols(), b.rows(), "the inner dimensions of a product differ");
    let (rows, cols) = (a.rows(), b.cols());
    if rows == 0 || cols == 0 {
        return;
    }
    assert!(a.cols() > 0, "a product over an inner dimension of 0");
    let words = K::words_per_row(a.cols());
    let panel = K::TILE_COLS * words;
    let panels = cols.div_ceil(K::TILE_COLS);
    let at_once = (SHARED_WORDS / panel).clamp(1, panels);
    let columns = b.transposed();
    let mut right = RIGHT.take();
    right.grow(at_once * panel);
    for first in (0..panels).step_by(at_once) {
        let count = at_once.min(panels - first);
        let packed = &mut right.words_mut()[..count * panel];
        packed.par_chunks_mut(PANELS_PER_PACKING_TASK * panel).enumerate().for_each(|(i, out)| {
            let panel = first + i * PANELS_PER_PACKING_TASK;
            kernel.pack_right(columns, panel * K::TILE_COLS, out);
        });
        let packed = Panels { words: &*packed, stride: panel };
        let grid = Grid::new::<K>(rows, count);
        (0..grid.tasks()).into_par_iter().with_max_len(1).for_each(|task| {
            let (from, to) = grid.panels(task);
            let col = (first + from) * K::TILE_COLS;
            let block = Block { rows: grid.rows(task), col, cols };
            block.multiply(kernel, a, packed.range(from, to), words, sink);
        });
    }
    RIGHT.set(right);
}

/// The bytes of scratch memory that all threads together use in [`multiply`] of `[rows, inner]` and
/// `[inner, cols]`.
pub(in crate::ops) fn scratch_bytes(
    rows: usize,
    inner: usize,
    cols: usize,
    precision: Precision,
) -> usize {
    with_kernel!(precision, scratch_bytes_with(rows, inner, cols))
}

fn scratch_bytes_with<K: FewRowsKernel>(_: K, rows: usize, inner: usize, cols: usize) -> usize {
    let panel = K::TILE_COLS * K::words_per_row(inner);
    let panels = cols.div_ceil(K::TILE_COLS).max(1);
    let right = panel * (SHARED_WORDS / panel.max(1)).clamp(1, panels);
    let of_many_rows =
        size_of::<u32>() * right + rayon::current_num_threads() * block_bytes::<K>(rows, inner);
    of_many_rows.max(few_rows_scratch_bytes::<K>(rows, inner))
}
