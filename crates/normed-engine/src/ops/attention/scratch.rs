//! The memory that attentions work in, kept by every thread from one to the next.

use std::cell::RefCell;

use super::spec::{Dims, QUERY_BLOCK};
use crate::ops::product::PackedMatrix;
use crate::tensor::Precision;

/// What a task works in: a group of heads of one sequence, a block of query rows at a time.
pub(super) struct Scratch {
    /// `[rows, keys]`: scores, then probabilities.
    pub probabilities: Vec<f32>,
    /// `[rows, keys]`: the gradients of the probabilities, then of the scores.
    pub score_gradients: Vec<f32>,
    /// `[keys, head]` each: the gradients of keys and values, summed over blocks.
    pub sums: [Vec<f32>; 2],
    /// Packed factors, some of them shared by several products.
    pub packed: [PackedMatrix; 4],
}

thread_local! {
    /// The scratch memory of this thread.
    pub(super) static SCRATCH: RefCell<Scratch> = const {
        RefCell::new(Scratch {
            probabilities: Vec::new(),
            score_gradients: Vec::new(),
            sums: [Vec::new(), Vec::new()],
            packed: [const { PackedMatrix::new() }; 4],
        })
    };
}

/// Makes sure that a block's scores of up to `keys` keys have room in `scores`.
pub(super) fn grow(scores: &mut Vec<f32>, dims: Dims, keys: usize) {
    scores.resize(scores.len().max(QUERY_BLOCK.min(dims.queries) * keys), 0.0);
}

/// The bytes of scratch memory that all threads use in a forward pass.
pub(super) fn forward_bytes(dims: Dims, precision: Precision) -> usize {
    let Dims { keys, head, .. } = dims;
    let packed = |rows, cols| PackedMatrix::bytes(rows, cols, precision);
    let each = score_bytes(dims) + packed(head, keys) + packed(keys, head);
    each * rayon::current_num_threads()
}

/// The bytes of scratch memory that all threads use in a backward pass.
pub(super) fn backward_bytes(dims: Dims, precision: Precision) -> usize {
    let Dims { keys, head, .. } = dims;
    let rows = QUERY_BLOCK.min(dims.queries);
    let packed = |rows, cols| PackedMatrix::bytes(rows, cols, precision);
    let sums = 2 * keys * head * size_of::<f32>();
    let packed = 2 * packed(head, keys) + packed(keys, head) + packed(rows, head);
    (2 * score_bytes(dims) + sums + packed) * rayon::current_num_threads()
}

/// The bytes of one block's scores.
fn score_bytes(dims: Dims) -> usize {
    QUERY_BLOCK.min(dims.queries) * dims.keys * size_of::<f32>()
}
