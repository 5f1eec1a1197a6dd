//! What an attention computes: its heads, its mask and its dropout.

use std::sync::Arc;

use super::sequences::Sequences;
use crate::ops::dropout::DropoutStream;

/// Query rows of a block: their scores are computed together.
pub(super) const QUERY_BLOCK: usize = 128;

/// The heads, the mask and the dropout of an attention.
#[derive(Debug, Clone, Default)]
pub struct AttentionSpec {
    /// The number of query heads. The channels are divided among them.
    pub heads: usize,
    /// The number of key and value heads. Each serves the same number of query heads (grouped-query
    /// attention). As many as `heads` if absent.
    pub kv_heads: Option<usize>,
    /// Sliding window: of the keys that the rest of the mask lets a query attend to, only the last so
    /// many.
    pub window: Option<usize>,
    /// Causal mask: a query attends to keys up to its own position, where the last query and the last
    /// key have the same position.
    pub causal: bool,
    /// Padding mask, `[B]`: the number of keys in each sequence that are not padding. All keys if
    /// absent.
    pub key_lengths: Option<Arc<[usize]>>,
    /// Dropout of the probabilities.
    pub dropout: Option<DropoutStream>,
}

impl AttentionSpec {
    /// The number of key and value heads.
    pub(super) fn kv_heads(&self) -> usize {
        self.kv_heads.unwrap_or(self.heads)
    }

    /// The number of keys from the first one up to the last one that query `i` of sequence `b` attends
    /// to, without regard to the window.
    #[inline(always)]
    pub(super) fn visible_keys(&self, dims: Dims, b: usize, i: usize) -> usize {
        let length = self.key_lengths.as_ref().map_or(dims.keys, |l| l[b].min(dims.keys));
        if self.causal { length.min(dims.keys - dims.queries + i + 1) } else { length }
    }

    /// The first of `visible` keys that is inside the window.
    #[inline(always)]
    pub(super) fn window_start(&self, visible: usize) -> usize {
        self.window.map_or(0, |window| visible.saturating_sub(window))
    }

    /// The number of scores that one head computes, over `batch` sequences.
    pub(super) fn score_count(&self, dims: Dims, batch: usize) -> usize {
        let block = |b, from: usize| {
            let rows = QUERY_BLOCK.min(dims.queries - from);
            rows * self.visible_keys(dims, b, from + rows - 1)
        };
        let starts = || (0..dims.queries).step_by(QUERY_BLOCK);
        (0..batch).flat_map(|b| starts().map(move |from| block(b, from))).sum()
    }

    /// Multiplies a row of probabilities of sequence `b` by its dropout mask.
    #[inline(always)]
    pub(super) fn drop_probabilities(&self, row: &mut [f32], b: usize, row_index: u64) {
        if let Some(stream) = &self.dropout {
            for (j, p) in row.iter_mut().enumerate() {
                *p *= stream.factor(b, (row_index << 24) | j as u64);
            }
        }
    }
}

/// The index of a row of probabilities within its example, from the head and the query alone. Together
/// with the key's position it chooses the dropout mask, which therefore does not depend on how far the
/// batch is padded.
pub(super) fn row_index(head: usize, query: usize) -> u64 {
    (head as u64) << 20 | query as u64
}

/// The sizes of an attention.
#[derive(Clone, Copy)]
pub(super) struct Dims {
    /// Query rows of a sequence.
    pub queries: usize,
    /// Key rows of a sequence.
    pub keys: usize,
    /// Channels of a head.
    pub head: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Query heads that share a key and value head.
    pub group: usize,
}

impl Dims {
    /// The sizes of an attention of queries `q` with `channels` channels over keys `k`.
    pub fn new(
        spec: &AttentionSpec,
        channels: usize,
        q: &Sequences<'_>,
        k: &Sequences<'_>,
    ) -> Self {
        let kv_heads = spec.kv_heads();
        Self {
            queries: q.length,
            keys: k.length,
            head: channels / spec.heads,
            kv_heads,
            group: spec.heads / kv_heads,
        }
    }

    /// What scores are multiplied by: `1 / sqrt(d)` for heads of `d` channels.
    pub fn scale(self) -> f32 {
        1.0 / (self.head as f32).sqrt()
    }

    /// The blocks of a group of heads: the head within the group and the block's first query.
    pub fn blocks(self) -> impl Iterator<Item = (usize, usize)> {
        let starts = move || (0..self.queries).step_by(QUERY_BLOCK);
        (0..self.group).flat_map(move |head| starts().map(move |from| (head, from)))
    }
}
