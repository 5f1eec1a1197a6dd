//! What a product reads and writes: matrices inside slices, by their strides.

use crate::tensor::Factor;

/// A matrix inside a slice: its rows or its columns are contiguous.
#[derive(Clone, Copy)]
pub(in crate::ops) struct Matrix<'a> {
    data: Factor<'a>,
    rows: usize,
    cols: usize,
    /// Elements from one row to the next; from one column to the next if `by_columns`.
    stride: usize,
    by_columns: bool,
}

impl<'a> Matrix<'a> {
    /// Row-major `[rows, cols]`, rows `stride` elements apart.
    pub fn new(data: impl Into<Factor<'a>>, rows: usize, cols: usize, stride: usize) -> Self {
        let data = data.into();
        assert!(rows == 0 || cols == 0 || (rows - 1) * stride + cols <= data.len());
        Self { data, rows, cols, stride, by_columns: false }
    }

    /// Row-major `[rows, cols]`, dense.
    pub fn dense(data: &'a [f32], rows: usize, cols: usize) -> Self {
        Self::new(Factor::F32(data), rows, cols, cols)
    }

    /// The transpose, without a copy.
    pub fn transposed(self) -> Self {
        Self { rows: self.cols, cols: self.rows, by_columns: !self.by_columns, ..self }
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn cols(&self) -> usize {
        self.cols
    }

    pub(super) fn data(&self) -> Factor<'a> {
        self.data
    }

    pub(super) fn stride(&self) -> usize {
        self.stride
    }

    pub(super) fn by_columns(&self) -> bool {
        self.by_columns
    }
}

/// A row-major matrix whose elements several tasks write, each its own.
#[derive(Clone, Copy)]
pub(in crate::ops) struct Rows<T> {
    start: *mut T,
    len: usize,
    stride: usize,
}

// SAFETY: only a pointer; every use says which elements the task owns.
unsafe impl<T: Send> Send for Rows<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Rows<T> {}

impl<T> Rows<T> {
    /// Rows `stride` elements apart.
    pub fn new(data: &mut [T], stride: usize) -> Self {
        Self { start: data.as_mut_ptr(), len: data.len(), stride }
    }

    /// The part that starts at `[0, offset]`.
    pub fn from(self, offset: usize) -> Self {
        assert!(offset <= self.len);
        // SAFETY: inside the slice or one past its end.
        let start = unsafe { self.start.add(offset) };
        Self { start, len: self.len - offset, ..self }
    }

    /// `[row, col..col + width]`.
    ///
    /// # Safety
    /// The slice that `self` was made from must still be borrowed for it, and nobody else may touch
    /// these elements meanwhile.
    #[inline(always)]
    #[expect(clippy::mut_from_ref, reason = "the caller owns these elements")]
    pub unsafe fn at(&self, row: usize, col: usize, width: usize) -> &mut [T] {
        let start = row * self.stride + col;
        assert!(start + width <= self.len);
        // SAFETY: inside the slice by the assertion, unshared by this function's contract.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), width) }
    }
}
