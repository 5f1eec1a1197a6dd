//! The forward pass of an attention.

use rayon::prelude::*;

use super::scratch::{SCRATCH, Scratch, forward_bytes, grow};
use super::sequences::Sequences;
use super::spec::{AttentionSpec, Dims, QUERY_BLOCK, row_index};
use crate::ops::element::Element;
use crate::ops::product::{Matrix, Rows, store};
use crate::ops::simd::{exp, max, sum, with_simd};
use crate::tensor::{Operation, Precision, Tensor};

/// The output `[B, Tq, C]` and the log-sum-exp `[B, H, Tq]` of the scaled scores, f32.
pub(super) fn forward<T: Element>(
    [q, k, v]: [Sequences<'_>; 3],
    channels: usize,
    spec: &AttentionSpec,
    precision: Precision,
) -> (Tensor, Tensor) {
    let dims = Dims::new(spec, channels, &q, &k);
    let batch = q.data.len() / q.batch_stride;
    let mut out = T::empty_like(q.data, &[batch, dims.queries, channels]);
    let mut lse = q.data.empty_like(&[batch, spec.heads, dims.queries], Precision::F32);
    let flop = 4 * channels * spec.score_count(dims, batch);
    out.count(Operation::Attention { flop, scratch: forward_bytes(dims, precision) });
    if out.is_planned() {
        return (out, lse);
    }
    let target = Rows::new(T::slice_mut(&mut out), channels);
    let tasks = lse.data_mut().par_chunks_mut(dims.group * dims.queries).enumerate();
    tasks.for_each(|(task, lse)| {
        let (b, kv_head) = (task / dims.kv_heads, task % dims.kv_heads);
        SCRATCH.with_borrow_mut(|Scratch { probabilities: p, packed, .. }| {
            let [keys_t, values, ..] = packed;
            let most = spec.visible_keys(dims, b, dims.queries - 1);
            keys_t.pack(k.head(b, 0, most, kv_head, dims.head).transposed(), precision);
            values.pack(v.head(b, 0, most, kv_head, dims.head), precision);
            grow(p, dims, most);
            for (at, from) in dims.blocks() {
                let h = kv_head * dims.group + at;
                let lse = &mut lse[at * dims.queries..][..dims.queries];
                let rows = QUERY_BLOCK.min(dims.queries - from);
                // No row of this block attends to a key beyond the last one of its last row.
                let keys = spec.visible_keys(dims, b, from + rows - 1);
                // SAFETY: One product of `rows` rows of `keys` scores, in this thread's own memory.
                let scores = unsafe { store(Rows::new(p, keys)) };
                keys_t.multiply(q.head(b, from, rows, h, dims.head), keys, scores);
                with_simd(
                    #[inline(always)]
                    || {
                        for (i, row) in p.chunks_exact_mut(keys).take(rows).enumerate() {
                            let visible = spec.visible_keys(dims, b, from + i);
                            let first = spec.window_start(visible);
                            lse[from + i] = softmax(&mut row[first..visible], dims.scale());
                            row[..first].fill(0.0);
                            row[visible..].fill(0.0);
                            spec.drop_probabilities(row, b, row_index(h, from + i));
                        }
                    },
                );
                let to = target.offset_by((b * dims.queries + from) * channels + h * dims.head);
                // SAFETY: One product of `rows` rows inside head `h` of sequence `b`, which only this
                // task writes. `out` has room for them.
                let context = unsafe { store(to) };
                values.multiply(Matrix::dense(p, rows, keys), dims.head, context);
            }
        });
    });
    (out, lse)
}

/// Replaces a row by `softmax(scale * row)`. Gives the log-sum-exp of the scaled row.
#[inline(always)]
fn softmax(row: &mut [f32], scale: f32) -> f32 {
    let top = max(row) * scale;
    for x in row.iter_mut() {
        *x = exp(x.mul_add(scale, -top));
    }
    let total = sum(row);
    let inverse = 1.0 / total;
    for x in row.iter_mut() {
        *x *= inverse;
    }
    total.ln() + top
}
