//! The factors of matrix products: views of matrices inside slices.

use crate::tensor::Factor;

/// A view of a matrix inside a slice, in which either the rows or the columns are contiguous.
#[derive(Clone, Copy)]
pub(in crate::ops) struct Matrix<'a> {
    data: Factor<'a>,
    rows: usize,
    cols: usize,
    /// Elements from one row to the next, or from one column to the next if `is_column_major`.
    stride: usize,
    is_column_major: bool,
}

impl<'a> Matrix<'a> {
    /// A row-major `[rows, cols]` matrix whose rows are `stride` elements apart.
    ///
    /// # Panics
    /// If the matrix reaches beyond the end of `data`. Kernels load without bounds checks and rely
    /// on this one.
    pub fn new(data: impl Into<Factor<'a>>, rows: usize, cols: usize, stride: usize) -> Self {
        let data = data.into();
        let end = match rows.checked_sub(1) {
            Some(last) if cols > 0 => last.checked_mul(stride).and_then(|x| x.checked_add(cols)),
            _ => Some(0),
        };
        assert!(
            end.is_some_and(|end| end <= data.len()),
            "a [{rows}, {cols}] matrix with stride {stride} does not fit {} elements",
            data.len()
        );
        Self { data, rows, cols, stride, is_column_major: false }
    }

    /// A row-major `[rows, cols]` matrix without gaps between its rows.
    ///
    /// # Panics
    /// As [`Matrix::new`].
    pub fn dense(data: &'a [f32], rows: usize, cols: usize) -> Self {
        Self::new(Factor::F32(data), rows, cols, cols)
    }

    /// The transpose, without a copy.
    pub fn transposed(self) -> Self {
        Self { rows: self.cols, cols: self.rows, is_column_major: !self.is_column_major, ..self }
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The number of columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// The elements of the slice that contains the matrix.
    pub(super) fn data(&self) -> Factor<'a> {
        self.data
    }

    /// Elements from one row to the next, or from one column to the next in a column-major matrix.
    pub(super) fn stride(&self) -> usize {
        self.stride
    }

    /// Whether the columns, rather than the rows, are contiguous.
    pub(super) fn is_column_major(&self) -> bool {
        self.is_column_major
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_beyond_its_slice_is_refused() {
        let data = [0.0; 12];
        let fits = |rows, cols, stride| {
            std::panic::catch_unwind(|| Matrix::new(Factor::F32(&data), rows, cols, stride)).is_ok()
        };
        assert!(fits(3, 4, 4) && fits(2, 2, 10) && fits(0, 100, 100) && fits(100, 0, 100));
        assert!(!fits(3, 5, 5) && !fits(2, 3, 10));
        // The end wraps around to 2.
        assert!(!fits(3, 2, usize::MAX / 2 + 1));
        assert!(!fits(2, 3, usize::MAX));
    }
}
