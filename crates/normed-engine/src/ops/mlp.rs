//! `fc2(activation(fc1(x))) (+ residual)`, a block's feed-forward network, as one operation: the activation
//! and its derivative are taken where a product stores its sums.
//!
//! Keeps: what goes into the activation, in the run's precision; or, if the pass computes that again
//! ([`Recompute::Ffn`]) or `fc1`'s matrix is trained, `x`. The activation's output is never kept.

use super::activation::{Activation, Curve, Gelu, QUICK_GELU, Tanh, all};
use super::linear::{Layer, Output};
use super::number::{Number, in_precision};
use super::product::Rows;
use crate::tensor::{Graph, ParamId, Precision, Recompute, Tensor, Var};

/// `x [.., C] -> [.., C]` over `fc1`'s and `fc2`'s weight `[out, in]` and bias `[out]`.
pub fn mlp(
    g: &mut Graph<'_>,
    x: &Var,
    fc1: (ParamId, Option<ParamId>),
    fc2: (ParamId, Option<ParamId>),
    activation: Activation,
    output: Output<'_>,
) -> Var {
    match activation {
        Activation::Gelu => through(g, x, [fc1, fc2], Gelu, output),
        Activation::QuickGelu => through(g, x, [fc1, fc2], QUICK_GELU, output),
        Activation::Tanh => through(g, x, [fc1, fc2], Tanh, output),
    }
}

fn through(
    g: &mut Graph<'_>,
    x: &Var,
    layers: [(ParamId, Option<ParamId>); 2],
    curve: impl Curve,
    output: Output<'_>,
) -> Var {
    let precision = g.precision();
    let [fc1, fc2] = layers.map(|(weight, bias)| Layer::of(g, weight, bias));
    let (input, residual) = (x.gradient_slot(), output.residual());
    // What the path through the activation leads to.
    let below = input.needs_gradient() || fc1.trained();
    let inside = below || fc2.train_w;
    let (rows, _) = x.shape().split_at(x.shape().len() - 1);
    let left_out = g.skipped_output(&[rows, &[fc2.widths().0]].concat(), Precision::F32);
    let again = left_out.is_some() || g.is_recomputed(Recompute::Ffn);
    let (y, before) = left_out.map_or_else(
        || {
            let keep = inside && !again;
            let (activated, before) =
                in_precision!(precision, activate(curve, &fc1, &x.value, keep));
            (fc2.output(&activated, precision, output), before)
        },
        |y| (y, None),
    );
    let needed = inside || fc2.trained() || residual.needs_gradient();
    let kept = (inside && (again || fc1.train_w)).then(|| x.value.clone());
    let (shape, x_precision) = (x.shape().to_vec(), x.value.precision());
    g.record(y, needed, move |dy, gradients| {
        let before = match (&kept, before) {
            // The same bits: as the activation's input, it was rounded where it was stored.
            (Some(x), None) => Some(fc1.output(x, precision, Output::RunPrecision)),
            (_, before) => before,
        };
        let activated = before.as_ref().filter(|_| fc2.train_w);
        let activated = activated.map(|h| in_precision!(precision, all(curve, h)));
        fc2.add_gradients(&dy, activated.as_ref(), gradients);
        drop(activated);
        if let Some(before) = before.filter(|_| below) {
            let d = in_precision!(precision, gradient_before(curve, &fc2, &dy, before));
            fc1.add_gradients(&d, kept.as_ref(), gradients);
            if input.needs_gradient() {
                gradients.add(input, fc1.input_gradient(&d, &shape, x_precision));
            }
        }
        gradients.add(residual, dy);
    })
}

/// The curve of `fc1(x)`, and `fc1(x)` if it is to be kept.
fn activate<T: Number>(
    curve: impl Curve,
    fc1: &Layer,
    x: &Tensor,
    keep: bool,
) -> (Tensor, Option<Tensor>) {
    let (width, shape) = (fc1.widths().0, fc1.output_shape(x));
    let mut y = T::empty_like(x, &shape);
    let mut kept = keep.then(|| T::empty_like(x, &shape));
    if fc1.plans(&y, y.len() / width) {
        return (y, kept);
    }
    let zeros = if fc1.bias().is_none() { vec![0.0; width] } else { Vec::new() };
    let bias = fc1.bias().unwrap_or(&zeros);
    let to = Rows::new(T::of_mut(&mut y), width);
    let keep_at = kept.as_mut().map(|kept| Rows::new(T::of_mut(kept), width));
    fc1.product(
        x,
        #[inline(always)]
        |row, col, sums| {
            let n = sums.len();
            // SAFETY: this function's own tensors; every element is handed out once.
            let y = unsafe { to.at(row, col, n) };
            let bias = &bias[col..][..n];
            if let Some(kept) = &keep_at {
                // SAFETY: as above.
                let kept = unsafe { kept.at(row, col, n) };
                for i in 0..n {
                    let h = sums[i] + bias[i];
                    kept[i] = T::nearest(h);
                    y[i] = T::nearest(curve.value(h));
                }
            } else {
                for i in 0..n {
                    y[i] = T::nearest(curve.value(sums[i] + bias[i]));
                }
            }
        },
    );
    (y, kept)
}

/// The gradient of `h`, which goes into the activation, in its place: `(dy W₂) ∘ curve'(h)`.
fn gradient_before<T: Number>(
    curve: impl Curve,
    fc2: &Layer,
    dy: &Tensor,
    mut h: Tensor,
) -> Tensor {
    let width = h.width();
    if fc2.plans(&h, h.len() / width) {
        return h;
    }
    let to = Rows::new(T::of_mut(&mut h), width);
    fc2.product_back(
        dy,
        #[inline(always)]
        |row, col, sums| {
            // SAFETY: this function's own tensor; every element is handed out once.
            let h = unsafe { to.at(row, col, sums.len()) };
            for i in 0..sums.len() {
                h[i] = T::nearest(sums[i] * curve.slope(h[i].wide()));
            }
        },
    );
    h
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::{close, finite_differences, parameters};
    use crate::ops::{activate, linear};
    use crate::tensor::{Gradients, Parameters, Precision};

    fn inputs() -> (Parameters, Vec<ParamId>) {
        parameters(&[&[2, 3, 5], &[7, 5], &[7], &[5, 7], &[5], &[2, 3, 5]])
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
    fn equals_its_parts() {
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
            let (params, id) = parameters(&shapes);
            let mut g = Graph::inference(&params);
            let (x, r) = (g.parameter(id[0]), g.parameter(id[5]));
            let h = linear(&mut g, &x, id[1], Some(id[2]), Output::F32);
            let h = activate(&mut g, &h, Activation::Gelu);
            let want = linear(&mut g, &h, id[3], Some(id[4]), Output::AddTo(&r));
            for mut g in [g, Graph::training(&params)] {
                let got = fused(&mut g, &id);
                close(got.value.data(), want.value.data(), 1e-6);
            }
        }
    }

    #[test]
    fn finite_differences_agree() {
        let (mut params, id) = inputs();
        for activation in [Activation::Gelu, Activation::QuickGelu] {
            finite_differences(&mut params, |g| with(g, &id, activation), 5e-3);
        }
        // Without biases.
        let (mut params, id) = parameters(&[&[2, 3, 5], &[7, 5], &[5, 7]]);
        let plain = |g: &mut Graph<'_>| {
            let x = g.parameter(id[0]);
            mlp(g, &x, (id[1], None), (id[2], None), Activation::Gelu, Output::F32)
        };
        finite_differences(&mut params, plain, 5e-3);
    }

    #[test]
    fn computed_again_it_is_the_same() {
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
