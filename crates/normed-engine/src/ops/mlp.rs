//! A feed-forward network as one operation, `fc2(activation(fc1(x))) (+ residual)`: the activation and its
//! derivative are computed in the epilogues of the products.
//!
//! Keeps for backward: the input of the activation, in the run's precision, or `x` in its place if the pass
//! recomputes that input ([`Recompute::Ffn`]). Keeps `x` as well if the weight of `fc1` is trained. The
//! output of the activation is never kept.

use super::activation::{
    Activation, ActivationFn, Gelu, QUICK_GELU, Tanh, activate as activate_elements, apply,
};
use super::element::{Element, dispatch};
use super::linear::{LinearLayer, Output, linear};
use super::product::Rows;
use crate::tensor::{Graph, ParamId, Precision, Recompute, Tensor, Var};

/// `fc2(activation(fc1(x)))` of `x [.., C]`, with the weight `[out, in]` and the bias `[out]` of each layer.
///
/// The activations of published checkpoints are computed in the products; with any other one it is three
/// operations.
pub fn mlp(
    g: &mut Graph<'_>,
    x: &Var,
    fc1: (ParamId, Option<ParamId>),
    fc2: (ParamId, Option<ParamId>),
    activation: Activation,
    output: Output<'_>,
) -> Var {
    match activation {
        Activation::Gelu => mlp_with(g, x, [fc1, fc2], Gelu, output),
        Activation::QuickGelu => mlp_with(g, x, [fc1, fc2], QUICK_GELU, output),
        Activation::Tanh => mlp_with(g, x, [fc1, fc2], Tanh, output),
        other => {
            let h = g.recompute_in_backward(Recompute::Ffn, [x], move |g, [x]| {
                let h = linear(g, x, fc1.0, fc1.1, Output::RunPrecision);
                activate_elements(g, &h, other)
            });
            linear(g, &h, fc2.0, fc2.1, output)
        }
    }
}

fn mlp_with(
    g: &mut Graph<'_>,
    x: &Var,
    layers: [(ParamId, Option<ParamId>); 2],
    f: impl ActivationFn,
    output: Output<'_>,
) -> Var {
    let precision = g.precision();
    let [fc1, fc2] = layers.map(|(weight, bias)| LinearLayer::new(g, weight, bias));
    let (input, residual) = (x.gradient_slot(), output.residual_slot());
    // Whether anything needs the gradient of the activation's input, and whether anything needs its value.
    let needs_hidden_gradient = input.needs_gradient() || fc1.is_trained();
    let needs_hidden = needs_hidden_gradient || fc2.train_weight;
    let (rows, _) = x.shape().split_at(x.shape().len() - 1);
    let skipped = g.skipped_output(&[rows, &[fc2.dims().0]].concat(), Precision::F32);
    let recomputes = skipped.is_some() || g.is_recomputed(Recompute::Ffn);
    let (y, hidden) = skipped.map_or_else(
        || {
            let keep = needs_hidden && !recomputes;
            let (activated, hidden) = dispatch!(precision, activate(f, &fc1, &x.value, keep));
            (fc2.forward(&activated, precision, output), hidden)
        },
        |y| (y, None),
    );
    let needed = needs_hidden || fc2.is_trained() || residual.needs_gradient();
    let kept = (needs_hidden && (recomputes || fc1.train_weight)).then(|| x.value.clone());
    let (shape, x_precision) = (x.shape().to_vec(), x.value.precision());
    g.record(y, needed, move |dy, gradients| {
        let hidden = match (&kept, hidden) {
            // The same bits as in forward, which rounds them to the run's precision when it stores them.
            (Some(x), None) => Some(fc1.forward(x, precision, Output::RunPrecision)),
            (_, hidden) => hidden,
        };
        let activated = hidden.as_ref().filter(|_| fc2.train_weight);
        let activated = activated.map(|h| dispatch!(precision, apply(f, h)));
        fc2.add_parameter_gradients(&dy, activated.as_ref(), gradients);
        drop(activated);
        if let Some(hidden) = hidden.filter(|_| needs_hidden_gradient) {
            let d = dispatch!(precision, hidden_gradient(f, &fc2, &dy, hidden));
            fc1.add_parameter_gradients(&d, kept.as_ref(), gradients);
            if input.needs_gradient() {
                gradients.add(input, fc1.input_gradient(&d, &shape, x_precision));
            }
        }
        gradients.add(residual, dy);
    })
}

/// `f(fc1(x))`, and `fc1(x)` if `keep`.
fn activate<T: Element>(
    f: impl ActivationFn,
    fc1: &LinearLayer,
    x: &Tensor,
    keep: bool,
) -> (Tensor, Option<Tensor>) {
    let (width, shape) = (fc1.dims().0, fc1.output_shape(x));
    let mut y = T::empty_like(x, &shape);
    let mut kept = keep.then(|| T::empty_like(x, &shape));
    fc1.count_product(&y, y.len() / width);
    if y.is_planned() {
        return (y, kept);
    }
    let zeros = if fc1.bias().is_none() { vec![0.0; width] } else { Vec::new() };
    let bias = fc1.bias().unwrap_or(&zeros);
    let out = Rows::new(T::slice_mut(&mut y), width);
    let kept_rows = kept.as_mut().map(|kept| Rows::new(T::slice_mut(kept), width));
    fc1.forward_product(
        x,
        #[inline(always)]
        |row, col, sums| {
            let n = sums.len();
            // SAFETY: `out` is this function's own tensor of the product's size, and every element is
            // handed out once.
            let y = unsafe { out.at(row, col, n) };
            let bias = &bias[col..][..n];
            if let Some(kept) = &kept_rows {
                // SAFETY: As above.
                let kept = unsafe { kept.at(row, col, n) };
                for i in 0..n {
                    let h = sums[i] + bias[i];
                    kept[i] = T::from_f32(h);
                    y[i] = T::from_f32(f.value(h));
                }
            } else {
                for i in 0..n {
                    y[i] = T::from_f32(f.value(sums[i] + bias[i]));
                }
            }
        },
    );
    (y, kept)
}

/// Replaces the activation's input `h` by its gradient, `(dy W₂) ∘ f'(h)`.
fn hidden_gradient<T: Element>(
    f: impl ActivationFn,
    fc2: &LinearLayer,
    dy: &Tensor,
    mut h: Tensor,
) -> Tensor {
    let width = h.width();
    fc2.count_backward_product(&h, h.len() / width);
    if h.is_planned() {
        return h;
    }
    let rows = Rows::new(T::slice_mut(&mut h), width);
    fc2.backward_product(
        dy,
        #[inline(always)]
        |row, col, sums| {
            // SAFETY: `h` is this function's own tensor of the product's size, and every element is handed
            // out once.
            let h = unsafe { rows.at(row, col, sums.len()) };
            for i in 0..sums.len() {
                h[i] = T::from_f32(sums[i] * f.derivative(h[i].to_f32()));
            }
        },
    );
    h
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{assert_close, check_gradients, random_parameters};
    use crate::ops::{activate, linear};
    use crate::tensor::{Gradients, Parameters, Precision};

    fn inputs() -> (Parameters, Vec<ParamId>) {
        random_parameters(&[&[2, 3, 5], &[7, 5], &[7], &[5, 7], &[5], &[2, 3, 5]])
    }

    fn fused(g: &mut Graph<'_>, id: &[ParamId]) -> Var {
        with(g, id, Activation::Gelu)
    }

    fn with(g: &mut Graph<'_>, id: &[ParamId], activation: Activation) -> Var {
        let (x, r) = (g.parameter(id[0]), g.parameter(id[5]));
        let [fc1, fc2] = [(id[1], Some(id[2])), (id[3], Some(id[4]))];
        mlp(g, &x, fc1, fc2, activation, Output::AddTo(&r))
    }

    #[test]
    fn matches_its_separate_operations() {
        for (rows, width, inner) in [(6, 5, 7), (1, 1, 1), (15, 17, 33), (31, 33, 65), (29, 16, 32)]
        {
            let shapes: [&[usize]; 6] = [
                &[rows, width],
                &[inner, width],
                &[inner],
                &[width, inner],
                &[width],
                &[rows, width],
            ];
            let (params, id) = random_parameters(&shapes);
            let mut g = Graph::inference(&params);
            let (x, r) = (g.parameter(id[0]), g.parameter(id[5]));
            let h = linear(&mut g, &x, id[1], Some(id[2]), Output::F32);
            let h = activate(&mut g, &h, Activation::Gelu);
            let want = linear(&mut g, &h, id[3], Some(id[4]), Output::AddTo(&r));
            for mut g in [g, Graph::training(&params)] {
                let got = fused(&mut g, &id);
                assert_close(got.value.data(), want.value.data(), 1e-6);
            }
        }
    }

    #[test]
    fn gradients_match_finite_differences() {
        let (mut params, id) = inputs();
        for activation in [Activation::Gelu, Activation::QuickGelu, Activation::Mish] {
            check_gradients(&mut params, |g| with(g, &id, activation), 5e-3);
        }
        // Without biases.
        let (mut params, id) = random_parameters(&[&[2, 3, 5], &[7, 5], &[5, 7]]);
        let plain = |g: &mut Graph<'_>| {
            let x = g.parameter(id[0]);
            mlp(g, &x, (id[1], None), (id[2], None), Activation::Gelu, Output::F32)
        };
        check_gradients(&mut params, plain, 5e-3);
    }

    #[test]
    fn recomputation_changes_no_bit() {
        let (mut params, id) = inputs();
        for precision in [Precision::F32, Precision::Bf16] {
            params.set_precision(precision);
            let gradients = |level| {
                let mut g = Graph::training(&params).with_recompute(level);
                let y = fused(&mut g, &id);
                let mut gradients = Gradients::new();
                let seed = Tensor::new(y.shape(), vec![0.5; y.value.len()]);
                g.backward(y.gradient_slot(), seed, &mut gradients);
                id.iter()
                    .map(|&id| gradients.param(id).unwrap().data().to_vec())
                    .collect::<Vec<_>>()
            };
            assert!(gradients(Recompute::None) == gradients(Recompute::Ffn));
        }
    }
}
