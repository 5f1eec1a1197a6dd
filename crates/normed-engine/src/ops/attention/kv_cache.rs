//! The cache of keys and values that a decoder generates with.

use std::sync::Arc;

use super::sequences::Sequences;
use crate::tensor::{Elements, Operation, Precision, Tensor};

/// The keys and values of `B` sequences of different lengths, in buffers with room for more rows.
#[derive(Debug, Clone)]
pub struct KvCache {
    /// `[B, capacity, C]`.
    keys: Tensor,
    /// `[B, capacity, C]`.
    values: Tensor,
    /// The rows of each sequence, `[B]`.
    lengths: Vec<usize>,
}

impl KvCache {
    /// An empty cache for `capacity` rows in each of `B` sequences, with the channels and the precision
    /// of `like [B, T, C]`.
    pub fn new(like: &Tensor, capacity: usize) -> Self {
        let shape = [like.shape()[0], capacity, like.width()];
        let [keys, values] = [(); 2].map(|()| like.empty_like(&shape, like.precision()));
        Self { keys, values, lengths: vec![0; shape[0]] }
    }

    /// Appends the rows of `keys` and `values`, `[B, T, C]`, each to the end of its sequence.
    ///
    /// # Panics
    /// If there is no room for the rows, or if they have another precision than the cache.
    pub fn append(&mut self, keys: &Tensor, values: &Tensor) {
        let (rows, width, capacity) = (keys.shape()[1], keys.width(), self.keys.shape()[1]);
        assert!(
            self.longest() + rows <= capacity,
            "{rows} more rows do not fit a cache of {capacity}"
        );
        for (cache, new) in [(&mut self.keys, keys), (&mut self.values, values)] {
            cache.count_in_place(Operation::Elementwise(new.len()));
            if cache.is_planned() {
                continue;
            }
            for (b, &length) in self.lengths.iter().enumerate() {
                let at = (b * capacity + length) * width;
                copy(new, b * rows * width, cache, at, rows * width);
            }
        }
        self.lengths.iter_mut().for_each(|length| *length += rows);
    }

    /// Removes the rows of each sequence after its first `lengths[b]`, because they are padding.
    pub fn truncate(&mut self, lengths: &[usize]) {
        for (own, &length) in self.lengths.iter_mut().zip(lengths) {
            *own = length.min(*own);
        }
    }

    /// Replaces sequence `b` by a copy of sequence `from[b]`, as beam search does with its beams.
    pub fn reorder(&mut self, from: &[usize]) {
        for cache in [&mut self.keys, &mut self.values] {
            let &[_, capacity, width] = cache.shape() else {
                unreachable!("`new` makes three dimensions")
            };
            let mut moved = cache.empty_like(&[from.len(), capacity, width], cache.precision());
            moved.count(Operation::Elementwise(moved.len()));
            if !moved.is_planned() {
                let each = capacity * width;
                for (to, &b) in from.iter().enumerate() {
                    copy(cache, b * each, &mut moved, to * each, self.lengths[b] * width);
                }
            }
            *cache = moved;
        }
        self.lengths = from.iter().map(|&b| self.lengths[b]).collect();
    }

    /// The number of rows of each sequence, `[B]`.
    pub fn lengths(&self) -> Arc<[usize]> {
        self.lengths.as_slice().into()
    }

    /// The number of rows of the longest sequence.
    fn longest(&self) -> usize {
        self.lengths.iter().copied().max().unwrap_or(0)
    }

    /// Keys and values, as many rows as the longest sequence has.
    pub(super) fn sequences(&self) -> [Sequences<'_>; 2] {
        let used = |x| Sequences { length: self.longest(), ..Sequences::new(x, 0) };
        [used(&self.keys), used(&self.values)]
    }
}

/// Copies `n` elements from index `from_start` of `from` to index `to_start` of `to`, which must have the
/// same precision.
fn copy(from: &Tensor, from_start: usize, to: &mut Tensor, to_start: usize, n: usize) {
    match (from.elements(), to.precision()) {
        (Elements::F32(from), Precision::F32) => {
            to.data_mut()[to_start..][..n].copy_from_slice(&from[from_start..][..n]);
        }
        (Elements::Bf16(from), Precision::Bf16) => {
            to.bf16_data_mut()[to_start..][..n].copy_from_slice(&from[from_start..][..n]);
        }
        _ => panic!("{from:?} and the cache have different precisions"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_appended_to_the_end_of_their_own_sequence() {
        let value = |x: &[f32]| Tensor::new(&[2, x.len() / 2, 1], x.to_vec());
        for precision in [Precision::F32, Precision::Bf16] {
            let value = |x: &[f32]| value(x).to_precision(precision);
            let mut cache = KvCache::new(&value(&[0.0, 0.0]), 4);
            let prompt = value(&[1.0, 2.0, 3.0, 4.0, 9.0, 9.0]);
            cache.append(&prompt, &prompt);
            cache.truncate(&[3, 1]);
            cache.append(&value(&[5.0, 6.0]), &value(&[5.0, 6.0]));
            assert_eq!(*cache.lengths(), [4, 2]);
            let of = |cache: &KvCache, b: usize| {
                let keys = cache.keys.to_precision(Precision::F32);
                keys.data()[4 * b..][..cache.lengths[b]].to_vec()
            };
            assert_eq!((of(&cache, 0), of(&cache, 1)), (vec![1.0, 2.0, 3.0, 5.0], vec![4.0, 6.0]));
            cache.reorder(&[1, 0, 1]);
            assert_eq!(*cache.lengths(), [2, 4, 2]);
            assert_eq!((of(&cache, 2), of(&cache, 1)), (vec![4.0, 6.0], vec![1.0, 2.0, 3.0, 5.0]));
        }
    }
}
