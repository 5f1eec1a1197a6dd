//! Scaled dot-product attention over several heads (Vaswani et al. 2017, arXiv 1706.03762, eq. 1):
//! `softmax(Q Kᵀ / sqrt(d)) V`, with causal order and padding.
//!
//! Keeps: Q, K and V (the producing layers' outputs, no further copy) and the log-sum-exp of each
//! row of scores. Backward recomputes the probabilities, a block of query rows at a time (Dao et
//! al. 2022, arXiv 2205.14135, algorithm 4): no `[T, T]` matrix ever exists.

use std::cell::RefCell;
use std::sync::Arc;

use rayon::prelude::*;

use super::dropout::DropoutStream;
use super::product::{Matrix, Rows, Threads, matmul};
use super::simd::{dot, exp, max, sum, vectorised};
use crate::tensor::{Elements, Graph, Precision, Tensor, Var};

/// Query rows that are worked on together.
const BLOCK: usize = 128;

/// What an attention computes, beside its inputs.
#[derive(Debug, Clone, Default)]
pub struct AttentionSpec {
    /// The number of heads; the channels are divided among them.
    pub heads: usize,
    /// Whether query `i` sees only keys up to its own position, both sides ending together.
    pub causal: bool,
    /// `[B]`: the number of keys that are not padding; all of them if absent.
    pub key_lengths: Option<Arc<[usize]>>,
    /// Drops probabilities.
    pub dropout: Option<DropoutStream>,
}

/// `B` sequences of `length` rows inside a buffer; a row holds `channels` numbers at `offset`.
#[derive(Clone, Copy)]
struct Sequences<'a> {
    data: Elements<'a>,
    length: usize,
    /// Elements from one row to the next.
    stride: usize,
    /// Elements from one sequence to the next.
    batch_stride: usize,
    offset: usize,
}

impl<'a> Sequences<'a> {
    /// `[B, T, C]`, or the channels from `offset` on of wider rows.
    fn of(x: &'a Tensor, offset: usize) -> Self {
        let (length, stride) = (x.shape()[1], x.width());
        Self { data: x.elements(), length, stride, batch_stride: length * stride, offset }
    }

    fn start(&self, b: usize, row: usize, head: usize, dim: usize) -> usize {
        b * self.batch_stride + row * self.stride + self.offset + head * dim
    }

    /// Rows `[from, from + rows)` of one head of one sequence.
    fn head(&self, b: usize, from: usize, rows: usize, head: usize, dim: usize) -> Matrix<'a> {
        Matrix::new(self.data.after(self.start(b, from, head, dim)), rows, dim, self.stride)
    }
}

/// Keys and values of `B` sequences in buffers with room for more: a decoder's cache.
#[derive(Debug, Clone)]
pub struct KeyValues {
    /// `[B, capacity, C]`.
    pub keys: Vec<f32>,
    /// `[B, capacity, C]`.
    pub values: Vec<f32>,
    /// Rows in use.
    pub length: usize,
    /// Rows there is room for.
    pub capacity: usize,
    /// `C`.
    pub channels: usize,
}

impl KeyValues {
    /// Room for `capacity` rows in each of `batch` sequences.
    pub fn new(batch: usize, capacity: usize, channels: usize) -> Self {
        let empty = vec![0.0; batch * capacity * channels];
        Self { keys: empty.clone(), values: empty, length: 0, capacity, channels }
    }

    /// Appends rows `[B, T, C]` of keys and values.
    pub fn append(&mut self, keys: &Tensor, values: &Tensor) {
        let (batch, rows, width) = (keys.shape()[0], keys.shape()[1], self.channels);
        assert!(self.length + rows <= self.capacity, "the cache is full");
        for b in 0..batch {
            let to = (b * self.capacity + self.length) * width;
            let from = b * rows * width..(b + 1) * rows * width;
            self.keys[to..to + rows * width].copy_from_slice(&keys.data()[from.clone()]);
            self.values[to..to + rows * width].copy_from_slice(&values.data()[from]);
        }
        self.length += rows;
    }

    /// Sequence `b` becomes what sequence `from[b]` was: a beam search moves its beams.
    pub fn reorder(&mut self, from: &[usize]) {
        let each = self.capacity * self.channels;
        for buffer in [&mut self.keys, &mut self.values] {
            *buffer =
                from.iter().flat_map(|&b| &buffer[b * each..(b + 1) * each]).copied().collect();
        }
    }

    fn sequences<'a>(&self, data: &'a [f32]) -> Sequences<'a> {
        Sequences {
            data: Elements::F32(data),
            length: self.length,
            stride: self.channels,
            batch_stride: self.capacity * self.channels,
            offset: 0,
        }
    }
}

/// Self-attention over `qkv [B, T, 3C]`, queries, keys and values side by side. Gives `[B, T, C]`.
pub fn self_attention(g: &mut Graph<'_>, qkv: &Var, spec: AttentionSpec) -> Var {
    let c = qkv.value.width() / 3;
    let x = &qkv.value;
    let (out, lse) =
        forward([0, c, 2 * c].map(|offset| Sequences::of(x, offset)), c, &spec, g.precision());
    let precision = g.precision();
    let input = qkv.source();
    let kept = input.needs_gradient().then(|| (x.clone(), lse));
    g.record(out, kept.is_some(), move |dy, gradients| {
        let Some((x, lse)) = kept else { return };
        let mut dx = Tensor::zeros(x.shape());
        let [q, k, v] = [0, c, 2 * c].map(|offset| Sequences::of(&x, offset));
        let rows = Rows::new(dx.data_mut(), 3 * c);
        let targets = [0, c, 2 * c].map(|offset| rows.from(offset));
        backward([q, k, v], &dy, &lse, &spec, precision, targets);
        gradients.add(input, dx);
    })
}

/// Attention of `q [B, Tq, C]` over `k` and `v [B, Tk, C]`. Gives `[B, Tq, C]`.
pub fn attention(g: &mut Graph<'_>, q: &Var, k: &Var, v: &Var, spec: AttentionSpec) -> Var {
    let precision = g.precision();
    let sequences = [q, k, v].map(|x| Sequences::of(&x.value, 0));
    let (out, lse) = forward(sequences, q.value.width(), &spec, precision);
    let sources = [q, k, v].map(Var::source);
    let needed = sources.iter().any(|s| s.needs_gradient());
    let kept = needed.then(|| ([q, k, v].map(|x| x.value.clone()), lse));
    g.record(out, needed, move |dy, gradients| {
        let Some((inputs, lse)) = kept else { return };
        let mut grads = inputs.each_ref().map(|x| Tensor::zeros(x.shape()));
        let targets = grads.each_mut().map(|d| {
            let width = d.width();
            Rows::new(d.data_mut(), width)
        });
        let sequences = inputs.each_ref().map(|x| Sequences::of(x, 0));
        backward(sequences, &dy, &lse, &spec, precision, targets);
        for (source, gradient) in sources.into_iter().zip(grads) {
            gradients.add(source, gradient);
        }
    })
}

/// Attention of `q [B, Tq, C]` over cached keys and values, without gradients.
pub fn attention_over(
    q: &Tensor,
    cache: &KeyValues,
    spec: &AttentionSpec,
    precision: Precision,
) -> Tensor {
    let (k, v) = (cache.sequences(&cache.keys), cache.sequences(&cache.values));
    forward([Sequences::of(q, 0), k, v], q.width(), spec, precision).0
}

thread_local! {
    /// Probabilities and their gradients of one block of query rows.
    static SCRATCH: RefCell<[Vec<f32>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
}

/// The number of keys that query `i` sees: those before the padding and, if causal, up to its own.
#[inline(always)]
fn visible(spec: &AttentionSpec, b: usize, i: usize, queries: usize, keys: usize) -> usize {
    let length = spec.key_lengths.as_ref().map_or(keys, |l| l[b].min(keys));
    if spec.causal { length.min(keys - queries + i + 1) } else { length }
}

/// The output `[B, Tq, C]` and the log-sum-exp `[B, H, Tq]` of the scaled scores.
fn forward(
    [q, k, v]: [Sequences<'_>; 3],
    channels: usize,
    spec: &AttentionSpec,
    precision: Precision,
) -> (Tensor, Vec<f32>) {
    let (heads, dim) = (spec.heads, channels / spec.heads);
    let batch = q.data.len() / q.batch_stride;
    let (tq, tk) = (q.length, k.length);
    let scale = 1.0 / (dim as f32).sqrt();
    let mut out = Tensor::unset(&[batch, tq, channels]);
    let mut lse = vec![0.0; batch * heads * tq];
    let target = Rows::new(out.data_mut(), channels);
    lse.par_chunks_mut(tq).enumerate().for_each(|(task, lse)| {
        let (b, h) = (task / heads, task % heads);
        SCRATCH.with_borrow_mut(|[scores, _]| {
            scores.resize(BLOCK.min(tq) * tk, 0.0);
            for from in (0..tq).step_by(BLOCK) {
                let rows = BLOCK.min(tq - from);
                // No row of this block sees a key beyond the last row's last.
                let keys = visible(spec, b, from + rows - 1, tq, tk);
                let (qm, km) = (q.head(b, from, rows, h, dim), k.head(b, 0, keys, h, dim));
                multiply(qm, km.transposed(), precision, scores);
                vectorised(
                    #[inline(always)]
                    || {
                        for (i, row) in scores.chunks_exact_mut(keys).take(rows).enumerate() {
                            let seen = visible(spec, b, from + i, tq, tk);
                            lse[from + i] = softmax(&mut row[..seen], scale);
                            row[seen..].fill(0.0);
                            drop_probabilities(row, spec, b, place(h, from + i));
                        }
                    },
                );
                let vm = v.head(b, 0, keys, h, dim);
                let to = target.from((b * tq + from) * channels + h * dim);
                let probabilities = Matrix::dense(scores, rows, keys);
                // SAFETY: this task alone writes head `h` of sequence `b`.
                unsafe { matmul(probabilities, vm, precision, Threads::One, to, false) };
            }
        });
    });
    (out, lse)
}

/// `out = a b` for one task.
fn multiply(a: Matrix<'_>, b: Matrix<'_>, precision: Precision, out: &mut [f32]) {
    let rows = Rows::new(out, b.cols());
    // SAFETY: `out` is borrowed for this call alone.
    unsafe { matmul(a, b, precision, Threads::One, rows, false) };
}

/// `softmax(scale * row)` in place; returns the log-sum-exp of the scaled row.
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

/// A row of probabilities within an example, numbered by its head and query alone: how far the batch
/// is padded moves nobody's mask. Keys are counted from the row's start for the same reason.
fn place(head: usize, query: usize) -> u64 {
    (head as u64) << 20 | query as u64
}

#[inline(always)]
fn drop_probabilities(row: &mut [f32], spec: &AttentionSpec, b: usize, place: u64) {
    if let Some(stream) = &spec.dropout {
        for (j, p) in row.iter_mut().enumerate() {
            *p *= stream.factor(b, (place << 24) | j as u64);
        }
    }
}

/// Writes the gradients of q, k and v into buffers of the inputs' layouts, each with the offset of
/// its channels. With probabilities `P`, dropped `P∘M`: `dV = (P∘M)ᵀ dO`, `dP = (dO Vᵀ)∘M`,
/// `dS = P ∘ (dP - rowsum(P ∘ dP)) / sqrt(d)`, `dQ = dS K`, `dK = dSᵀ Q`.
fn backward(
    [q, k, v]: [Sequences<'_>; 3],
    dy: &Tensor,
    lse: &[f32],
    spec: &AttentionSpec,
    precision: Precision,
    [dq, dk, dv]: [Rows<f32>; 3],
) {
    let channels = dy.width();
    let (heads, dim) = (spec.heads, channels / spec.heads);
    let (tq, tk) = (q.length, k.length);
    let scale = 1.0 / (dim as f32).sqrt();
    let dy = Sequences::of(dy, 0);
    lse.par_chunks(tq).enumerate().for_each(|(task, lse)| {
        let (b, h) = (task / heads, task % heads);
        let head = |x: &Sequences<'_>, target: Rows<f32>, row: usize| {
            target.from(b * x.batch_stride + row * x.stride + h * dim)
        };
        SCRATCH.with_borrow_mut(|[p, ds]| {
            p.resize(BLOCK.min(tq) * tk, 0.0);
            ds.resize(BLOCK.min(tq) * tk, 0.0);
            for from in (0..tq).step_by(BLOCK) {
                let rows = BLOCK.min(tq - from);
                let keys = visible(spec, b, from + rows - 1, tq, tk);
                let qm = q.head(b, from, rows, h, dim);
                let km = k.head(b, 0, keys, h, dim);
                let vm = v.head(b, 0, keys, h, dim);
                let dm = dy.head(b, from, rows, h, dim);
                multiply(qm, km.transposed(), precision, p);
                multiply(dm, vm.transposed(), precision, ds);
                vectorised(
                    #[inline(always)]
                    || {
                        let blocks = p.chunks_exact_mut(keys).zip(ds.chunks_exact_mut(keys));
                        for (i, (p, ds)) in blocks.take(rows).enumerate() {
                            let seen = visible(spec, b, from + i, tq, tk);
                            let place = place(h, from + i);
                            drop_probabilities(&mut ds[..seen], spec, b, place);
                            score_gradient(&mut p[..seen], &mut ds[..seen], lse[from + i], scale);
                            p[seen..].fill(0.0);
                            ds[seen..].fill(0.0);
                            drop_probabilities(&mut p[..seen], spec, b, place);
                        }
                    },
                );
                let (pm, dsm) = (Matrix::dense(p, rows, keys), Matrix::dense(ds, rows, keys));
                for (a, b, to, accumulate) in [
                    (dsm, km, head(&q, dq, from), false),
                    (dsm.transposed(), qm, head(&k, dk, 0), from > 0),
                    (pm.transposed(), dm, head(&v, dv, 0), from > 0),
                ] {
                    // SAFETY: this task alone writes head `h` of sequence `b`.
                    unsafe { matmul(a, b, precision, Threads::One, to, accumulate) };
                }
            }
        });
    });
}

/// From scores in `p` and `dP` in `ds`: probabilities in `p`, the scores' gradient in `ds`.
#[inline(always)]
fn score_gradient(p: &mut [f32], ds: &mut [f32], lse: f32, scale: f32) {
    for p in p.iter_mut() {
        *p = exp(p.mul_add(scale, -lse));
    }
    let along = dot(p, ds);
    for (d, p) in ds.iter_mut().zip(&*p) {
        *d = (*d - along) * p * scale;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::{close, finite_differences, parameters, random};

    /// The formula, one number at a time.
    fn plain(
        q: &[f32],
        k: &[f32],
        v: &[f32],
        tq: usize,
        c: usize,
        spec: &AttentionSpec,
    ) -> Vec<f32> {
        let (tk, dim) = (k.len() / (q.len() / tq), c / spec.heads);
        let mut out = vec![0.0; q.len()];
        for (b, h, i) in (0..q.len() / (tq * c))
            .flat_map(|b| (0..spec.heads).flat_map(move |h| (0..tq).map(move |i| (b, h, i))))
        {
            let length = spec.key_lengths.as_ref().map_or(tk, |l| l[b]);
            let scores: Vec<f64> = (0..tk)
                .map(|j| {
                    if j >= length || (spec.causal && j > i + tk - tq) {
                        return f64::NEG_INFINITY;
                    }
                    let dot: f64 = (0..dim)
                        .map(|d| {
                            f64::from(q[(b * tq + i) * c + h * dim + d])
                                * f64::from(k[(b * tk + j) * c + h * dim + d])
                        })
                        .sum();
                    dot / (dim as f64).sqrt()
                })
                .collect();
            let total: f64 = scores.iter().map(|s| s.exp()).sum();
            for (j, s) in scores.iter().enumerate() {
                for d in 0..dim {
                    out[(b * tq + i) * c + h * dim + d] +=
                        (s.exp() / total) as f32 * v[(b * tk + j) * c + h * dim + d];
                }
            }
        }
        out
    }

    fn spec(causal: bool, lengths: Option<&[usize]>) -> AttentionSpec {
        AttentionSpec { heads: 2, causal, key_lengths: lengths.map(Into::into), dropout: None }
    }

    #[test]
    fn equals_the_plain_formula() {
        // More queries than one block holds, so that blocks meet.
        for (tq, tk, s) in [
            (3, 5, spec(false, Some(&[5, 2]))),
            (4, 4, spec(true, Some(&[4, 3]))),
            (2, 6, spec(true, None)),
            (BLOCK + 9, BLOCK + 9, spec(true, None)),
            (BLOCK + 9, 7, spec(false, None)),
        ] {
            let (q, k, v) = (random(2 * tq * 8, 1), random(2 * tk * 8, 2), random(2 * tk * 8, 3));
            let (params, _) = parameters(&[]);
            let mut g = Graph::inference(&params);
            let var = |x: &[f32], t| Var::constant(Tensor::new(&[2, t, 8], x.to_vec()));
            let y = attention(&mut g, &var(&q, tq), &var(&k, tk), &var(&v, tk), s.clone());
            close(y.value.data(), &plain(&q, &k, &v, tq, 8, &s), 1e-5);
        }
    }

    #[test]
    fn the_stacked_form_and_the_cache_agree_with_the_plain_one() {
        let (params, _) = parameters(&[]);
        let mut g = Graph::inference(&params);
        let qkv = Tensor::new(&[2, 5, 24], random(240, 4));
        let part = |n: usize| {
            let data = qkv.data().chunks(8).skip(n).step_by(3).flatten().copied().collect();
            Tensor::new(&[2, 5, 8], data)
        };
        let [q, k, v] = [0, 1, 2].map(part);
        let s = spec(true, None);
        let want = plain(q.data(), k.data(), v.data(), 5, 8, &s);
        let y = self_attention(&mut g, &Var::constant(qkv.clone()), s.clone());
        close(y.value.data(), &want, 1e-5);

        let mut cache = KeyValues::new(2, 6, 8);
        cache.append(&k, &v);
        close(attention_over(&q, &cache, &s, Precision::F32).data(), &want, 1e-5);
        cache.reorder(&[1, 0]);
        let swapped = attention_over(&q, &cache, &s, Precision::F32);
        assert!(swapped.data()[0] != want[0]);
    }

    #[test]
    fn finite_differences_agree() {
        for (causal, lengths) in [(false, None), (true, Some(&[3, 2][..]))] {
            let (mut params, id) = parameters(&[&[2, 3, 8], &[2, 3, 8], &[2, 3, 8]]);
            finite_differences(
                &mut params,
                |g| {
                    let [q, k, v] = [0, 1, 2].map(|i| g.parameter(id[i]));
                    attention(g, &q, &k, &v, spec(causal, lengths))
                },
                5e-3,
            );
        }
        let (mut params, id) = parameters(&[&[2, 4, 24]]);
        finite_differences(
            &mut params,
            |g| {
                let x = g.parameter(id[0]);
                let dropout = Some(DropoutStream::new(&[1, 2], 3, 4, 0.3));
                self_attention(g, &x, AttentionSpec { heads: 2, dropout, ..Default::default() })
            },
            5e-3,
        );
    }

    #[test]
    fn gradients_of_blocks_add_up() {
        let t = BLOCK + 3;
        let (mut params, id) = parameters(&[&[1, t, 2], &[1, 2, 2], &[1, 2, 2]]);
        let spec = AttentionSpec { heads: 1, ..Default::default() };
        finite_differences(
            &mut params,
            |g| {
                let [q, k, v] = [0, 1, 2].map(|i| g.parameter(id[i]));
                attention(g, &q, &k, &v, spec.clone())
            },
            2e-2,
        );
    }
}
