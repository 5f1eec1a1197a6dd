//! Attention as an operation on the tape.

use super::backward::Backward;
use super::forward::forward;
use super::kv_cache::KvCache;
use super::sequences::Sequences;
use super::spec::AttentionSpec;
use crate::ops::element::{Element, dispatch};
use crate::ops::product::Rows;
use crate::tensor::{GradientSlot, Graph, Precision, Tensor, Var};

/// Self-attention over `qkv [B, T, 3C]`, in which the queries, keys and values of a row are concatenated.
/// Gives `[B, T, C]` in the precision of `qkv`.
///
/// # Panics
/// If the channels cannot be divided into the heads of `spec`, if `spec` has fewer key and value heads
/// than heads, or if a sequence has no key.
pub fn self_attention(g: &mut Graph<'_>, qkv: &Var, spec: AttentionSpec) -> Var {
    let (run_precision, precision) = (g.precision(), qkv.value.precision());
    let x = &qkv.value;
    let channels = x.width() / 3;
    check_shapes(&spec, [x, x, x], [channels; 3]);
    let parts = stacked(x, channels);
    let (out, lse) = dispatch!(precision, forward(parts, channels, &spec, run_precision));
    let input = qkv.gradient_slot();
    let kept = input.needs_gradient().then(|| (x.clone(), lse));
    g.record(out, kept.is_some(), move |dy, gradients| {
        let Some((x, lse)) = kept else { return };
        let backward = Backward { channels, lse, spec, precision: run_precision };
        gradients.add(input, dispatch!(precision, stacked_gradient(backward, &x, &dy)));
    })
}

/// Queries, keys and values inside `x [B, T, 3C]`.
fn stacked(x: &Tensor, channels: usize) -> [Sequences<'_>; 3] {
    [0, channels, 2 * channels].map(|offset| Sequences::new(x, offset))
}

/// The gradient of `x [B, T, 3C]`.
fn stacked_gradient<T: Element>(backward: Backward, x: &Tensor, dy: &Tensor) -> Tensor {
    let mut dx = T::empty_like(x, x.shape());
    let parts = stacked(x, backward.channels);
    backward.count(&dx, parts, [true; 3]);
    if dx.is_planned() {
        return dx;
    }
    let rows = Rows::new(T::slice_mut(&mut dx), x.width());
    let targets = parts.map(|part| Some(rows.offset_by(part.offset)));
    // SAFETY: `dx` is this function's own and has the layout of `x`, in which the three targets have
    // channels of their own.
    unsafe { backward.run(parts, dy, targets) };
    dx
}

/// Attention of the queries `q [B, Tq, C]` over the keys and values `k` and `v [B, Tk, C']`, all in one
/// precision. Gives `[B, Tq, C]` in it.
///
/// # Panics
/// If the channels cannot be divided into the heads of `spec`, if the shapes of `q`, `k` and `v` do not
/// fit one another, or if a sequence has no key.
///
/// # Example
/// ```
/// use normed_engine::ops::{AttentionSpec, attention};
/// use normed_engine::tensor::{Graph, Parameters, Tensor, Var};
///
/// let params = Parameters::new();
/// let mut g = Graph::inference(&params);
/// let var = |shape: [usize; 3], x: &[f32]| Var::constant(Tensor::new(&shape, x.to_vec()));
/// // One query over two keys with the same score: the mean of their values.
/// let q = var([1, 1, 2], &[1.0, 0.0]);
/// let k = var([1, 2, 2], &[3.0, 1.0, 3.0, 2.0]);
/// let v = var([1, 2, 2], &[1.0, 10.0, 3.0, 30.0]);
/// let spec = AttentionSpec { heads: 1, ..AttentionSpec::default() };
/// let y = attention(&mut g, &q, &k, &v, spec);
/// assert_eq!(y.shape(), [1, 1, 2]);
/// assert_eq!(y.value.data(), &[2.0, 20.0]);
/// ```
pub fn attention(g: &mut Graph<'_>, q: &Var, k: &Var, v: &Var, spec: AttentionSpec) -> Var {
    let (run_precision, precision) = (g.precision(), q.value.precision());
    let inputs = [q, k, v].map(|x| &x.value);
    let channels = q.value.width();
    check_shapes(&spec, inputs, inputs.map(Tensor::width));
    let parts = inputs.map(|x| Sequences::new(x, 0));
    let (out, lse) = dispatch!(precision, forward(parts, channels, &spec, run_precision));
    let slots = [q, k, v].map(Var::gradient_slot);
    let needed = slots.iter().any(|slot| slot.needs_gradient());
    let kept = needed.then(|| (inputs.map(Tensor::clone), lse));
    g.record(out, needed, move |dy, gradients| {
        let Some((inputs, lse)) = kept else { return };
        let wanted = slots.map(GradientSlot::needs_gradient);
        let backward = Backward { channels, lse, spec, precision: run_precision };
        let all = dispatch!(precision, separate_gradients(backward, &inputs, &dy, wanted));
        for (slot, gradient) in slots.into_iter().zip(all) {
            if let Some(gradient) = gradient {
                gradients.add(slot, gradient);
            }
        }
    })
}

/// The gradients of q, k and v that are wanted.
fn separate_gradients<T: Element>(
    backward: Backward,
    inputs: &[Tensor; 3],
    dy: &Tensor,
    wanted: [bool; 3],
) -> [Option<Tensor>; 3] {
    let mut all = [0, 1, 2].map(|i| wanted[i].then(|| T::empty_like(dy, inputs[i].shape())));
    let parts = inputs.each_ref().map(|x| Sequences::new(x, 0));
    backward.count(dy, parts, wanted);
    if dy.is_planned() {
        return all;
    }
    let targets = all.each_mut().map(|gradient| {
        gradient.as_mut().map(|gradient| {
            let width = gradient.width();
            Rows::new(T::slice_mut(gradient), width)
        })
    });
    // SAFETY: Each target is a tensor of this function's own with the shape of its input.
    unsafe { backward.run(parts, dy, targets) };
    all
}

/// Attention of the queries `q [B, Tq, C]` over cached keys and values, without gradients. Gives
/// `[B, Tq, C]` in the precision of `q`, which the cache must have, too. Factors of products are rounded
/// to `precision`.
///
/// # Panics
/// As [`attention`].
pub fn cached_attention(
    q: &Tensor,
    cache: &KvCache,
    spec: &AttentionSpec,
    precision: Precision,
) -> Tensor {
    let ([k, v], channels) = (cache.sequences(), q.width());
    check_shapes(spec, [q, k.data, v.data], [channels, k.stride, v.stride]);
    let parts = [Sequences::new(q, 0), k, v];
    dispatch!(q.precision(), forward(parts, channels, spec, precision)).0
}

/// Checks that the channels of q, k and v are those of the heads, and that there are as many sequences of
/// each.
///
/// # Panics
/// If they are not.
fn check_shapes(spec: &AttentionSpec, inputs: [&Tensor; 3], channels: [usize; 3]) {
    let shapes = inputs.map(Tensor::shape);
    let (heads, kv_heads, [of_q, of_k, of_v]) = (spec.heads, spec.kv_heads(), channels);
    let heads_fit = kv_heads > 0 && heads.is_multiple_of(kv_heads) && of_q.is_multiple_of(heads);
    assert!(
        heads_fit && of_k == of_q / heads * kv_heads && of_v == of_k,
        "attention of {heads} heads and {kv_heads} key and value heads over inputs {shapes:?}"
    );
    let batch = shapes[0][0];
    let lengths_fit = spec.key_lengths.as_ref().is_none_or(|lengths| lengths.len() == batch);
    assert!(
        shapes.iter().all(|shape| shape[0] == batch) && lengths_fit,
        "attention over inputs of different batch sizes: {shapes:?}, {:?} key lengths",
        spec.key_lengths.as_ref().map(|lengths| lengths.len())
    );
}
