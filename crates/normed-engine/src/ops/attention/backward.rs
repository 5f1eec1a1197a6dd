//! The backward pass of an attention.
//!
//! With probabilities `P`, the dropout mask `M` and the output's gradient `dO`:
//! `dV = (P∘M)ᵀ dO`, `dP = (dO Vᵀ)∘M`, `dS = P ∘ (dP - rowsum(P ∘ dP)) / sqrt(d)`, `dQ = dS K` and
//! `dK = dSᵀ Q`. The probabilities are computed again from the scores and their log-sum-exp.

use rayon::prelude::*;

use super::scratch::{SCRATCH, Scratch, backward_bytes, grow};
use super::sequences::Sequences;
use super::spec::{AttentionSpec, Dims, QUERY_BLOCK, row_index};
use crate::ops::element::Element;
use crate::ops::product::{Matrix, Rows, store};
use crate::ops::simd::{dot, exp, with_simd};
use crate::tensor::{Operation, Precision, Tensor};

/// A backward pass.
pub(super) struct Backward {
    /// Channels of the queries.
    pub channels: usize,
    /// The log-sum-exp of the scaled scores, `[B, H, Tq]`.
    pub lse: Tensor,
    pub spec: AttentionSpec,
    /// What factors of products are rounded to.
    pub precision: Precision,
}

impl Backward {
    /// Counts the gradients of q, k and v that are wanted as the work on `x`.
    pub fn count(&self, x: &Tensor, [q, k, _]: [Sequences<'_>; 3], wanted: [bool; 3]) {
        let dims = Dims::new(&self.spec, self.channels, &q, &k);
        let products = 2 + wanted.into_iter().filter(|&wanted| wanted).count();
        let scores = self.spec.score_count(dims, q.data.shape()[0]);
        let flop = 2 * products * self.channels * scores;
        x.count(Operation::Attention { flop, scratch: backward_bytes(dims, self.precision) });
    }

    /// Writes the gradients of q, k and v that are wanted into `targets`. A target has the layout of its
    /// input and starts at the input's first channel.
    ///
    /// # Safety
    /// The targets must be inside buffers with the layouts of the inputs, the channels of no two targets
    /// may overlap, and nothing else may read or write these channels meanwhile.
    pub unsafe fn run<T: Element>(
        &self,
        inputs: [Sequences<'_>; 3],
        dy: &Tensor,
        targets: [Option<Rows<'_, T>>; 3],
    ) {
        let [q, k, v] = inputs;
        let dims = Dims::new(&self.spec, self.channels, &q, &k);
        let dy = Sequences::new(dy, 0);
        let tasks = self.lse.data().par_chunks(dims.group * dims.queries).enumerate();
        tasks.for_each(|(task, lse)| {
            let (b, kv_head) = (task / dims.kv_heads, task % dims.kv_heads);
            let group = Group { call: self, dims, q, k, v, dy, b, kv_head, lse };
            // SAFETY: Every task has a group of heads of a sequence for itself, and the targets are
            // valid by the contract of this function.
            SCRATCH.with_borrow_mut(|scratch| unsafe { group.run(scratch, targets) });
        });
    }
}

/// One task of a backward pass: the heads of sequence `b` that share the keys and values of `kv_head`.
struct Group<'a> {
    call: &'a Backward,
    dims: Dims,
    q: Sequences<'a>,
    k: Sequences<'a>,
    v: Sequences<'a>,
    dy: Sequences<'a>,
    b: usize,
    kv_head: usize,
    /// `[group, Tq]`.
    lse: &'a [f32],
}

impl Group<'_> {
    /// Writes the gradients of this group.
    ///
    /// # Safety
    /// As [`Backward::run`]; only one task may run for a group.
    unsafe fn run<T: Element>(&self, scratch: &mut Scratch, targets: [Option<Rows<'_, T>>; 3]) {
        let Self { call, dims, b, kv_head, .. } = *self;
        let [dq, dk, dv] = targets;
        let most = call.spec.visible_keys(dims, b, dims.queries - 1);
        let keys = self.k.head(b, 0, most, kv_head, dims.head);
        let values = self.v.head(b, 0, most, kv_head, dims.head);
        let [keys_t, values_t, packed_keys, _] = &mut scratch.packed;
        keys_t.pack(keys.transposed(), call.precision);
        values_t.pack(values.transposed(), call.precision);
        packed_keys.pack(keys, call.precision);
        grow(&mut scratch.probabilities, dims, most);
        grow(&mut scratch.score_gradients, dims, most);
        for sums in &mut scratch.sums {
            sums.clear();
            sums.resize(dims.keys * dims.head, 0.0);
        }
        for (at, from) in dims.blocks() {
            // SAFETY: By the contract of this function.
            unsafe { self.run_block(scratch, at, from, dq, [dk.is_some(), dv.is_some()]) };
        }
        for ((target, x), sums) in [(dk, &self.k), (dv, &self.v)].into_iter().zip(&scratch.sums) {
            if let Some(target) = target {
                let to = target.offset_by(b * x.batch_stride + kv_head * dims.head);
                // SAFETY: By the contract of this function only this task writes `kv_head` of
                // sequence `b`, and the target has room for its rows.
                unsafe { write_rows(sums, dims.head, to) };
            }
        }
    }

    /// Adds one block of query rows, from query `from` on of head `at` of the group: writes its dQ, and
    /// adds its dK and dV to the sums if they are wanted.
    ///
    /// # Safety
    /// As [`Group::run`].
    unsafe fn run_block<T: Element>(
        &self,
        scratch: &mut Scratch,
        at: usize,
        from: usize,
        dq: Option<Rows<'_, T>>,
        wanted: [bool; 2],
    ) {
        let Self { call: Backward { spec, precision, .. }, dims, q, dy, b, .. } = *self;
        let Scratch { probabilities: p, score_gradients: ds, sums, packed } = scratch;
        let [keys_t, values_t, packed_keys, right] = packed;
        let h = self.kv_head * dims.group + at;
        let lse = &self.lse[at * dims.queries..][..dims.queries];
        let rows = QUERY_BLOCK.min(dims.queries - from);
        let keys = spec.visible_keys(dims, b, from + rows - 1);
        let (q_rows, dy_rows) =
            (q.head(b, from, rows, h, dims.head), dy.head(b, from, rows, h, dims.head));
        // SAFETY: Each is one product of `rows` rows of `keys` scores, in this thread's own memory.
        let (scores, dp) = unsafe { (store(Rows::new(p, keys)), store(Rows::new(ds, keys))) };
        keys_t.multiply(q_rows, keys, scores);
        values_t.multiply(dy_rows, keys, dp);
        with_simd(
            #[inline(always)]
            || {
                let blocks = p.chunks_exact_mut(keys).zip(ds.chunks_exact_mut(keys));
                for (i, (p, ds)) in blocks.take(rows).enumerate() {
                    let visible = spec.visible_keys(dims, b, from + i);
                    let row = row_index(h, from + i);
                    spec.drop_probabilities(&mut ds[..visible], b, row);
                    let (first, lse) = (spec.window_start(visible), lse[from + i]);
                    let inside = first..visible;
                    score_gradient(&mut p[inside.clone()], &mut ds[inside], lse, dims.scale());
                    for scores in [&mut *p, &mut *ds] {
                        scores[..first].fill(0.0);
                        scores[visible..].fill(0.0);
                    }
                    spec.drop_probabilities(&mut p[..visible], b, row);
                }
            },
        );
        let (p, ds) = (Matrix::dense(p, rows, keys), Matrix::dense(ds, rows, keys));
        if let Some(dq) = dq {
            let to = dq.offset_by(b * q.batch_stride + from * q.stride + h * dims.head);
            // SAFETY: One product of `rows` rows inside head `h` of sequence `b`, which only this task
            // writes and for which the target has room, by the contract of this function.
            let epilogue = unsafe { store(to) };
            packed_keys.multiply(ds, dims.head, epilogue);
        }
        let products = [(ds, q_rows), (p, dy_rows)];
        for (((left, factor), sums), wanted) in products.into_iter().zip(sums).zip(wanted) {
            if wanted {
                right.pack(factor, *precision);
                // SAFETY: One product of at most `dims.keys` rows of `dims.head` sums, in this thread's
                // own memory.
                let epilogue = unsafe { accumulate(Rows::new(sums, dims.head)) };
                right.multiply(left.transposed(), dims.head, epilogue);
            }
        }
    }
}

/// Turns scores into probabilities `p`, and `dP` into the gradient of the scores `ds`, in place.
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

/// An epilogue that adds the sums to `out`.
///
/// # Safety
/// As [`store`].
unsafe fn accumulate(out: Rows<'_, f32>) -> impl Fn(usize, usize, &[f32]) + Sync {
    #[inline(always)]
    move |row, col, sums| {
        // SAFETY: By the contract of this function.
        let out = unsafe { out.at(row, col, sums.len()) };
        out.iter_mut().zip(sums).for_each(|(out, sum)| *out += sum);
    }
}

/// Writes the rows `from [rows, width]` to those of `to`, rounded to `T`.
///
/// # Safety
/// Nothing else may read or write these elements of `to` meanwhile, and `to` must have room for them, so
/// that indices do not overflow.
unsafe fn write_rows<T: Element>(from: &[f32], width: usize, to: Rows<'_, T>) {
    with_simd(
        #[inline(always)]
        || {
            for (row, from) in from.chunks_exact(width).enumerate() {
                // SAFETY: By the contract of this function.
                let to = unsafe { to.at(row, 0, width) };
                to.iter_mut().zip(from).for_each(|(to, from)| *to = T::from_f32(*from));
            }
        },
    );
}
