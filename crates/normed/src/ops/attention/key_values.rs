//! A decoder's cache of keys and values.

use super::sequences::Sequences;
use crate::tensor::{Operation, Precision, Tensor};

/// Keys and values of `B` sequences in buffers with room for more: a decoder's cache.
#[derive(Debug, Clone)]
pub struct KeyValues {
    /// `[B, capacity, C]`.
    keys: Tensor,
    /// `[B, capacity, C]`.
    values: Tensor,
    /// Rows in use.
    length: usize,
}

impl KeyValues {
    /// Room for `capacity` rows as wide as `like` in each of its sequences `[B, T, C]`.
    pub fn new(like: &Tensor, capacity: usize) -> Self {
        let shape = [like.shape()[0], capacity, like.width()];
        Self { keys: like.zeros_beside(&shape), values: like.zeros_beside(&shape), length: 0 }
    }

    /// Appends rows `[B, T, C]` of keys and values.
    pub fn append(&mut self, keys: &Tensor, values: &Tensor) {
        let (rows, width, capacity) = (keys.shape()[1], keys.width(), self.keys.shape()[1]);
        assert!(self.length + rows <= capacity, "the cache is full");
        for (cache, new) in [(&mut self.keys, keys), (&mut self.values, values)] {
            if cache.plans_change(Operation::Pass(new.len())) {
                continue;
            }
            let cache = cache.data_mut().chunks_exact_mut(capacity * width);
            for (cache, new) in cache.zip(new.data().chunks_exact(rows * width)) {
                cache[self.length * width..][..rows * width].copy_from_slice(new);
            }
        }
        self.length += rows;
    }

    /// Sequence `b` becomes what sequence `from[b]` was: a beam search moves its beams.
    pub fn reorder(&mut self, from: &[usize]) {
        for cache in [&mut self.keys, &mut self.values] {
            let &[_, capacity, width] = cache.shape() else { unreachable!("made so") };
            let mut moved = cache.beside(&[from.len(), capacity, width], Precision::F32);
            if !moved.plans(Operation::Pass(moved.len())) {
                let each = capacity * width;
                for (to, &b) in moved.data_mut().chunks_exact_mut(each).zip(from) {
                    to.copy_from_slice(&cache.data()[b * each..][..each]);
                }
            }
            *cache = moved;
        }
    }

    /// The rows in use, keys and values.
    pub(super) fn sequences(&self) -> [Sequences<'_>; 2] {
        let used = |x| Sequences { length: self.length, ..Sequences::of(x, 0) };
        [used(&self.keys), used(&self.values)]
    }
}
