//! A linear layer with a low-rank path, LoRA: `y = x Wᵀ + b + s (z Aᵀ) Bᵀ (+ residual)` (Hu et al. 2021,
//! arXiv 2106.09685, eq. 3), where `z` is `x` or `x` after dropout.
//!
//! The path is added in the epilogue of the large product, forward and backward, so that it costs only the
//! products with `A` and `B`. Keeps for backward: `s z Aᵀ`, which has `r` columns, if `B` is trained; `z` if `A`
//! is trained; `x` if `W` is trained. Layers that read the same `x` share it.

use super::element::{Element, dispatch};
use super::linear::{LinearLayer, Output};
use super::product::Rows;
use super::simd::for_each_row;
use crate::tensor::{Graph, LowRank, Operation, ParamId, Precision, Tensor, Var};

/// `x [.., in]` becomes `[.., out]`, with the weight `[out, in]` and the bias `[out]` of `layer` and with
/// `A [r, in]` and `B [out, r]` of `path`. `dropped` is `z` if it is not `x`.
pub fn low_rank_linear(
    g: &mut Graph<'_>,
    x: &Var,
    dropped: Option<&Var>,
    layer: (ParamId, Option<ParamId>),
    path: LowRank,
    output: Output<'_>,
) -> Var {
    let layer = LinearLayer::new(g, layer.0, layer.1);
    let [a, b] = [path.a, path.b].map(|id| LinearLayer::new(g, id, None));
    let [a_values, b_values] = [path.a, path.b].map(|id| g.param(id).value().clone());
    let z = dropped.unwrap_or(x);
    let inner = scaled(a.forward(&z.value, Precision::F32, Output::F32), path.scale);
    let side = SideProduct::new(&inner, transposed(&b_values));
    let precision = output.precision(g);
    let y = dispatch!(precision, forward(&layer, &x.value, &side, output.residual_value()));

    let (input, path_input, residual) =
        (x.gradient_slot(), z.gradient_slot(), output.residual_slot());
    let needs_inner_gradient = a.is_trained() || path_input.needs_gradient();
    let needed = input.needs_gradient()
        || residual.needs_gradient()
        || layer.is_trained()
        || b.is_trained()
        || needs_inner_gradient;
    let kept = layer.train_weight.then(|| x.value.clone());
    let kept_z = a.train_weight.then(|| z.value.clone());
    let inner_shape = inner.shape().to_vec();
    let inner = b.train_weight.then_some(inner);
    let shares_input = dropped.is_none();
    let (shape, x_precision) = (x.shape().to_vec(), x.value.precision());
    let z_precision = z.value.precision();
    g.record(y, needed, move |dy, gradients| {
        layer.add_parameter_gradients(&dy, kept.as_ref(), gradients);
        b.add_parameter_gradients(&dy, inner.as_ref(), gradients);
        drop(inner);
        let d_inner = needs_inner_gradient
            .then(|| scaled(b.input_gradient(&dy, &inner_shape, Precision::F32), path.scale));
        if let Some(d_inner) = &d_inner {
            a.add_parameter_gradients(d_inner, kept_z.as_ref(), gradients);
        }
        match d_inner.filter(|_| path_input.needs_gradient()) {
            Some(d_inner) if shares_input => {
                let side = SideProduct::new(&d_inner, a_values);
                let dx = dispatch!(x_precision, backward(&layer, &dy, &side, &shape));
                gradients.add(input, dx);
            }
            d_inner => {
                if let Some(d_inner) = d_inner {
                    let dz = a.input_gradient(&d_inner, &shape, z_precision);
                    gradients.add(path_input, dz);
                }
                if input.needs_gradient() {
                    gradients.add(input, layer.input_gradient(&dy, &shape, x_precision));
                }
            }
        }
        gradients.add(residual, dy);
    })
}

/// The Euclidean norm of every row of `W + s B A`, `[out]`: what DoRA divides by. Ones if the parameters are
/// only planned.
pub fn merged_row_norms(g: &Graph<'_>, weight: ParamId, path: LowRank) -> Vec<f32> {
    let w = LinearLayer::new(g, weight, None);
    let (out, inner) = w.dims();
    let [a, b] = [path.a, path.b].map(|id| g.param(id).value());
    let (a, rank) = (a.clone().reshape(&[a.len() / inner, inner]), a.len() / inner);
    // ‖w‖² + 2 s b·(A w) + s² b·(A Aᵀ b), for the rows w of W and b of B.
    let aw = w.forward(&a, Precision::F32, Output::F32);
    let mut norms = a.empty_like(&[out], Precision::F32);
    norms.count(Operation::Elementwise(out * inner));
    if norms.is_planned() {
        return vec![1.0; out];
    }
    let factor = g.param(weight).value();
    let factor = factor.factor();
    let (a, b, aw) = (a.data(), b.data(), aw.data());
    let dot = |x: &[f32], y: &[f32]| -> f64 {
        x.iter().zip(y).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
    };
    let rows: Vec<_> = a.chunks_exact(inner).collect();
    let squares: Vec<f64> = rows.iter().flat_map(|x| rows.iter().map(|y| dot(x, y))).collect();
    let scale = f64::from(path.scale);
    for_each_row(norms.data_mut(), 1, |o, norm| {
        let mut w = vec![0.0; inner];
        factor.copy_to_f32(o * inner, &mut w);
        let b = &b[o * rank..][..rank];
        let mut square = dot(&w, &w);
        for (i, bi) in b.iter().enumerate() {
            let bi = scale * f64::from(*bi);
            square += 2.0 * bi * f64::from(aw[i * out + o]);
            for (j, bj) in b.iter().enumerate() {
                square += bi * scale * f64::from(*bj) * squares[i * rank + j];
            }
        }
        norm[0] = square.max(0.0).sqrt() as f32;
    });
    norms.into_data()
}

/// A product of low rank that is added to the sums of another: `left [rows, r]` times `right [r, cols]`,
/// f32.
struct SideProduct {
    left: Tensor,
    right: Tensor,
    rank: usize,
    cols: usize,
}

/// Sums that the side product is added to at a time: a part of those that kernels hand out together.
const RUN: usize = 16;

impl SideProduct {
    /// `right` has the elements of `[r, cols]` in any shape.
    fn new(left: &Tensor, right: Tensor) -> Self {
        let rank = left.width();
        Self { left: left.clone(), cols: right.len() / rank, rank, right }
    }

    /// Calls `store(col, values)` for short runs of `sums`, to which the side product is added.
    #[inline(always)]
    fn add_to(&self, row: usize, col: usize, sums: &[f32], mut store: impl FnMut(usize, &[f32])) {
        let left = &self.left.data()[row * self.rank..][..self.rank];
        let right = self.right.data();
        let mut values = [0.0f32; RUN];
        // A length that the compiler knows keeps the values in registers.
        for (at, sums) in (col..).step_by(RUN).zip(sums.chunks_exact(RUN)) {
            values.copy_from_slice(sums);
            for k in 0..left.len() {
                let (factor, right) = (left[k], &right[k * self.cols + at..][..RUN]);
                for i in 0..RUN {
                    values[i] = right[i].mul_add(factor, values[i]);
                }
            }
            store(at, &values);
        }
        let rest = sums.len() % RUN;
        if rest > 0 {
            let at = col + sums.len() - rest;
            values[..rest].copy_from_slice(&sums[sums.len() - rest..]);
            for k in 0..left.len() {
                let (factor, right) = (left[k], &right[k * self.cols + at..][..rest]);
                for i in 0..rest {
                    values[i] = right[i].mul_add(factor, values[i]);
                }
            }
            store(at, &values[..rest]);
        }
    }
}

/// `x Wᵀ + b + side + residual`.
fn forward<T: Element>(
    layer: &LinearLayer,
    x: &Tensor,
    side: &SideProduct,
    residual: Option<&Tensor>,
) -> Tensor {
    let width = layer.dims().0;
    let mut y = T::empty_like(x, &layer.output_shape(x));
    layer.count_product(&y, y.len() / width);
    if y.is_planned() {
        return y;
    }
    let zeros = if layer.bias().is_none() { vec![0.0; width] } else { Vec::new() };
    let bias = layer.bias().unwrap_or(&zeros);
    let residual = residual.map(Tensor::data);
    let out = Rows::new(T::slice_mut(&mut y), width);
    layer.forward_product(
        x,
        #[inline(always)]
        |row, col, sums| {
            side.add_to(row, col, sums, |at, values| {
                let n = values.len();
                // SAFETY: The output is this function's own tensor of the product's size, and every element
                // is handed out once.
                let out = unsafe { out.at(row, at, n) };
                let bias = &bias[at..][..n];
                match residual.map(|r| &r[row * width + at..][..n]) {
                    None => {
                        for i in 0..n {
                            out[i] = T::from_f32(values[i] + bias[i]);
                        }
                    }
                    Some(residual) => {
                        for i in 0..n {
                            out[i] = T::from_f32(values[i] + bias[i] + residual[i]);
                        }
                    }
                }
            });
        },
    );
    y
}

/// `dy W + side`.
fn backward<T: Element>(
    layer: &LinearLayer,
    dy: &Tensor,
    side: &SideProduct,
    shape: &[usize],
) -> Tensor {
    let (out, inner) = layer.dims();
    let mut dx = T::empty_like(dy, shape);
    layer.count_backward_product(&dx, dy.len() / out);
    if dx.is_planned() {
        return dx;
    }
    let to = Rows::new(T::slice_mut(&mut dx), inner);
    layer.backward_product(
        dy,
        #[inline(always)]
        |row, col, sums| {
            side.add_to(row, col, sums, |at, values| {
                // SAFETY: The output is this function's own tensor of the product's size, and every element
                // is handed out once.
                let to = unsafe { to.at(row, at, values.len()) };
                for i in 0..values.len() {
                    to[i] = T::from_f32(values[i]);
                }
            });
        },
    );
    dx
}

/// `s x`, computed in place. For values with few columns.
fn scaled(mut x: Tensor, s: f32) -> Tensor {
    x.count_in_place(Operation::Elementwise(x.len()));
    if !x.is_planned() {
        x.data_mut().iter_mut().for_each(|x| *x *= s);
    }
    x
}

/// The transpose `[r, out]` of `b [out, r]`, which may have trailing dimensions of 1.
fn transposed(b: &Tensor) -> Tensor {
    let (out, rank) = (b.shape()[0], b.len() / b.shape()[0]);
    let mut to = b.empty_like(&[rank, out], Precision::F32);
    to.count(Operation::Elementwise(b.len()));
    if !to.is_planned() {
        let b = b.data();
        for (i, to) in to.data_mut().iter_mut().enumerate() {
            *to = b[i % out * rank + i / out];
        }
    }
    to
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::linear;
    use crate::ops::testing::{assert_close, check_gradients, random_parameters};
    use crate::tensor::Parameters;

    /// x, W, b, A, B and the residual.
    fn inputs(rows: usize, inner: usize, out: usize, rank: usize) -> (Parameters, Vec<ParamId>) {
        let shapes: [&[usize]; 6] =
            [&[rows, inner], &[out, inner], &[out], &[rank, inner], &[out, rank], &[rows, out]];
        random_parameters(&shapes)
    }

    fn path(id: &[ParamId], scale: f32) -> LowRank {
        LowRank {
            a: id[3],
            b: id[4],
            magnitude: None,
            scale,
            alpha: scale,
            use_rslora: false,
            dropout: 0.0,
        }
    }

    /// Sizes around those of registers and panels.
    #[test]
    fn matches_a_layer_with_the_merged_weight() {
        for (rows, inner, out, rank) in
            [(1, 1, 1, 1), (15, 33, 31, 3), (17, 40, 70, 8), (29, 5, 130, 2)]
        {
            let (params, id) = inputs(rows, inner, out, rank);
            let mut merged = params.clone();
            let [a, b] = [3, 4].map(|i| params.get(id[i]).value().data());
            let w = merged.get_mut(id[1]).value_mut().data_mut();
            for (o, row) in w.chunks_exact_mut(inner).enumerate() {
                for (j, w) in row.iter_mut().enumerate() {
                    let path = |k: usize| b[o * rank + k] * a[k * inner + j];
                    *w += 1.7 * (0..rank).map(path).sum::<f32>();
                }
            }
            for in_run_precision in [false, true] {
                let layer = (id[1], Some(id[2]));
                let g = &mut Graph::inference(&params);
                let (x, r) = (g.parameter(id[0]), g.parameter(id[5]));
                let output =
                    if in_run_precision { Output::RunPrecision } else { Output::AddTo(&r) };
                let y = low_rank_linear(g, &x, None, layer, path(&id, 1.7), output);
                let want = linear(&mut Graph::inference(&merged), &x, layer.0, layer.1, output);
                assert_eq!(y.shape(), want.shape());
                assert_close(y.value.data(), want.value.data(), 1e-5);
            }
        }
    }

    #[test]
    fn gradients_match_finite_differences() {
        let (mut params, id) = inputs(5, 6, 7, 2);
        let step = |g: &mut Graph<'_>| {
            let (x, r) = (g.parameter(id[0]), g.parameter(id[5]));
            let layer = (id[1], Some(id[2]));
            low_rank_linear(g, &x, None, layer, path(&id, 0.6), Output::AddTo(&r))
        };
        check_gradients(&mut params, step, 1e-3);
        // The path has an input of its own.
        let shapes: [&[usize]; 6] = [&[5, 6], &[7, 6], &[7], &[2, 6], &[7, 2], &[5, 6]];
        let (mut params, id) = random_parameters(&shapes);
        let step = |g: &mut Graph<'_>| {
            let (x, z) = (g.parameter(id[0]), g.parameter(id[5]));
            let layer = (id[1], Some(id[2]));
            low_rank_linear(g, &x, Some(&z), layer, path(&id, 0.6), Output::F32)
        };
        check_gradients(&mut params, step, 1e-3);
    }

    #[test]
    fn row_norms_are_those_of_the_merged_weight() {
        let (params, id) = inputs(1, 33, 9, 3);
        let [w, a, b] = [1, 3, 4].map(|i| params.get(id[i]).value().data());
        let want: Vec<f32> = (0..9)
            .map(|o| {
                let merged = (0..33).map(|j| {
                    let path = (0..3).map(|k| b[o * 3 + k] * a[k * 33 + j]).sum::<f32>();
                    w[o * 33 + j] + 0.8 * path
                });
                merged.map(|x| x * x).sum::<f32>().sqrt()
            })
            .collect();
        assert_close(
            &merged_row_norms(&Graph::inference(&params), id[1], path(&id, 0.8)),
            &want,
            1e-5,
        );
    }
}
