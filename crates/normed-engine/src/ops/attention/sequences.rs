//! What an attention reads: sequences inside tensors, a head of one at a time.

use crate::ops::product::Matrix;
use crate::tensor::Tensor;

/// `B` sequences of `length` rows inside a buffer; a row holds `channels` numbers at `offset`.
#[derive(Clone, Copy)]
pub(super) struct Sequences<'a> {
    pub data: &'a Tensor,
    pub length: usize,
    /// Elements from one row to the next.
    pub stride: usize,
    /// Elements from one sequence to the next.
    pub batch_stride: usize,
    pub offset: usize,
}

impl<'a> Sequences<'a> {
    /// `[B, T, C]`, or the channels from `offset` on of wider rows.
    pub fn of(x: &'a Tensor, offset: usize) -> Self {
        let (length, stride) = (x.shape()[1], x.width());
        Self { data: x, length, stride, batch_stride: length * stride, offset }
    }

    fn start(&self, b: usize, row: usize, head: usize, dim: usize) -> usize {
        b * self.batch_stride + row * self.stride + self.offset + head * dim
    }

    /// Rows `[from, from + rows)` of one head of one sequence.
    pub fn head(&self, b: usize, from: usize, rows: usize, head: usize, dim: usize) -> Matrix<'a> {
        Matrix::new(
            self.data.elements().after(self.start(b, from, head, dim)),
            rows,
            dim,
            self.stride,
        )
    }
}
