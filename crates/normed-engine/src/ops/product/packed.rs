//! A right factor that is packed once for several products.

use super::aligned::AlignedVec;
use super::blocking::{Block, Panels};
use super::epilogue::{TileSink, row_by_row};
use super::kernel::Kernel;
use super::matrix::Matrix;
use super::select::with_kernel;
use crate::tensor::Precision;

/// A right factor, packed once for several products. They run on the calling thread, which is itself
/// one of many.
#[derive(Debug)]
pub(in crate::ops) struct PackedMatrix {
    words: AlignedVec<u32>,
    rows: usize,
    cols: usize,
    precision: Precision,
}

impl PackedMatrix {
    /// An empty matrix.
    pub const fn new() -> Self {
        Self { words: AlignedVec::new(), rows: 0, cols: 0, precision: Precision::F32 }
    }

    /// The bytes of a packed `[rows, cols]` matrix.
    pub fn bytes(rows: usize, cols: usize, precision: Precision) -> usize {
        with_kernel!(precision, bytes_with(rows, cols))
    }

    /// Packs `b` for products in `precision`. The memory of the matrix that was packed before is reused.
    pub fn pack(&mut self, b: Matrix<'_>, precision: Precision) {
        (self.rows, self.cols, self.precision) = (b.rows(), b.cols(), precision);
        with_kernel!(precision, pack_panels(b, &mut self.words));
    }

    /// Multiplies `a` by the first `a.cols()` rows and the first `cols` columns of the packed matrix, and
    /// calls `epilogue` as [`multiply`](super::multiply()) does, from this thread.
    ///
    /// # Panics
    /// If the packed matrix has fewer rows or columns.
    pub fn multiply(
        &self,
        a: Matrix<'_>,
        cols: usize,
        epilogue: impl Fn(usize, usize, &[f32]) + Sync,
    ) {
        let needed = [a.cols(), cols];
        assert!(
            needed[0] <= self.rows && needed[1] <= self.cols,
            "a product needs {needed:?} of a packed matrix [{}, {}]",
            self.rows,
            self.cols
        );
        self.multiply_into_tiles(a, cols, &row_by_row(epilogue));
    }

    /// Apart from [`PackedMatrix::multiply`], so that kernels are compiled once rather than for every
    /// epilogue.
    fn multiply_into_tiles(&self, a: Matrix<'_>, cols: usize, sink: TileSink<'_>) {
        with_kernel!(self.precision, multiply_packed_with(a, self, cols, sink));
    }

    /// [`PackedMatrix::pack`] for a certain kernel.
    #[cfg(test)]
    pub(super) fn packed_with<K: Kernel>(kernel: K, b: Matrix<'_>) -> Self {
        let mut packed = Self { rows: b.rows(), cols: b.cols(), ..Self::new() };
        pack_panels(kernel, b, &mut packed.words);
        packed
    }
}

fn bytes_with<K: Kernel>(_: K, rows: usize, cols: usize) -> usize {
    size_of::<u32>() * cols.next_multiple_of(K::TILE_COLS) * K::words_per_row(rows)
}

fn pack_panels<K: Kernel>(kernel: K, b: Matrix<'_>, out: &mut AlignedVec<u32>) {
    let panel = K::TILE_COLS * K::words_per_row(b.rows());
    let panels = b.cols().div_ceil(K::TILE_COLS);
    out.grow(panels * panel);
    for (i, out) in out.words_mut().chunks_exact_mut(panel.max(1)).take(panels).enumerate() {
        kernel.pack_right(b.transposed(), i * K::TILE_COLS, out);
    }
}

/// [`PackedMatrix::multiply`] with a certain kernel, the one that `b` was packed for.
pub(super) fn multiply_packed_with<K: Kernel>(
    kernel: K,
    a: Matrix<'_>,
    b: &PackedMatrix,
    cols: usize,
    sink: TileSink<'_>,
) {
    if a.rows() == 0 || cols == 0 {
        return;
    }
    let stride = K::TILE_COLS * K::words_per_row(b.rows);
    let panels = Panels { words: b.words.words(), stride }.range(0, cols.div_ceil(K::TILE_COLS));
    let block = Block { rows: (0, a.rows()), col: 0, cols };
    block.multiply(kernel, a, panels, K::words_per_row(a.cols()), sink);
}
