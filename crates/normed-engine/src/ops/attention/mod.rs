//! Scaled dot-product attention over several heads (Vaswani et al. 2017, arXiv 1706.03762, eq. 1):
//! `softmax(Q Kᵀ / sqrt(d)) V`, with causal order, padding, a window, and keys and values that several
//! heads share (Ainslie et al. 2023, arXiv 2305.13245): a head's are packed once for all its queries'.
//!
//! Keeps: Q, K and V (the producing layers' outputs, no further copy) and the log-sum-exp of each
//! row of scores. Backward recomputes the probabilities, a block of query rows at a time (Dao et
//! al. 2022, arXiv 2205.14135, algorithm 4): no `[T, T]` matrix ever exists.

mod kv_cache;
mod sequences;

use std::cell::RefCell;
use std::sync::Arc;

use rayon::prelude::*;

pub use kv_cache::KvCache;
use sequences::Sequences;

use super::dropout::DropoutStream;
use super::number::{Number, in_precision};
use super::product::{Matrix, Packed, Rows, store};
use super::simd::{dot, exp, max, sum, vectorised};
use crate::tensor::{GradientSlot, Graph, Operation, Precision, Tensor, Var};

/// Query rows that are worked on together.
const BLOCK: usize = 128;

/// What an attention computes, beside its inputs.
#[derive(Debug, Clone, Default)]
pub struct AttentionSpec {
    /// The number of heads; the channels are divided among them.
    pub heads: usize,
    /// The number of heads that keys and values have, of which each serves as many heads as the
    /// others; as many as `heads` if absent.
    pub kv_heads: Option<usize>,
    /// Of the keys that a query would see, it sees only the last so many.
    pub window: Option<usize>,
    /// Whether query `i` sees only keys up to its own position, both sides ending together.
    pub causal: bool,
    /// `[B]`: the number of keys that are not padding; all of them if absent.
    pub key_lengths: Option<Arc<[usize]>>,
    /// Drops probabilities.
    pub dropout: Option<DropoutStream>,
}

/// Self-attention over `qkv [B, T, 3C]`, queries, keys and values side by side. Gives `[B, T, C]` in
/// the precision of `qkv`.
pub fn self_attention(g: &mut Graph<'_>, qkv: &Var, spec: AttentionSpec) -> Var {
    let (precision, kept_in) = (g.precision(), qkv.value.precision());
    let c = qkv.value.width() / 3;
    let x = &qkv.value;
    let parts = [0, c, 2 * c].map(|offset| Sequences::of(x, offset));
    let (out, lse) = in_precision!(kept_in, forward(parts, c, &spec, precision));
    let input = qkv.gradient_slot();
    let kept = input.needs_gradient().then(|| (x.clone(), lse));
    g.record(out, kept.is_some(), move |dy, gradients| {
        let Some((x, lse)) = kept else { return };
        let call = Backward { channels: c, lse, spec, precision };
        gradients.add(input, in_precision!(kept_in, stacked_gradient(call, &x, &dy)));
    })
}

fn stacked_gradient<T: Number>(call: Backward, x: &Tensor, dy: &Tensor) -> Tensor {
    let mut dx = T::empty_like(x, x.shape());
    let offsets = [0, call.channels, 2 * call.channels];
    if call.plans(&dx, offsets.map(|offset| Sequences::of(x, offset)), [true; 3]) {
        return dx;
    }
    let rows = Rows::new(T::of_mut(&mut dx), x.width());
    let targets = offsets.map(|offset| Some(rows.from(offset)));
    call.run::<T>(offsets.map(|offset| Sequences::of(x, offset)), dy, targets);
    dx
}

/// Attention of `q [B, Tq, C]` over `k` and `v [B, Tk, C']`, all of one precision. Gives
/// `[B, Tq, C]` in it.
pub fn attention(g: &mut Graph<'_>, q: &Var, k: &Var, v: &Var, spec: AttentionSpec) -> Var {
    let (precision, kept_in) = (g.precision(), q.value.precision());
    let channels = q.value.width();
    let sequences = [q, k, v].map(|x| Sequences::of(&x.value, 0));
    let (out, lse) = in_precision!(kept_in, forward(sequences, channels, &spec, precision));
    let sources = [q, k, v].map(Var::gradient_slot);
    let needed = sources.iter().any(|s| s.needs_gradient());
    let kept = needed.then(|| ([q, k, v].map(|x| x.value.clone()), lse));
    g.record(out, needed, move |dy, gradients| {
        let Some((inputs, lse)) = kept else { return };
        let wanted = sources.map(GradientSlot::needs_gradient);
        let call = Backward { channels, lse, spec, precision };
        let each = in_precision!(kept_in, separate_gradients(call, &inputs, &dy, wanted));
        for (source, gradient) in sources.into_iter().zip(each) {
            if let Some(gradient) = gradient {
                gradients.add(source, gradient);
            }
        }
    })
}

fn separate_gradients<T: Number>(
    call: Backward,
    inputs: &[Tensor; 3],
    dy: &Tensor,
    wanted: [bool; 3],
) -> [Option<Tensor>; 3] {
    let mut each = [0, 1, 2].map(|i| wanted[i].then(|| T::empty_like(dy, inputs[i].shape())));
    if call.plans(dy, inputs.each_ref().map(|x| Sequences::of(x, 0)), wanted) {
        return each;
    }
    let targets = each.each_mut().map(|d| {
        d.as_mut().map(|d| {
            let width = d.width();
            Rows::new(T::of_mut(d), width)
        })
    });
    call.run::<T>(inputs.each_ref().map(|x| Sequences::of(x, 0)), dy, targets);
    each
}

/// Attention of `q [B, Tq, C]` over cached keys and values, without gradients, in the precision of
/// `q`.
pub fn cached_attention(
    q: &Tensor,
    cache: &KvCache,
    spec: &AttentionSpec,
    precision: Precision,
) -> Tensor {
    let [k, v] = cache.sequences();
    let (parts, channels) = ([Sequences::of(q, 0), k, v], q.width());
    in_precision!(q.precision(), forward(parts, channels, spec, precision)).0
}

/// What a task works in: a head of a sequence, a block of its query rows at a time.
struct Scratch {
    /// `[rows, keys]`: scores, then probabilities.
    p: Vec<f32>,
    /// Their gradients.
    ds: Vec<f32>,
    /// `[keys, dim]`: the gradients of keys and values, summed over blocks.
    sums: [Vec<f32>; 2],
    /// Factors that several products share, or that follow one another.
    packed: [Packed; 4],
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = const {
        RefCell::new(Scratch {
            p: Vec::new(),
            ds: Vec::new(),
            sums: [Vec::new(), Vec::new()],
            packed: [const { Packed::new() }; 4],
        })
    };
}

/// The number of keys that query `i` sees: those before the padding and, if causal, up to its own.
#[inline(always)]
fn visible(spec: &AttentionSpec, b: usize, i: usize, queries: usize, keys: usize) -> usize {
    let length = spec.key_lengths.as_ref().map_or(keys, |l| l[b].min(keys));
    if spec.causal { length.min(keys - queries + i + 1) } else { length }
}

/// The first of the `seen` keys that is inside the window.
#[inline(always)]
fn first(spec: &AttentionSpec, seen: usize) -> usize {
    spec.window.map_or(0, |window| seen.saturating_sub(window))
}

/// How many scores of a head are computed, over all sequences.
fn scores(spec: &AttentionSpec, batch: usize, queries: usize, keys: usize) -> usize {
    let block = |b, from: usize| {
        let rows = BLOCK.min(queries - from);
        rows * visible(spec, b, from + rows - 1, queries, keys)
    };
    (0..batch).flat_map(|b| (0..queries).step_by(BLOCK).map(move |i| block(b, i))).sum()
}

/// The bytes that all threads work in.
fn scratch([tq, tk, dim]: [usize; 3], precision: Precision, backward: bool) -> usize {
    let rows = BLOCK.min(tq);
    let scores = rows * tk * size_of::<f32>();
    let packed = |rows, cols| Packed::size(rows, cols, precision);
    let each = match backward {
        false => scores + packed(dim, tk) + packed(tk, dim),
        true => {
            let sums = 2 * tk * dim * size_of::<f32>();
            2 * scores + sums + 2 * packed(dim, tk) + packed(tk, dim) + packed(rows, dim)
        }
    };
    each * rayon::current_num_threads()
}

/// The output `[B, Tq, C]` and the log-sum-exp `[B, H, Tq]` of the scaled scores.
fn forward<T: Number>(
    [q, k, v]: [Sequences<'_>; 3],
    channels: usize,
    spec: &AttentionSpec,
    precision: Precision,
) -> (Tensor, Tensor) {
    let (heads, dim) = (spec.heads, channels / spec.heads);
    let batch = q.data.len() / q.batch_stride;
    let (tq, tk) = (q.length, k.length);
    let scale = 1.0 / (dim as f32).sqrt();
    let mut out = T::empty_like(q.data, &[batch, tq, channels]);
    let mut lse = q.data.empty_like(&[batch, heads, tq], Precision::F32);
    let flop = 4 * channels * scores(spec, batch, tq, tk);
    out.count(Operation::Attention { flop, scratch: scratch([tq, tk, dim], precision, false) });
    if out.is_planned() {
        return (out, lse);
    }
    let target = Rows::new(T::of_mut(&mut out), channels);
    let kv_heads = spec.kv_heads.unwrap_or(heads);
    let group = heads / kv_heads;
    lse.data_mut().par_chunks_mut(group * tq).enumerate().for_each(|(task, lse)| {
        let (b, kv_head) = (task / kv_heads, task % kv_heads);
        SCRATCH.with_borrow_mut(|Scratch { p, packed: [keys_t, values, ..], .. }| {
            let most = visible(spec, b, tq - 1, tq, tk);
            keys_t.pack(k.head(b, 0, most, kv_head, dim).transposed(), precision);
            values.pack(v.head(b, 0, most, kv_head, dim), precision);
            p.resize(p.len().max(BLOCK.min(tq) * most), 0.0);
            for (at, from) in blocks(group, tq) {
                let (h, lse) = (kv_head * group + at, &mut lse[at * tq..][..tq]);
                let rows = BLOCK.min(tq - from);
                // No row of this block sees a key beyond the last row's last.
                let keys = visible(spec, b, from + rows - 1, tq, tk);
                keys_t.product(q.head(b, from, rows, h, dim), keys, store(Rows::new(p, keys)));
                vectorised(
                    #[inline(always)]
                    || {
                        for (i, row) in p.chunks_exact_mut(keys).take(rows).enumerate() {
                            let seen = visible(spec, b, from + i, tq, tk);
                            let first = first(spec, seen);
                            lse[from + i] = softmax(&mut row[first..seen], scale);
                            row[..first].fill(0.0);
                            row[seen..].fill(0.0);
                            drop_probabilities(row, spec, b, place(h, from + i));
                        }
                    },
                );
                // This task alone writes head `h` of sequence `b`.
                let to = target.from((b * tq + from) * channels + h * dim);
                values.product(Matrix::dense(p, rows, keys), dim, store(to));
            }
        });
    });
    (out, lse)
}

/// The heads of a group, and the blocks of query rows of each.
fn blocks(group: usize, queries: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..group).flat_map(move |head| (0..queries).step_by(BLOCK).map(move |from| (head, from)))
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

/// A backward pass.
struct Backward {
    channels: usize,
    /// `[B, H, Tq]`.
    lse: Tensor,
    spec: AttentionSpec,
    precision: Precision,
}

impl Backward {
    /// Counts the gradients of q, k and v, those that are wanted, as the work on `x`; true if it is
    /// only planned.
    fn plans(&self, x: &Tensor, [q, k, _]: [Sequences<'_>; 3], wanted: [bool; 3]) -> bool {
        let (batch, tq, tk) = (q.data.shape()[0], q.length, k.length);
        let products = 2 + wanted.into_iter().filter(|&wanted| wanted).count();
        let flop = 2 * products * self.channels * scores(&self.spec, batch, tq, tk);
        let scratch = scratch([tq, tk, self.channels / self.spec.heads], self.precision, true);
        x.count(Operation::Attention { flop, scratch });
        x.is_planned()
    }

    /// Writes the gradients of q, k and v, those that are wanted, into buffers of the inputs' layouts,
    /// each with the offset of its channels. With probabilities `P`, dropped `P∘M`:
    /// `dV = (P∘M)ᵀ dO`, `dP = (dO Vᵀ)∘M`, `dS = P ∘ (dP - rowsum(P ∘ dP)) / sqrt(d)`, `dQ = dS K`,
    /// `dK = dSᵀ Q`.
    fn run<T: Number>(
        &self,
        [q, k, v]: [Sequences<'_>; 3],
        dy: &Tensor,
        [dq, dk, dv]: [Option<Rows<T>>; 3],
    ) {
        let Self { channels, lse, spec, precision } = self;
        let (dim, precision) = (channels / spec.heads, *precision);
        let (tq, tk) = (q.length, k.length);
        let scale = 1.0 / (dim as f32).sqrt();
        let dy = Sequences::of(dy, 0);
        let kv_heads = spec.kv_heads.unwrap_or(spec.heads);
        let group = spec.heads / kv_heads;
        lse.data().par_chunks(group * tq).enumerate().for_each(|(task, lse)| {
            let (b, kv_head) = (task / kv_heads, task % kv_heads);
            let head = |x: &Sequences<'_>, target: Rows<T>, row: usize, h: usize| {
                target.from(b * x.batch_stride + row * x.stride + h * dim)
            };
            SCRATCH.with_borrow_mut(|Scratch { p, ds, sums, packed }| {
                let [keys_t, values_t, keys, right] = packed;
                let most = visible(spec, b, tq - 1, tq, tk);
                let (km, vm) = (k.head(b, 0, most, kv_head, dim), v.head(b, 0, most, kv_head, dim));
                keys_t.pack(km.transposed(), precision);
                values_t.pack(vm.transposed(), precision);
                keys.pack(km, precision);
                for scores in [&mut *p, &mut *ds] {
                    scores.resize(scores.len().max(BLOCK.min(tq) * most), 0.0);
                }
                for sums in &mut *sums {
                    sums.clear();
                    sums.resize(tk * dim, 0.0);
                }
                for (at, from) in blocks(group, tq) {
                    let (h, lse) = (kv_head * group + at, &lse[at * tq..][..tq]);
                    let rows = BLOCK.min(tq - from);
                    let seen = visible(spec, b, from + rows - 1, tq, tk);
                    let (qm, dm) = (q.head(b, from, rows, h, dim), dy.head(b, from, rows, h, dim));
                    keys_t.product(qm, seen, store(Rows::new(p, seen)));
                    values_t.product(dm, seen, store(Rows::new(ds, seen)));
                    vectorised(
                        #[inline(always)]
                        || {
                            let blocks = p.chunks_exact_mut(seen).zip(ds.chunks_exact_mut(seen));
                            for (i, (p, ds)) in blocks.take(rows).enumerate() {
                                let seen = visible(spec, b, from + i, tq, tk);
                                let place = place(h, from + i);
                                drop_probabilities(&mut ds[..seen], spec, b, place);
                                let (first, lse) = (first(spec, seen), lse[from + i]);
                                let (p_seen, ds_seen) = (&mut p[first..seen], &mut ds[first..seen]);
                                score_gradient(p_seen, ds_seen, lse, scale);
                                for scores in [&mut *p, &mut *ds] {
                                    scores[..first].fill(0.0);
                                    scores[seen..].fill(0.0);
                                }
                                drop_probabilities(&mut p[..seen], spec, b, place);
                            }
                        },
                    );
                    let (pm, dsm) = (Matrix::dense(p, rows, seen), Matrix::dense(ds, rows, seen));
                    if let Some(dq) = dq {
                        // This task alone writes head `h` of sequence `b`, here and below.
                        keys.product(dsm, dim, store(head(&q, dq, from, h)));
                    }
                    let each = [(dk, dsm, qm), (dv, pm, dm)];
                    for ((wanted, left, factor), sums) in each.into_iter().zip(&mut *sums) {
                        if wanted.is_some() {
                            right.pack(factor, precision);
                            right.product(left.transposed(), dim, accumulate(sums, dim));
                        }
                    }
                }
                for ((target, x), sums) in [(dk, &k), (dv, &v)].into_iter().zip(&*sums) {
                    if let Some(target) = target {
                        write_rows(sums, dim, head(x, target, 0, kv_head));
                    }
                }
            });
        });
    }
}

/// An epilogue that adds to the rows of `sums`.
fn accumulate(sums: &mut [f32], width: usize) -> impl Fn(usize, usize, &[f32]) {
    let to = Rows::new(sums, width);
    #[inline(always)]
    move |row, col, sums| {
        // SAFETY: borrowed for as long as the epilogue; every element is handed out once.
        let to = unsafe { to.at(row, col, sums.len()) };
        to.iter_mut().zip(sums).for_each(|(to, sum)| *to += sum);
    }
}

/// The rows of `from` to those of `to`, which nobody else may touch meanwhile.
fn write_rows<T: Number>(from: &[f32], width: usize, to: Rows<T>) {
    vectorised(
        #[inline(always)]
        || {
            for (row, from) in from.chunks_exact(width).enumerate() {
                // SAFETY: the caller's rows.
                let to = unsafe { to.at(row, 0, width) };
                to.iter_mut().zip(from).for_each(|(to, from)| *to = T::nearest(*from));
            }
        },
    );
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
        let dim = c / spec.heads;
        let group = spec.heads / spec.kv_heads.unwrap_or(spec.heads);
        let kv_c = c / group;
        let tk = k.len() / kv_c / (q.len() / (tq * c));
        let mut out = vec![0.0; q.len()];
        for (b, h, i) in (0..q.len() / (tq * c))
            .flat_map(|b| (0..spec.heads).flat_map(move |h| (0..tq).map(move |i| (b, h, i))))
        {
            let length = spec.key_lengths.as_ref().map_or(tk, |l| l[b]);
            let scores: Vec<f64> = (0..tk)
                .map(|j| {
                    let end = if spec.causal { length.min(i + tk - tq + 1) } else { length };
                    if j >= end || spec.window.is_some_and(|window| j + window < end) {
                        return f64::NEG_INFINITY;
                    }
                    let dot: f64 = (0..dim)
                        .map(|d| {
                            f64::from(q[(b * tq + i) * c + h * dim + d])
                                * f64::from(k[(b * tk + j) * kv_c + h / group * dim + d])
                        })
                        .sum();
                    dot / (dim as f64).sqrt()
                })
                .collect();
            let total: f64 = scores.iter().map(|s| s.exp()).sum();
            for (j, s) in scores.iter().enumerate() {
                for d in 0..dim {
                    out[(b * tq + i) * c + h * dim + d] +=
                        (s.exp() / total) as f32 * v[(b * tk + j) * kv_c + h / group * dim + d];
                }
            }
        }
        out
    }

    fn spec(causal: bool, lengths: Option<&[usize]>) -> AttentionSpec {
        let key_lengths = lengths.map(Into::into);
        AttentionSpec { heads: 2, causal, key_lengths, ..AttentionSpec::default() }
    }

    #[test]
    fn equals_the_plain_formula() {
        // More queries than one block holds, so that blocks meet; widths and lengths around those of
        // registers, panels and tiles.
        for (tq, tk, dim, s) in [
            (3, 5, 4, spec(false, Some(&[5, 2]))),
            (4, 4, 4, spec(true, Some(&[4, 3]))),
            (2, 6, 4, spec(true, None)),
            (BLOCK + 9, BLOCK + 9, 4, spec(true, None)),
            (BLOCK + 9, 7, 4, spec(false, None)),
            (1, 1, 1, spec(true, None)),
            (15, 33, 17, spec(false, Some(&[33, 1]))),
            (17, 31, 15, spec(true, Some(&[16, 31]))),
            (31, 65, 33, spec(false, None)),
            (2 * BLOCK + 1, 2 * BLOCK + 1, 31, spec(true, Some(&[BLOCK, 2 * BLOCK + 1]))),
        ] {
            let c = 2 * dim;
            let (q, k, v) = (random(2 * tq * c, 1), random(2 * tk * c, 2), random(2 * tk * c, 3));
            let (params, _) = parameters(&[]);
            let mut g = Graph::inference(&params);
            let var = |x: &[f32], t| Var::constant(Tensor::new(&[2, t, c], x.to_vec()));
            let y = attention(&mut g, &var(&q, tq), &var(&k, tk), &var(&v, tk), s.clone());
            close(y.value.data(), &plain(&q, &k, &v, tq, c, &s), 1e-5);
        }
    }

    fn grouped(heads: usize, kv_heads: usize, window: Option<usize>) -> AttentionSpec {
        AttentionSpec { heads, kv_heads: Some(kv_heads), window, causal: true, ..spec(true, None) }
    }

    #[test]
    fn heads_share_keys_and_a_window_moves_along() {
        for (t, dim, s) in [
            (5, 4, grouped(4, 2, None)),
            (9, 6, grouped(6, 2, Some(4))),
            (33, 17, grouped(3, 1, Some(1))),
            (BLOCK + 9, 4, grouped(4, 2, Some(BLOCK - 3))),
            (
                BLOCK + 9,
                4,
                AttentionSpec { key_lengths: Some([60, 99].into()), ..grouped(4, 2, Some(7)) },
            ),
        ] {
            let kv = s.kv_heads.unwrap_or_default() * dim;
            let c = s.heads * dim;
            let (q, k, v) = (random(2 * t * c, 1), random(2 * t * kv, 2), random(2 * t * kv, 3));
            let (params, _) = parameters(&[]);
            let mut g = Graph::inference(&params);
            let var = |x: &[f32], c| Var::constant(Tensor::new(&[2, t, c], x.to_vec()));
            let y = attention(&mut g, &var(&q, c), &var(&k, kv), &var(&v, kv), s.clone());
            close(y.value.data(), &plain(&q, &k, &v, t, c, &s), 1e-5);

            // The last query over a cache.
            if s.key_lengths.is_none() {
                let like = Tensor::new(&[2, t, kv], k.clone());
                let mut cache = KvCache::new(&like, t);
                cache.append(&like, &Tensor::new(&[2, t, kv], v.clone()));
                let last: Vec<f32> =
                    q.chunks(t * c).flat_map(|q| q[(t - 1) * c..].to_vec()).collect();
                let q = Tensor::new(&[2, 1, c], last);
                let got = cached_attention(&q, &cache, &s, Precision::F32);
                let want = y.value.data().chunks(t * c).flat_map(|y| y[(t - 1) * c..].to_vec());
                close(got.data(), &want.collect::<Vec<_>>(), 1e-5);
            }
        }
    }

    #[test]
    fn finite_differences_agree_where_heads_share_keys() {
        for s in [grouped(4, 2, None), grouped(4, 1, Some(2))] {
            let kv = 2 * s.kv_heads.unwrap_or_default();
            let (mut params, id) = parameters(&[&[2, 5, 8], &[2, 5, kv], &[2, 5, kv]]);
            let dropout = Some(DropoutStream::new(&[1, 2], 3, 4, 0.3));
            for s in [AttentionSpec { dropout, ..s.clone() }, s] {
                finite_differences(
                    &mut params,
                    |g| {
                        let [q, k, v] = [0, 1, 2].map(|i| g.parameter(id[i]));
                        attention(g, &q, &k, &v, s.clone())
                    },
                    5e-3,
                );
            }
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

        let mut cache = KvCache::new(&k, 6);
        cache.append(&k, &v);
        close(cached_attention(&q, &cache, &s, Precision::F32).data(), &want, 1e-5);
        cache.reorder(&[1, 0]);
        let swapped = cached_attention(&q, &cache, &s, Precision::F32);
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
