//! LLaMA's feed-forward network as one operation, `down(silu(gate(x)) ∘ up(x)) (+ residual)` (Shazeer 2020,
//! arXiv 2002.05202, eq. 6, "SwiGLU"), and the inner part of such networks with any activation: the multiplication by the gate and its derivatives are computed in
//! the epilogues of the products.
//!
//! Keeps for backward: `gate(x)` and `up(x)`, in the run's precision, or `x` in their place if the pass
//! recomputes them ([`Recompute::Ffn`]). Keeps `x` as well if the weight of one of the two is trained.
//! Their product is never kept. In backward the gradients of the two replace them in memory.

use super::activation::{Activation, ActivationFn, SILU, with_activation};
use super::element::{Element, dispatch};
use super::linear::{LinearLayer, Output};
use super::product::Rows;
use super::simd::{for_each_chunk, for_each_row_pair};
use crate::tensor::{Graph, Operation, ParamId, Precision, Recompute, Tensor, Var};

/// `down(silu(gate(x)) ∘ up(x))` of `x [.., C]`, with the weight `[out, in]` and the bias `[out]` of the
/// layers gate, up and down.
pub fn gated_mlp(
    g: &mut Graph<'_>,
    x: &Var,
    layers: [(ParamId, Option<ParamId>); 3],
    output: Output<'_>,
) -> Var {
    let precision = g.precision();
    let [gate, up, down] = layers.map(|(weight, bias)| LinearLayer::new(g, weight, bias));
    let (input, residual) = (x.gradient_slot(), output.residual_slot());
    // Whether anything needs the gradients of gate(x) and up(x), and whether anything needs their values.
    let needs_hidden_gradients = input.needs_gradient() || gate.is_trained() || up.is_trained();
    let needs_hidden = needs_hidden_gradients || down.train_weight;
    let (rows, _) = x.shape().split_at(x.shape().len() - 1);
    let skipped = g.skipped_output(&[rows, &[down.dims().0]].concat(), Precision::F32);
    let recomputes = skipped.is_some() || g.is_recomputed(Recompute::Ffn);
    let (y, hidden) = skipped.map_or_else(
        || {
            let gated = gate.forward(&x.value, precision, Output::RunPrecision);
            let keep = needs_hidden && !recomputes;
            let (product, hidden) = dispatch!(precision, multiply(&up, &x.value, gated, keep));
            (down.forward(&product, precision, output), hidden)
        },
        |y| (y, None),
    );
    let needed = needs_hidden || down.is_trained() || residual.needs_gradient();
    let keeps_x = needs_hidden && (recomputes || gate.train_weight || up.train_weight);
    let kept = keeps_x.then(|| x.value.clone());
    let (shape, x_precision) = (x.shape().to_vec(), x.value.precision());
    g.record(y, needed, move |dy, gradients| {
        let hidden = match (&kept, hidden) {
            // The same bits as in forward, which rounds them to the run's precision when it stores them.
            (Some(x), None) => {
                Some([&gate, &up].map(|layer| layer.forward(x, precision, Output::RunPrecision)))
            }
            (_, hidden) => hidden,
        };
        let product = hidden.as_ref().filter(|_| down.train_weight);
        let product = product.map(|hidden| dispatch!(precision, product_of(SILU, hidden)));
        down.add_parameter_gradients(&dy, product.as_ref(), gradients);
        drop(product);
        if let Some([mut dg, mut du]) = hidden.filter(|_| needs_hidden_gradients) {
            dispatch!(precision, hidden_gradients(&down, &dy, &mut dg, &mut du));
            gate.add_parameter_gradients(&dg, kept.as_ref(), gradients);
            up.add_parameter_gradients(&du, kept.as_ref(), gradients);
            if input.needs_gradient() {
                let mut dx = gate.input_gradient(&dg, &shape, x_precision);
                drop(dg);
                dispatch!(x_precision, add_input_gradient(&up, &du, &mut dx));
                gradients.add(input, dx);
            }
        }
        gradients.add(residual, dy);
    })
}

/// `activation(gate) ∘ up` of two values `[.., C]` in the run's precision: the inner part of [`gated_mlp`], for
/// networks with a plug in one of their layers or another activation. Keeps both values for backward.
pub fn gated_linear_unit(g: &mut Graph<'_>, gate: &Var, up: &Var, activation: Activation) -> Var {
    with_activation!(activation, f => gated_with(g, gate, up, f))
}

fn gated_with(g: &mut Graph<'_>, gate: &Var, up: &Var, f: impl ActivationFn) -> Var {
    let precision = gate.value.precision();
    let hidden = [gate, up].map(|x| x.value.clone());
    let y = dispatch!(precision, product_of(f, &hidden));
    let slots = [gate.gradient_slot(), up.gradient_slot()];
    let needed = slots.iter().any(|slot| slot.needs_gradient());
    let hidden = needed.then_some(hidden);
    g.record(y, needed, move |dy, gradients| {
        let Some([mut dg, mut du]) = hidden else { return };
        dispatch!(precision, gated_gradients(f, &dy, &mut dg, &mut du));
        gradients.add(slots[0], dg);
        gradients.add(slots[1], du);
    })
}

/// Replaces `gate` and `up` by their gradients: `d ∘ up ∘ f'(gate)` and `d ∘ f(gate)`.
fn gated_gradients<T: Element>(
    f: impl ActivationFn,
    d: &Tensor,
    gate: &mut Tensor,
    up: &mut Tensor,
) {
    gate.count(Operation::Elementwise(d.len()));
    if gate.is_planned() {
        return;
    }
    let (d, width) = (T::slice(d), d.width());
    for_each_row_pair(
        T::slice_mut(gate),
        width,
        T::slice_mut(up),
        width,
        #[inline(always)]
        |i, gate, up| {
            let d = &d[i * width..][..width];
            for j in 0..width {
                let (g, u) = (gate[j].to_f32(), up[j].to_f32());
                gate[j] = T::from_f32(d[j].to_f32() * u * f.derivative(g));
                up[j] = T::from_f32(d[j].to_f32() * f.value(g));
            }
        },
    );
}

/// `silu(gate) ∘ up(x)`, where `gate` is `gate(x)`. With `keep` it also gives `gate(x)` and `up(x)`;
/// otherwise the product replaces `gate` in memory.
fn multiply<T: Element>(
    up: &LinearLayer,
    x: &Tensor,
    gate: Tensor,
    keep: bool,
) -> (Tensor, Option<[Tensor; 2]>) {
    if !keep {
        return (multiply_in_place::<T>(up, x, gate), None);
    }
    let width = up.dims().0;
    let (mut y, mut up_of_x) = (T::empty_like(x, gate.shape()), T::empty_like(x, gate.shape()));
    up.count_product(&y, y.len() / width);
    if !y.is_planned() {
        let out = Rows::new(T::slice_mut(&mut y), width);
        let kept = Rows::new(T::slice_mut(&mut up_of_x), width);
        let gate = T::slice(&gate);
        biased_product(
            up,
            x,
            #[inline(always)]
            |row, col, values| {
                let n = values.len();
                // SAFETY: Both are this function's own tensors of the product's size, and every element is
                // handed out once.
                let (y, kept) = unsafe { (out.at(row, col, n), kept.at(row, col, n)) };
                let gate = &gate[row * width + col..][..n];
                for i in 0..n {
                    kept[i] = T::from_f32(values[i]);
                    y[i] = T::from_f32(SILU.value(gate[i].to_f32()) * values[i]);
                }
            },
        );
    }
    (y, Some([gate, up_of_x]))
}

/// Replaces `gate` by `silu(gate) ∘ up(x)`.
fn multiply_in_place<T: Element>(up: &LinearLayer, x: &Tensor, gate: Tensor) -> Tensor {
    let (width, mut y) = (up.dims().0, gate);
    up.count_product(&y, y.len() / width);
    if y.is_planned() {
        return y;
    }
    let out = Rows::new(T::slice_mut(&mut y), width);
    biased_product(
        up,
        x,
        #[inline(always)]
        |row, col, values| {
            // SAFETY: `out` is this function's own tensor of the product's size, and every element is
            // handed out once.
            let y = unsafe { out.at(row, col, values.len()) };
            for (y, u) in y.iter_mut().zip(values) {
                *y = T::from_f32(SILU.value(y.to_f32()) * u);
            }
        },
    );
    y
}

/// Sums that the bias is added to at a time, at least as many as kernels hand out together.
const RUN: usize = 64;

/// Calls `epilogue` with the elements of `x Wᵀ + b`.
fn biased_product(layer: &LinearLayer, x: &Tensor, epilogue: impl Fn(usize, usize, &[f32]) + Sync) {
    let Some(bias) = layer.bias() else { return layer.forward_product(x, epilogue) };
    layer.forward_product(
        x,
        #[inline(always)]
        |row, col, sums| {
            let mut run = [0.0f32; RUN];
            for (at, sums) in (col..).step_by(RUN).zip(sums.chunks(RUN)) {
                let run = &mut run[..sums.len()];
                for ((to, sum), bias) in run.iter_mut().zip(sums).zip(&bias[at..]) {
                    *to = sum + bias;
                }
                epilogue(row, at, run);
            }
        },
    );
}

/// `f(gate) ∘ up`.
fn product_of<T: Element>(f: impl ActivationFn, [gate, up]: &[Tensor; 2]) -> Tensor {
    let mut y = T::empty_like(gate, gate.shape());
    y.count(Operation::Elementwise(gate.len()));
    if y.is_planned() {
        return y;
    }
    let (gate, up) = (T::slice(gate), T::slice(up));
    for_each_chunk(
        T::slice_mut(&mut y),
        #[inline(always)]
        |start, y| {
            for (y, (g, u)) in y.iter_mut().zip(gate[start..].iter().zip(&up[start..])) {
                *y = T::from_f32(f.value(g.to_f32()) * u.to_f32());
            }
        },
    );
    y
}

/// Replaces `gate` and `up` by their gradients, with `d = dy W`: `d ∘ up ∘ silu'(gate)` and
/// `d ∘ silu(gate)`.
fn hidden_gradients<T: Element>(
    down: &LinearLayer,
    dy: &Tensor,
    gate: &mut Tensor,
    up: &mut Tensor,
) {
    let width = gate.width();
    down.count_backward_product(gate, gate.len() / width);
    if gate.is_planned() {
        return;
    }
    let gate_rows = Rows::new(T::slice_mut(gate), width);
    let up_rows = Rows::new(T::slice_mut(up), width);
    down.backward_product(
        dy,
        #[inline(always)]
        |row, col, sums| {
            let n = sums.len();
            // SAFETY: Both tensors are borrowed exclusively and have the product's size, and every element
            // is handed out once.
            let (gate, up) = unsafe { (gate_rows.at(row, col, n), up_rows.at(row, col, n)) };
            for i in 0..n {
                let (g, u) = (gate[i].to_f32(), up[i].to_f32());
                gate[i] = T::from_f32(sums[i] * u * SILU.derivative(g));
                up[i] = T::from_f32(sums[i] * SILU.value(g));
            }
        },
    );
}

/// Adds `dy W` to `dx`.
fn add_input_gradient<T: Element>(layer: &LinearLayer, dy: &Tensor, dx: &mut Tensor) {
    let (out, inner) = layer.dims();
    layer.count_backward_product(dx, dy.len() / out);
    if dx.is_planned() {
        return;
    }
    let rows = Rows::new(T::slice_mut(dx), inner);
    layer.backward_product(
        dy,
        #[inline(always)]
        |row, col, sums| {
            // SAFETY: `dx` is borrowed exclusively and has the product's size, and every element is handed
            // out once.
            let dx = unsafe { rows.at(row, col, sums.len()) };
            for (dx, sum) in dx.iter_mut().zip(sums) {
                *dx = T::from_f32(dx.to_f32() + sum);
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::linear;
    use crate::ops::testing::{assert_close, check_gradients, random_parameters};
    use crate::tensor::{Gradients, Parameters, Precision};

    /// x; the weight and the bias of gate, up and down; the residual.
    fn inputs(rows: usize, width: usize, inner: usize) -> (Parameters, Vec<ParamId>) {
        random_parameters(&[
            &[rows, width],
            &[inner, width],
            &[inner],
            &[inner, width],
            &[inner],
            &[width, inner],
            &[width],
            &[rows, width],
        ])
    }

    fn biased(g: &mut Graph<'_>, id: &[ParamId]) -> Var {
        let (x, r) = (g.parameter(id[0]), g.parameter(id[7]));
        let layers = [(id[1], Some(id[2])), (id[3], Some(id[4])), (id[5], Some(id[6]))];
        gated_mlp(g, &x, layers, Output::AddTo(&r))
    }

    #[test]
    fn matches_the_plain_formula() {
        for (rows, width, inner) in [(6, 5, 7), (1, 1, 1), (15, 17, 33), (31, 33, 130)] {
            let (params, id) = inputs(rows, width, inner);
            let of = |i: usize| params.get(id[i]).value().data();
            let linear = |x: &[f32], w: &[f32], b: &[f32]| -> Vec<f64> {
                let inner = w.len() / b.len();
                let row = |x: &[f32]| {
                    let each = w.chunks(inner).zip(b).map(|(w, &b)| {
                        let dot = w.iter().zip(x).map(|(w, x)| f64::from(*w) * f64::from(*x));
                        dot.sum::<f64>() + f64::from(b)
                    });
                    each.collect::<Vec<_>>()
                };
                x.chunks(inner).flat_map(row).collect()
            };
            for bias in [true, false] {
                let b = |i: usize| if bias { of(i).to_vec() } else { vec![0.0; of(i).len()] };
                let (gate, up) = (linear(of(0), of(1), &b(2)), linear(of(0), of(3), &b(4)));
                let product: Vec<f32> =
                    gate.iter().zip(up).map(|(g, u)| (g / (1.0 + (-g).exp()) * u) as f32).collect();
                let y = linear(&product, of(5), &b(6));
                let want: Vec<_> = y.iter().zip(of(7)).map(|(y, r)| *y as f32 + r).collect();
                for mut g in [Graph::inference(&params), Graph::training(&params)] {
                    let (x, r) = (g.parameter(id[0]), g.parameter(id[7]));
                    let layers = [1, 3, 5].map(|i| (id[i], bias.then(|| id[i + 1])));
                    let y = gated_mlp(&mut g, &x, layers, Output::AddTo(&r));
                    assert_close(y.value.data(), &want, 1e-5);
                }
            }
        }
    }

    #[test]
    fn gradients_match_finite_differences() {
        let (mut params, id) = inputs(6, 5, 7);
        check_gradients(&mut params, |g| biased(g, &id), 5e-3);
        let (mut params, id) = random_parameters(&[&[4, 5], &[9, 5], &[9, 5], &[5, 9]]);
        let plain = |g: &mut Graph<'_>| {
            let x = g.parameter(id[0]);
            gated_mlp(g, &x, [1, 2, 3].map(|i| (id[i], None)), Output::F32)
        };
        check_gradients(&mut params, plain, 5e-3);
    }

    /// Separate operations, with the layers around the gate.
    #[test]
    fn the_inner_part_between_linear_layers_is_the_same_network() {
        let (mut params, id) = inputs(6, 5, 7);
        let separate = |g: &mut Graph<'_>, activation| {
            let (x, r) = (g.parameter(id[0]), g.parameter(id[7]));
            let [gate, up] =
                [1, 3].map(|i| linear(g, &x, id[i], Some(id[i + 1]), Output::RunPrecision));
            let y = gated_linear_unit(g, &gate, &up, activation);
            linear(g, &y, id[5], Some(id[6]), Output::AddTo(&r))
        };
        let [whole, parts] = [
            biased(&mut Graph::inference(&params), &id),
            separate(&mut Graph::inference(&params), Activation::Silu),
        ];
        assert_close(parts.value.data(), whole.value.data(), 1e-6);
        for activation in [Activation::Silu, Activation::Gelu, Activation::GeluTanh] {
            check_gradients(&mut params, |g| separate(g, activation), 5e-3);
        }
    }

    #[test]
    fn recomputation_changes_no_bit() {
        let (mut params, id) = inputs(6, 5, 7);
        for precision in [Precision::F32, Precision::Bf16] {
            params.set_precision(precision);
            let gradients = |level| {
                let mut g = Graph::training(&params).with_recompute(level);
                let y = biased(&mut g, &id);
                let mut gradients = Gradients::new();
                let seed = Tensor::new(y.shape(), vec![0.5; y.value.len()]);
                g.backward(y.gradient_slot(), seed, &mut gradients);
                let all = id.iter().map(|&id| gradients.param(id).unwrap().data().to_vec());
                (y.value.data().to_vec(), all.collect::<Vec<_>>())
            };
            assert!(gradients(Recompute::None) == gradients(Recompute::Ffn));
        }
    }
}
