//! The inputs of an attention: sequences inside tensors, read one head at a time.

use crate::ops::product::Matrix;
use crate::tensor::Tensor;

/// `B` sequences of `length` rows inside a tensor. The channels of a row start at `offset`.
#[derive(Clone, Copy)]
pub(super) struct Sequences<'a> {
    /// The tensor that contains the sequences.
    pub data: &'a Tensor,
    /// Rows of each sequence.
    pub length: usize,
    /// Elements from one row to the next.
    pub stride: usize,
    /// Elements from one sequence to the next.
    pub batch_stride: usize,
    /// Elements before the first channel of a row.
    pub offset: usize,
}

impl<'a> Sequences<'a> {
    /// The rows of `x [B, T, W]` from channel `offset` on.
    pub fn new(x: &'a Tensor, offset: usize) -> Self {
        let (length, stride) = (x.shape()[1], x.width());
        Self { data: x, length, stride, batch_stride: length * stride, offset }
    }

    /// The rows `from..from + rows` of one head, `[rows, dim]`, in sequence `b`.
    pub fn head(&self, b: usize, from: usize, rows: usize, head: usize, dim: usize) -> Matrix<'a> {
        let start = b * self.batch_stride + from * self.stride + self.offset + head * dim;
        Matrix::new(self.data.elements().skip(start), rows, dim, self.stride)
    }
}
