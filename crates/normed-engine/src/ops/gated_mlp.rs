//! `down(silu(gate(x)) ∘ up(x)) (+ residual)`, LLaMA's feed-forward network (Shazeer 2020, arXiv
//! 2002.05202, eq. 6, "SwiGLU"), as one operation: the gate multiplies where a product stores its sums,
//! forward and backward.
//!
//! Keeps: `gate(x)` and `up(x)`, in the run's precision; or, if the pass computes them again
//! ([`Recompute::Ffn`]) or one of their matrices is trained, `x`. Their product is never kept. In
//! backward their gradients take their place.

use super::activation::{Curve, SILU};
use super::linear::{Layer, Output};
use super::number::{Number, in_precision};
use super::product::Rows;
use super::simd::{for_elements, for_row_pairs};
use crate::tensor::{Graph, Operation, ParamId, Precision, Recompute, Tensor, Var};

/// `x [.., C] -> [.., C]` over the weight `[out, in]` and the bias `[out]` of `gate`, `up` and `down`.
pub fn gated_mlp(
    g: &mut Graph<'_>,
    x: &Var,
    layers: [(ParamId, Option<ParamId>); 3],
    output: Output<'_>,
) -> Var {
    let precision = g.precision();
    let [gate, up, down] = layers.map(|(weight, bias)| Layer::of(g, weight, bias));
    let (input, residual) = (x.gradient_slot(), output.residual());
    // What the paths through the product lead to.
    let below = input.needs_gradient() || gate.trained() || up.trained();
    let inside = below || down.train_w;
    let (rows, _) = x.shape().split_at(x.shape().len() - 1);
    let left_out = g.skipped_output(&[rows, &[down.widths().0]].concat(), Precision::F32);
    let again = left_out.is_some() || g.is_recomputed(Recompute::Ffn);
    let (y, factors) = left_out.map_or_else(
        || {
            let gated = gate.output(&x.value, precision, Output::RunPrecision);
            let keep = inside && !again;
            let (product, factors) = in_precision!(precision, multiply(&up, &x.value, gated, keep));
            (down.output(&product, precision, output), factors)
        },
        |y| (y, None),
    );
    let needed = inside || down.trained() || residual.needs_gradient();
    let kept = (inside && (again || gate.train_w || up.train_w)).then(|| x.value.clone());
    let (shape, x_precision) = (x.shape().to_vec(), x.value.precision());
    g.record(y, needed, move |dy, gradients| {
        let factors = match (&kept, factors) {
            // The same bits: they were rounded where they were stored.
            (Some(x), None) => {
                Some([&gate, &up].map(|layer| layer.output(x, precision, Output::RunPrecision)))
            }
            (_, factors) => factors,
        };
        let product = factors.as_ref().filter(|_| down.train_w);
        let product = product.map(|factors| in_precision!(precision, product_of(factors)));
        down.add_gradients(&dy, product.as_ref(), gradients);
        drop(product);
        if let Some([mut dg, mut du]) = factors.filter(|_| below) {
            in_precision!(precision, differentiate(&down, &dy, &mut dg, &mut du));
            gate.add_gradients(&dg, kept.as_ref(), gradients);
            up.add_gradients(&du, kept.as_ref(), gradients);
            if input.needs_gradient() {
                let mut dx = gate.input_gradient(&dg, &shape, x_precision);
                drop(dg);
                in_precision!(x_precision, add_input_gradient(&up, &du, &mut dx));
                gradients.add(input, dx);
            }
        }
        gradients.add(residual, dy);
    })
}

/// `silu(gated) ∘ raised`, all `[.., C]` in the run's precision: the middle of [`gated_mlp`] by itself, where
/// something is plugged into one of its layers. Keeps both.
pub fn swiglu(g: &mut Graph<'_>, gated: &Var, raised: &Var) -> Var {
    let precision = gated.value.precision();
    let factors = [gated, raised].map(|x| x.value.clone());
    let y = in_precision!(precision, product_of(&factors));
    let sources = [gated.gradient_slot(), raised.gradient_slot()];
    let needed = sources.iter().any(|source| source.needs_gradient());
    let factors = needed.then_some(factors);
    g.record(y, needed, move |dy, gradients| {
        let Some([mut dg, mut du]) = factors else { return };
        in_precision!(precision, differentiate_gate(&dy, &mut dg, &mut du));
        gradients.add(sources[0], dg);
        gradients.add(sources[1], du);
    })
}

/// `gated` and `raised` become their gradients: `d ∘ raised ∘ silu'(gated)` and `d ∘ silu(gated)`.
fn differentiate_gate<T: Number>(d: &Tensor, gated: &mut Tensor, raised: &mut Tensor) {
    gated.count(Operation::Pass(d.len()));
    if gated.is_planned() {
        return;
    }
    let (d, width) = (T::of(d), d.width());
    for_row_pairs(
        T::of_mut(gated),
        width,
        T::of_mut(raised),
        width,
        #[inline(always)]
        |i, gated, raised| {
            let d = &d[i * width..][..width];
            for j in 0..width {
                let (g, u) = (gated[j].wide(), raised[j].wide());
                gated[j] = T::nearest(d[j].wide() * u * SILU.slope(g));
                raised[j] = T::nearest(d[j].wide() * SILU.value(g));
            }
        },
    );
}

/// `silu(gated) ∘ up(x)`, in the place of `gated` unless that and `up(x)` are to be kept.
fn multiply<T: Number>(
    up: &Layer,
    x: &Tensor,
    gated: Tensor,
    keep: bool,
) -> (Tensor, Option<[Tensor; 2]>) {
    let width = up.widths().0;
    if !keep {
        let mut y = gated;
        if !up.plans(&y, y.len() / width) {
            let to = Rows::new(T::of_mut(&mut y), width);
            up_product(
                up,
                x,
                #[inline(always)]
                |row, col, each| {
                    // SAFETY: this function's own tensor; every element is handed out once.
                    let y = unsafe { to.at(row, col, each.len()) };
                    for (y, u) in y.iter_mut().zip(each) {
                        *y = T::nearest(SILU.value(y.wide()) * u);
                    }
                },
            );
        }
        return (y, None);
    }
    let (mut y, mut raised) = (T::empty_like(x, gated.shape()), T::empty_like(x, gated.shape()));
    if !up.plans(&y, y.len() / width) {
        let to = Rows::new(T::of_mut(&mut y), width);
        let keep_at = Rows::new(T::of_mut(&mut raised), width);
        let gated = T::of(&gated);
        up_product(
            up,
            x,
            #[inline(always)]
            |row, col, each| {
                let n = each.len();
                // SAFETY: this function's own tensors; every element is handed out once.
                let (y, kept) = unsafe { (to.at(row, col, n), keep_at.at(row, col, n)) };
                let gated = &gated[row * width + col..][..n];
                for i in 0..n {
                    kept[i] = T::nearest(each[i]);
                    y[i] = T::nearest(SILU.value(gated[i].wide()) * each[i]);
                }
            },
        );
    }
    (y, Some([gated, raised]))
}

/// Hands `up(x)`, its bias added, to `epilogue`.
fn up_product(up: &Layer, x: &Tensor, epilogue: impl Fn(usize, usize, &[f32]) + Sync) {
    let Some(bias) = up.bias() else { return up.product(x, epilogue) };
    up.product(
        x,
        #[inline(always)]
        |row, col, sums| {
            // As wide as what a kernel hands out at once, or narrower.
            let mut each = [0.0f32; PIECE];
            for (at, sums) in (col..).step_by(PIECE).zip(sums.chunks(PIECE)) {
                let each = &mut each[..sums.len()];
                for ((to, sum), bias) in each.iter_mut().zip(sums).zip(&bias[at..]) {
                    *to = sum + bias;
                }
                epilogue(row, at, each);
            }
        },
    );
}

/// Sums that a bias is added to at a time.
const PIECE: usize = 64;

/// `silu(gated) ∘ raised`.
fn product_of<T: Number>([gated, raised]: &[Tensor; 2]) -> Tensor {
    let mut y = T::empty_like(gated, gated.shape());
    y.count(Operation::Pass(gated.len()));
    if y.is_planned() {
        return y;
    }
    let (gated, raised) = (T::of(gated), T::of(raised));
    for_elements(
        T::of_mut(&mut y),
        #[inline(always)]
        |start, y| {
            for (y, (g, u)) in y.iter_mut().zip(gated[start..].iter().zip(&raised[start..])) {
                *y = T::nearest(SILU.value(g.wide()) * u.wide());
            }
        },
    );
    y
}

/// `gated` and `raised` become their gradients: with `d = dy W`, `d ∘ raised ∘ silu'(gated)` and
/// `d ∘ silu(gated)`.
fn differentiate<T: Number>(down: &Layer, dy: &Tensor, gated: &mut Tensor, raised: &mut Tensor) {
    let width = gated.width();
    if down.plans(gated, gated.len() / width) {
        return;
    }
    let (g_at, u_at) = (Rows::new(T::of_mut(gated), width), Rows::new(T::of_mut(raised), width));
    down.product_back(
        dy,
        #[inline(always)]
        |row, col, sums| {
            let n = sums.len();
            // SAFETY: the caller's own tensors; every element is handed out once.
            let (g, u) = unsafe { (g_at.at(row, col, n), u_at.at(row, col, n)) };
            for i in 0..n {
                let (gated, raised) = (g[i].wide(), u[i].wide());
                g[i] = T::nearest(sums[i] * raised * SILU.slope(gated));
                u[i] = T::nearest(sums[i] * SILU.value(gated));
            }
        },
    );
}

/// `dx + dy W`.
fn add_input_gradient<T: Number>(layer: &Layer, dy: &Tensor, dx: &mut Tensor) {
    let (out, inner) = layer.widths();
    if layer.plans(dx, dy.len() / out) {
        return;
    }
    let to = Rows::new(T::of_mut(dx), inner);
    layer.product_back(
        dy,
        #[inline(always)]
        |row, col, sums| {
            // SAFETY: the caller's own tensor; every element is handed out once.
            let dx = unsafe { to.at(row, col, sums.len()) };
            for (dx, sum) in dx.iter_mut().zip(sums) {
                *dx = T::nearest(dx.wide() + sum);
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::{close, finite_differences, parameters};
    use crate::ops::linear;
    use crate::tensor::{Gradients, Parameters, Precision};

    /// x, gate, up and down with their biases, residual.
    fn inputs(rows: usize, width: usize, inner: usize) -> (Parameters, Vec<ParamId>) {
        parameters(&[
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
    fn equals_the_plain_formula() {
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
                    close(y.value.data(), &want, 1e-5);
                }
            }
        }
    }

    #[test]
    fn finite_differences_agree() {
        let (mut params, id) = inputs(6, 5, 7);
        finite_differences(&mut params, |g| biased(g, &id), 5e-3);
        let (mut params, id) = parameters(&[&[4, 5], &[9, 5], &[9, 5], &[5, 9]]);
        let plain = |g: &mut Graph<'_>| {
            let x = g.parameter(id[0]);
            gated_mlp(g, &x, [1, 2, 3].map(|i| (id[i], None)), Output::F32)
        };
        finite_differences(&mut params, plain, 5e-3);
    }

    /// Apart, with the layers around it.
    #[test]
    fn the_gate_alone_is_the_middle_of_it() {
        let (mut params, id) = inputs(6, 5, 7);
        let apart = |g: &mut Graph<'_>| {
            let (x, r) = (g.parameter(id[0]), g.parameter(id[7]));
            let [gated, raised] =
                [1, 3].map(|i| linear(g, &x, id[i], Some(id[i + 1]), Output::RunPrecision));
            let y = swiglu(g, &gated, &raised);
            linear(g, &y, id[5], Some(id[6]), Output::AddTo(&r))
        };
        let [whole, parts] =
            [biased(&mut Graph::inference(&params), &id), apart(&mut Graph::inference(&params))];
        close(parts.value.data(), whole.value.data(), 1e-6);
        finite_differences(&mut params, apart, 5e-3);
    }

    #[test]
    fn computed_again_it_is_the_same() {
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
