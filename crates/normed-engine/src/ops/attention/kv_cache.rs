//! A decoder's cache of keys and values.

use std::sync::Arc;

use super::sequences::Sequences;
use crate::tensor::{Elements, Operation, Precision, Tensor};

/// Keys and values of `B` sequences in buffers with room for more: a decoder's cache. Sequences may be
/// of different lengths.
#[derive(Debug, Clone)]
pub struct KvCache {
    /// `[B, capacity, C]`.
    keys: Tensor,
    /// `[B, capacity, C]`.
    values: Tensor,
    /// `[B]`: rows in use.
    lengths: Vec<usize>,
}

impl KvCache {
    /// Room for `capacity` rows as wide as `like`, and in its precision, in each of its sequences
    /// `[B, T, C]`.
    pub fn new(like: &Tensor, capacity: usize) -> Self {
        let shape = [like.shape()[0], capacity, like.width()];
        let [keys, values] = [(); 2].map(|()| like.empty_like(&shape, like.precision()));
        Self { keys, values, lengths: vec![0; shape[0]] }
    }

    /// Appends rows `[B, T, C]` of keys and values to every sequence.
    pub fn append(&mut self, keys: &Tensor, values: &Tensor) {
        let (rows, width, capacity) = (keys.shape()[1], keys.width(), self.keys.shape()[1]);
        assert!(self.longest() + rows <= capacity, "the cache is full");
        for (cache, new) in [(&mut self.keys, keys), (&mut self.values, values)] {
            cache.count_in_place(Operation::Pass(new.len()));
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

    /// Forgets all but the first `lengths[b]` rows of each sequence: what stands behind was padding.
    pub fn truncate(&mut self, lengths: &[usize]) {
        for (own, &length) in self.lengths.iter_mut().zip(lengths) {
            *own = length.min(*own);
        }
    }

    /// Sequence `b` becomes what sequence `from[b]` was: a beam search moves its beams.
    pub fn reorder(&mut self, from: &[usize]) {
        for cache in [&mut self.keys, &mut self.values] {
            let &[_, capacity, width] = cache.shape() else { unreachable!("made so") };
            let mut moved = cache.empty_like(&[from.len(), capacity, width], cache.precision());
            moved.count(Operation::Pass(moved.len()));
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

    /// `[B]`: the rows in use of each sequence.
    pub fn lengths(&self) -> Arc<[usize]> {
        self.lengths.as_slice().into()
    }

    /// The rows in use of the longest sequence.
    fn longest(&self) -> usize {
        self.lengths.iter().copied().max().unwrap_or(0)
    }

    /// The rows in use, keys and values, as far as the longest sequence has any.
    pub(super) fn sequences(&self) -> [Sequences<'_>; 2] {
        let used = |x| Sequences { length: self.longest(), ..Sequences::of(x, 0) };
        [used(&self.keys), used(&self.values)]
    }
}

/// `n` elements of `from`, from `at` on, into `to`, of the same precision, from `place` on.
fn copy(from: &Tensor, at: usize, to: &mut Tensor, place: usize, n: usize) {
    match (from.elements(), to.precision()) {
        (Elements::F32(from), Precision::F32) => {
            to.data_mut()[place..place + n].copy_from_slice(&from[at..at + n]);
        }
        (Elements::Bf16(from), Precision::Bf16) => {
            to.bf16_data_mut()[place..place + n].copy_from_slice(&from[at..at + n]);
        }
        _ => panic!("{from:?} is of another precision than the cache"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_follow_the_end_of_their_own_sequence() {
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
