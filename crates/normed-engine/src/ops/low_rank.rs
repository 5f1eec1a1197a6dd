//! `y = x Wᵀ + b + s (z Aᵀ) Bᵀ (+ residual)`: a linear layer beside which a path of low rank runs, LoRA (Hu
//! et al. 2021, arXiv 2106.09685, eq. 3). `z` is `x`, or `x` with elements dropped.
//!
//! The path joins where the large product stores its sums, forward and backward: it costs the products
//! with `A` and `B` alone. Keeps: `s z Aᵀ`, which has `r` columns; `z` when `A` is trained, and `x` when
//! `W` is. Layers that read the same `x` share what they keep of it.

use super::linear::{Layer, Output};
use super::number::{Number, in_precision};
use super::product::Rows;
use super::simd::for_rows;
use crate::tensor::{Graph, LowRank, Operation, ParamId, Precision, Tensor, Var};

/// `x [.., in] -> [.., out]` over the weight and bias of `layer`. `dropped` is `z`, where that is another
/// value than `x`.
pub fn low_rank_linear(
    g: &mut Graph<'_>,
    x: &Var,
    dropped: Option<&Var>,
    layer: (ParamId, Option<ParamId>),
    path: LowRank,
    output: Output<'_>,
) -> Var {
    let layer = Layer::of(g, layer.0, layer.1);
    let [a, b] = [path.a, path.b].map(|id| Layer::of(g, id, None));
    let [a_values, b_values] = [path.a, path.b].map(|id| g.param(id).value().clone());
    let z = dropped.unwrap_or(x);
    let inner = scaled(a.output(&z.value, Precision::F32, Output::F32), path.scale);
    let side = Side::new(&inner, transposed(&b_values));
    let y = in_precision!(output.precision(g), forward(&layer, &x.value, &side, output.added()));

    let (input, path_input, residual) = (x.gradient_slot(), z.gradient_slot(), output.residual());
    let below = a.trained() || path_input.needs_gradient();
    let needed = input.needs_gradient()
        || residual.needs_gradient()
        || layer.trained()
        || b.trained()
        || below;
    let kept = layer.train_w.then(|| x.value.clone());
    let kept_z = a.train_w.then(|| z.value.clone());
    let inner_shape = inner.shape().to_vec();
    let inner = b.train_w.then_some(inner);
    let one = dropped.is_none();
    let (shape, x_precision) = (x.shape().to_vec(), x.value.precision());
    let z_precision = z.value.precision();
    g.record(y, needed, move |dy, gradients| {
        layer.add_gradients(&dy, kept.as_ref(), gradients);
        b.add_gradients(&dy, inner.as_ref(), gradients);
        drop(inner);
        let d_inner =
            below.then(|| scaled(b.input_gradient(&dy, &inner_shape, Precision::F32), path.scale));
        if let Some(d_inner) = &d_inner {
            a.add_gradients(d_inner, kept_z.as_ref(), gradients);
        }
        match d_inner.filter(|_| path_input.needs_gradient()) {
            Some(d_inner) if one => {
                let side = Side::new(&d_inner, a_values);
                let dx = in_precision!(x_precision, backward(&layer, &dy, &side, &shape));
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

/// `‖w‖` of every row `w [in]` of `W + s B A`, `[out]`. Nobody looks at them if the parameters are planned.
pub fn merged_row_norms(g: &Graph<'_>, weight: ParamId, path: LowRank) -> Vec<f32> {
    let w = Layer::of(g, weight, None);
    let (out, inner) = w.widths();
    let [a, b] = [path.a, path.b].map(|id| g.param(id).value());
    let (a, rank) = (a.clone().reshape(&[a.len() / inner, inner]), a.len() / inner);
    // ‖w‖² + 2 s b·(A w) + s² b·(A Aᵀ b), for the rows w of W and b of B.
    let aw = w.output(&a, Precision::F32, Output::F32);
    let mut norms = a.empty_like(&[out], Precision::F32);
    norms.count(Operation::Pass(out * inner));
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
    for_rows(norms.data_mut(), 1, |o, norm| {
        let mut w = vec![0.0; inner];
        factor.widen(o * inner, &mut w);
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

/// What joins sums: `left right`, `left [rows, r]` and `right [r, cols]`, f32.
struct Side {
    left: Tensor,
    right: Tensor,
    rank: usize,
    cols: usize,
}

/// Sums that a side path joins at a time: a part of what a kernel hands out at once.
const PIECE: usize = 16;

impl Side {
    /// `right` is `[r, cols]` or as many elements in another shape.
    fn new(left: &Tensor, right: Tensor) -> Self {
        let rank = left.width();
        Self { left: left.clone(), cols: right.len() / rank, rank, right }
    }

    /// Hands `sums` of a run of columns to `store`, piece by piece, the path's part added. Only for values
    /// with elements.
    #[inline(always)]
    fn join(&self, row: usize, col: usize, sums: &[f32], mut store: impl FnMut(usize, &[f32])) {
        let left = &self.left.data()[row * self.rank..][..self.rank];
        let right = self.right.data();
        let mut joined = [0.0f32; PIECE];
        // In registers, as the compiler knows how many there are.
        for (at, sums) in (col..).step_by(PIECE).zip(sums.chunks_exact(PIECE)) {
            joined.copy_from_slice(sums);
            for k in 0..left.len() {
                let (factor, right) = (left[k], &right[k * self.cols + at..][..PIECE]);
                for i in 0..PIECE {
                    joined[i] = right[i].mul_add(factor, joined[i]);
                }
            }
            store(at, &joined);
        }
        let rest = sums.len() % PIECE;
        if rest > 0 {
            let at = col + sums.len() - rest;
            joined[..rest].copy_from_slice(&sums[sums.len() - rest..]);
            for k in 0..left.len() {
                let (factor, right) = (left[k], &right[k * self.cols + at..][..rest]);
                for i in 0..rest {
                    joined[i] = right[i].mul_add(factor, joined[i]);
                }
            }
            store(at, &joined[..rest]);
        }
    }
}

/// `x Wᵀ + b + side + added`.
fn forward<T: Number>(layer: &Layer, x: &Tensor, side: &Side, added: Option<&Tensor>) -> Tensor {
    let width = layer.widths().0;
    let mut y = T::empty_like(x, &layer.output_shape(x));
    if layer.plans(&y, y.len() / width) {
        return y;
    }
    let zeros = if layer.bias().is_none() { vec![0.0; width] } else { Vec::new() };
    let bias = layer.bias().unwrap_or(&zeros);
    let added = added.map(Tensor::data);
    let out = Rows::new(T::of_mut(&mut y), width);
    layer.product(
        x,
        #[inline(always)]
        |row, col, sums| {
            side.join(row, col, sums, |at, joined| {
                let n = joined.len();
                // SAFETY: this function's own tensor; every element is handed out once.
                let out = unsafe { out.at(row, at, n) };
                let bias = &bias[at..][..n];
                match added.map(|a| &a[row * width + at..][..n]) {
                    None => {
                        for i in 0..n {
                            out[i] = T::nearest(joined[i] + bias[i]);
                        }
                    }
                    Some(a) => {
                        for i in 0..n {
                            out[i] = T::nearest(joined[i] + bias[i] + a[i]);
                        }
                    }
                }
            });
        },
    );
    y
}

/// `dy W + side`.
fn backward<T: Number>(layer: &Layer, dy: &Tensor, side: &Side, shape: &[usize]) -> Tensor {
    let (out, inner) = layer.widths();
    let mut dx = T::empty_like(dy, shape);
    if layer.plans(&dx, dy.len() / out) {
        return dx;
    }
    let to = Rows::new(T::of_mut(&mut dx), inner);
    layer.product_back(
        dy,
        #[inline(always)]
        |row, col, sums| {
            side.join(row, col, sums, |at, joined| {
                // SAFETY: this function's own tensor; every element is handed out once.
                let to = unsafe { to.at(row, at, joined.len()) };
                for i in 0..joined.len() {
                    to[i] = T::nearest(joined[i]);
                }
            });
        },
    );
    dx
}

/// `s x`, in the place of `x`, which has few columns.
fn scaled(mut x: Tensor, s: f32) -> Tensor {
    x.count_in_place(Operation::Pass(x.len()));
    if !x.is_planned() {
        x.data_mut().iter_mut().for_each(|x| *x *= s);
    }
    x
}

/// `[out, r, ..] -> [r, out]`, where what is behind `r` is single.
fn transposed(b: &Tensor) -> Tensor {
    let (out, rank) = (b.shape()[0], b.len() / b.shape()[0]);
    let mut to = b.empty_like(&[rank, out], Precision::F32);
    to.count(Operation::Pass(b.len()));
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
    use crate::ops::check::{close, finite_differences, parameters};
    use crate::ops::linear;
    use crate::tensor::Parameters;

    /// x, W, b, A, B, residual.
    fn inputs(rows: usize, inner: usize, out: usize, rank: usize) -> (Parameters, Vec<ParamId>) {
        let shapes: [&[usize]; 6] =
            [&[rows, inner], &[out, inner], &[out], &[rank, inner], &[out, rank], &[rows, out]];
        parameters(&shapes)
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

    /// Against the layer with the dense matrix `W + s B A`, at lengths around those of registers and panels.
    #[test]
    fn equals_the_merged_layer() {
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
            for narrow in [false, true] {
                let layer = (id[1], Some(id[2]));
                let g = &mut Graph::inference(&params);
                let (x, r) = (g.parameter(id[0]), g.parameter(id[5]));
                let output = if narrow { Output::RunPrecision } else { Output::AddTo(&r) };
                let y = low_rank_linear(g, &x, None, layer, path(&id, 1.7), output);
                let want = linear(&mut Graph::inference(&merged), &x, layer.0, layer.1, output);
                assert_eq!(y.shape(), want.shape());
                close(y.value.data(), want.value.data(), 1e-5);
            }
        }
    }

    #[test]
    fn finite_differences_agree() {
        let (mut params, id) = inputs(5, 6, 7, 2);
        let step = |g: &mut Graph<'_>| {
            let (x, r) = (g.parameter(id[0]), g.parameter(id[5]));
            let layer = (id[1], Some(id[2]));
            low_rank_linear(g, &x, None, layer, path(&id, 0.6), Output::AddTo(&r))
        };
        finite_differences(&mut params, step, 1e-3);
        // A value of its own for the path.
        let shapes: [&[usize]; 6] = [&[5, 6], &[7, 6], &[7], &[2, 6], &[7, 2], &[5, 6]];
        let (mut params, id) = parameters(&shapes);
        let step = |g: &mut Graph<'_>| {
            let (x, z) = (g.parameter(id[0]), g.parameter(id[5]));
            let layer = (id[1], Some(id[2]));
            low_rank_linear(g, &x, Some(&z), layer, path(&id, 0.6), Output::F32)
        };
        finite_differences(&mut params, step, 1e-3);
    }

    #[test]
    fn norms_are_those_of_the_merged_rows() {
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
        close(&merged_row_norms(&Graph::inference(&params), id[1], path(&id, 0.8)), &want, 1e-5);
    }
}
