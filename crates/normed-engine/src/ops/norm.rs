//! The norms over the last dimension, LayerNorm and RMSNorm, in one implementation.
//!
//! LayerNorm is `y = (x - mean) / sqrt(var + eps) * weight + bias` with the biased variance (Ba et al. 2016,
//! arXiv 1607.06450, eq. 4), as `torch.nn.LayerNorm`. RMSNorm is `y = x / sqrt(mean(x²) + eps) * weight`
//! (Zhang & Sennrich 2019, arXiv 1910.07467, eq. 4), as transformers' `LlamaRMSNorm`.
//!
//! Keeps for backward: the normalized input `h` in the run's precision, and `r`, the reciprocal root, one
//! f32 a row. With `n = dy * weight`, backward is `dx = (n - mean(n) - h * mean(n * h)) * r`, for RMSNorm
//! without `mean(n)`; the weight's gradient is the sum of `dy * h` over rows, the bias's that of `dy`.

use super::element::{Element, dispatch};
use super::simd::{dot, fold, for_each_row, for_each_row_triple, sum, sum_rows};
use crate::tensor::{GradientSlot, Gradients, Graph, Operation, ParamId, Precision, Tensor, Var};

/// LayerNorm over the last dimension: `x [.., C]`, f32, becomes `[.., C]` in the precision `output`, with
/// the weight and the bias `[C]`.
///
/// # Panics
/// If the weight has not as many elements as the rows of `x`.
///
/// # Example
/// ```
/// use normed_engine::ops::layer_norm;
/// use normed_engine::tensor::{
///     Graph, Module, NormPosition, ParamKind, Parameters, Precision, Tensor, Tower, Var,
/// };
///
/// let mut params = Parameters::new();
/// let mut scope = params.scope(Tower::Vision, "norm");
/// let module = Module::Norm(NormPosition::Final);
/// let weight = scope.declare("weight", &[2], module, ParamKind::Weight);
/// let bias = scope.declare("bias", &[2], module, ParamKind::Bias);
/// params.get_mut(weight).set(Tensor::new(&[2], vec![2.0, 1.0]));
/// params.get_mut(bias).set(Tensor::new(&[2], vec![0.0, 5.0]));
///
/// let mut g = Graph::inference(&params);
/// let x = Var::constant(Tensor::new(&[1, 2], vec![1.0, 3.0]));
/// let y = layer_norm(&mut g, &x, weight, bias, 0.0, Precision::F32);
/// // Mean 2 and standard deviation 1: the normalized row is [-1, 1].
/// assert_eq!(y.value.data(), &[-2.0, 6.0]);
/// ```
pub fn layer_norm(
    g: &mut Graph<'_>,
    x: &Var,
    weight: ParamId,
    bias: ParamId,
    eps: f32,
    output: Precision,
) -> Var {
    norm::<true>(g, x, weight, Some(bias), eps, output)
}

/// RMSNorm over the last dimension: `x [.., C]`, f32, becomes `[.., C]` in the precision `output`, with the
/// weight `[C]`.
///
/// # Panics
/// If the weight has not as many elements as the rows of `x`.
pub fn rms_norm(g: &mut Graph<'_>, x: &Var, weight: ParamId, eps: f32, output: Precision) -> Var {
    norm::<false>(g, x, weight, None, eps, output)
}

/// LayerNorm if `CENTERED`, with a bias; otherwise RMSNorm, without.
fn norm<const CENTERED: bool>(
    g: &mut Graph<'_>,
    x: &Var,
    weight: ParamId,
    bias: Option<ParamId>,
    eps: f32,
    output: Precision,
) -> Var {
    let value = |id| g.param(id).value().clone();
    let norm = Norm::<CENTERED> { weight: value(weight), bias: bias.map(value), eps };
    assert_eq!(
        x.value.width(),
        norm.weight.len(),
        "the width of a norm's input and that of {}",
        g.param(weight).name()
    );
    let trained_weight = Some(weight).filter(|&id| g.needs_gradient_of(id));
    let trained_bias = bias.filter(|&id| g.needs_gradient_of(id));
    let input = x.gradient_slot();
    if !input.needs_gradient() && trained_weight.is_none() && trained_bias.is_none() {
        return Var::constant(dispatch!(output, norm.forward(&x.value)));
    }
    let run_precision = g.precision();
    let (y, normalized, roots) = dispatch!(run_precision, norm.forward_keeping(&x.value, output));
    let weight = norm.weight;
    g.record(y, true, move |dy, gradients| {
        let kept =
            Kept::<CENTERED> { normalized, roots, weight, trained_weight, trained_bias, input };
        dispatch!(run_precision, kept.backward(&dy, gradients));
    })
}

/// The parameters of a norm.
struct Norm<const CENTERED: bool> {
    weight: Tensor,
    /// Present if `CENTERED`.
    bias: Option<Tensor>,
    eps: f32,
}

impl<const CENTERED: bool> Norm<CENTERED> {
    /// The output alone.
    fn forward<T: Element>(&self, x: &Tensor) -> Tensor {
        let mut y = T::empty_like(x, x.shape());
        y.count(Operation::Elementwise(x.len()));
        if y.is_planned() {
            return y;
        }
        let (x, width) = (x.data(), x.width());
        for_each_row(
            T::slice_mut(&mut y),
            width,
            #[inline(always)]
            |i, y| {
                let (x, y) = (&x[i * width..][..width], &mut y[..width]);
                let (mean, root) = self.statistics(x);
                self.each(x, mean, root, |j, _, out| y[j] = T::from_f32(out));
            },
        );
        y
    }

    /// The output, the normalized input in the precision `K`, and the reciprocal root of each row.
    fn forward_keeping<K: Element>(
        &self,
        x: &Tensor,
        output: Precision,
    ) -> (Tensor, Tensor, Tensor) {
        match output {
            Precision::F32 => self.forward_keeping_in::<K, f32>(x),
            Precision::Bf16 => self.forward_keeping_in::<K, half::bf16>(x),
        }
    }

    fn forward_keeping_in<K: Element, T: Element>(&self, x: &Tensor) -> (Tensor, Tensor, Tensor) {
        let (mut y, mut normalized) = (T::empty_like(x, x.shape()), K::empty_like(x, x.shape()));
        let mut roots = x.empty_like(&[x.rows()], Precision::F32);
        y.count(Operation::Elementwise(x.len()));
        if y.is_planned() {
            return (y, normalized, roots);
        }
        let (x, width) = (x.data(), x.width());
        for_each_row_triple(
            T::slice_mut(&mut y),
            K::slice_mut(&mut normalized),
            width,
            roots.data_mut(),
            #[inline(always)]
            |i, y, normalized, kept_root| {
                let x = &x[i * width..][..width];
                let (y, normalized) = (&mut y[..width], &mut normalized[..width]);
                let (mean, root) = self.statistics(x);
                *kept_root = root;
                self.each(x, mean, root, |j, h, out| {
                    normalized[j] = K::from_f32(h);
                    y[j] = T::from_f32(out);
                });
            },
        );
        (y, normalized, roots)
    }

    /// The mean of a row, 0 unless `CENTERED`, and the reciprocal root of its variance or mean square.
    ///
    /// Two passes over the row keep the variance accurate where the mean is large.
    #[inline(always)]
    fn statistics(&self, x: &[f32]) -> (f32, f32) {
        let width = x.len() as f32;
        if CENTERED {
            let mean = sum(x) / width;
            let square = fold(x, x, x, |acc, x, _, _| (x - mean).mul_add(x - mean, acc));
            (mean, 1.0 / (square / width + self.eps).sqrt())
        } else {
            (0.0, 1.0 / (dot(x, x) / width + self.eps).sqrt())
        }
    }

    /// Calls `f(j, normalized, output)` for every element of a row.
    #[inline(always)]
    fn each(&self, x: &[f32], mean: f32, root: f32, mut f: impl FnMut(usize, f32, f32)) {
        let w = &self.weight.data()[..x.len()];
        if let Some(bias) = self.bias.as_ref().filter(|_| CENTERED) {
            let b = &bias.data()[..x.len()];
            for j in 0..x.len() {
                let h = (x[j] - mean) * root;
                f(j, h, h.mul_add(w[j], b[j]));
            }
        } else {
            for j in 0..x.len() {
                let h = x[j] * root;
                f(j, h, h * w[j]);
            }
        }
    }
}

/// What backward needs.
struct Kept<const CENTERED: bool> {
    /// `[.., C]`.
    normalized: Tensor,
    /// The reciprocal root of each row, f32.
    roots: Tensor,
    weight: Tensor,
    trained_weight: Option<ParamId>,
    trained_bias: Option<ParamId>,
    input: GradientSlot,
}

impl<const CENTERED: bool> Kept<CENTERED> {
    /// Adds the gradients that are wanted. `K` is the precision of the normalized input.
    fn backward<K: Element>(self, dy: &Tensor, gradients: &mut Gradients) {
        match dy.precision() {
            Precision::F32 => self.backward_from::<K, f32>(dy, gradients),
            Precision::Bf16 => self.backward_from::<K, half::bf16>(dy, gradients),
        }
    }

    fn backward_from<K: Element, D: Element>(self, dy: &Tensor, gradients: &mut Gradients) {
        if CENTERED {
            self.add_weight_and_bias_gradients::<K, D>(dy, gradients);
        } else {
            self.add_weight_gradient::<K, D>(dy, gradients);
        }
        if self.input.needs_gradient() {
            self.add_input_gradient::<K, D>(dy, gradients);
        }
    }

    /// One pass over the rows for both parameters.
    fn add_weight_and_bias_gradients<K: Element, D: Element>(
        &self,
        dy: &Tensor,
        gradients: &mut Gradients,
    ) {
        if self.trained_weight.is_none() && self.trained_bias.is_none() {
            return;
        }
        let width = self.weight.len();
        let sums = sum_rows(
            dy,
            self.roots.len(),
            2 * width,
            #[inline(always)]
            |i, sums| {
                let (dw, db) = sums.split_at_mut(width);
                let (dy, h) = self.row::<K, D>(dy, i);
                for ((dw, db), (dy, h)) in dw.iter_mut().zip(db).zip(dy.iter().zip(h)) {
                    *dw = dy.to_f32().mul_add(h.to_f32(), *dw);
                    *db += dy.to_f32();
                }
            },
        );
        for (id, start) in [(self.trained_weight, 0), (self.trained_bias, width)] {
            if let Some(id) = id {
                gradients.add_param(id, sums.copy_elements(start, &[width]));
            }
        }
    }

    /// The weight alone: RMSNorm has no bias.
    fn add_weight_gradient<K: Element, D: Element>(&self, dy: &Tensor, gradients: &mut Gradients) {
        let Some(id) = self.trained_weight else { return };
        let dw = sum_rows(
            dy,
            self.roots.len(),
            self.weight.len(),
            #[inline(always)]
            |i, dw| {
                let (dy, h) = self.row::<K, D>(dy, i);
                for (dw, (dy, h)) in dw.iter_mut().zip(dy.iter().zip(h)) {
                    *dw = dy.to_f32().mul_add(h.to_f32(), *dw);
                }
            },
        );
        gradients.add_param(id, dw);
    }

    fn add_input_gradient<K: Element, D: Element>(&self, dy: &Tensor, gradients: &mut Gradients) {
        let width = self.weight.len();
        // In a residual stream the input may already have a gradient from the other path: one pass then
        // computes this one and adds both.
        let (mut dx, accumulates) = match gradients.take(self.input) {
            Some(so_far) => (so_far, true),
            None => (dy.empty_like(dy.shape(), Precision::F32), false),
        };
        dx.count_in_place(Operation::Elementwise(dy.len()));
        if !dx.is_planned() {
            let roots = self.roots.data();
            for_each_row(
                dx.data_mut(),
                width,
                #[inline(always)]
                |i, dx| {
                    let dx = &mut dx[..width];
                    let (dy, h) = self.row::<K, D>(dy, i);
                    self.input_gradient(dy, h, roots[i], |j, d| {
                        dx[j] = if accumulates { dx[j] + d } else { d };
                    });
                },
            );
        }
        gradients.add(self.input, dx);
    }

    /// Row `i` of the output's gradient and of the normalized input.
    #[inline(always)]
    fn row<'r, K: Element, D: Element>(&'r self, dy: &'r Tensor, i: usize) -> (&'r [D], &'r [K]) {
        let row = i * self.weight.len()..(i + 1) * self.weight.len();
        (&D::slice(dy)[row.clone()], &K::slice(&self.normalized)[row])
    }

    /// Calls `f(j, dx)` for every element of a row.
    #[inline(always)]
    fn input_gradient<K: Element, D: Element>(
        &self,
        dy: &[D],
        h: &[K],
        root: f32,
        mut f: impl FnMut(usize, f32),
    ) {
        let (w, width) = (&self.weight.data()[..dy.len()], dy.len() as f32);
        if CENTERED {
            let scale = 1.0 / width;
            let mean = dot(w, dy) * scale;
            let along = weighted_dot(w, dy, h) * scale;
            for j in 0..dy.len() {
                f(j, (dy[j].to_f32() * w[j] - mean - h[j].to_f32() * along) * root);
            }
        } else {
            let along = weighted_dot(w, dy, h) / width;
            for j in 0..dy.len() {
                f(j, (dy[j].to_f32() * w[j] - h[j].to_f32() * along) * root);
            }
        }
    }
}

/// The sum of `w * dy * h` over a row.
#[inline(always)]
fn weighted_dot<K: Element, D: Element>(w: &[f32], dy: &[D], h: &[K]) -> f32 {
    fold(w, dy, h, |acc, w, dy, h| (w * dy.to_f32()).mul_add(h.to_f32(), acc))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::add;
    use crate::ops::testing::{assert_close, check_gradients, random_parameters};

    const EPS: f32 = 1e-5;

    /// LayerNorm with a bias, RMSNorm without.
    fn norm(g: &mut Graph<'_>, x: &Var, id: &[ParamId], output: Precision) -> Var {
        match *id {
            [weight, bias] => layer_norm(g, x, weight, bias, EPS, output),
            [weight] => rms_norm(g, x, weight, EPS, output),
            _ => unreachable!("a norm has one or two parameters"),
        }
    }

    /// One row in f64.
    fn plain_norm(x: &[f32], w: &[f32], b: Option<&[f32]>) -> Vec<f32> {
        let n = x.len() as f64;
        let mean = b.map_or(0.0, |_| x.iter().map(|&v| f64::from(v)).sum::<f64>() / n);
        let square = x.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n;
        let h = x.iter().map(|&v| (f64::from(v) - mean) / (square + f64::from(EPS)).sqrt());
        h.enumerate()
            .map(|(j, h)| (h * f64::from(w[j]) + b.map_or(0.0, |b| f64::from(b[j]))) as f32)
            .collect()
    }

    #[test]
    fn both_norms_match_the_plain_formula() {
        for width in [1, 15, 16, 17, 31, 33, 37, 300] {
            let (params, id) = random_parameters(&[&[3, width], &[width], &[width]]);
            let [x, w, b] = [0, 1, 2].map(|i| params.get(id[i]).value().data());
            for (id_of_norm, b) in [(&id[1..], Some(b)), (&id[1..2], None)] {
                let want: Vec<f32> = x.chunks(width).flat_map(|x| plain_norm(x, w, b)).collect();
                // Without and with what backward keeps.
                for mut g in [Graph::inference(&params), Graph::training(&params)] {
                    let x = g.parameter(id[0]);
                    for (output, tolerance) in [(Precision::F32, 1e-6), (Precision::Bf16, 4e-3)] {
                        let y = norm(&mut g, &x, id_of_norm, output).value;
                        assert_eq!(y.precision(), output);
                        assert_close(y.to_precision(Precision::F32).data(), &want, tolerance);
                    }
                }
            }
        }
    }

    #[test]
    fn a_large_mean_keeps_the_variance_accurate() {
        let (mut params, id) = random_parameters(&[&[1, 16], &[16], &[16]]);
        let shifted: Vec<f32> = (0..16).map(|i| 4096.0 + i as f32).collect();
        params.get_mut(id[0]).set(Tensor::new(&[1, 16], shifted));
        params.get_mut(id[1]).set(Tensor::new(&[16], vec![1.0; 16]));
        params.get_mut(id[2]).set(Tensor::new(&[16], vec![0.0; 16]));
        let mut g = Graph::inference(&params);
        let x = g.parameter(id[0]);
        let y = layer_norm(&mut g, &x, id[1], id[2], 1e-12, Precision::F32);
        let want: Vec<f32> = (0..16).map(|i| (i as f32 - 7.5) / 21.25f32.sqrt()).collect();
        assert_close(y.value.data(), &want, 1e-5);
    }

    #[test]
    fn gradients_match_finite_differences() {
        let shapes: [&[usize]; 3] = [&[3, 21], &[21], &[21]];
        for shapes in [&shapes[..], &shapes[..2]] {
            let (mut params, id) = random_parameters(shapes);
            let alone = |g: &mut Graph<'_>| {
                let (x, precision) = (g.parameter(id[0]), g.precision());
                norm(g, &x, &id[1..], precision)
            };
            check_gradients(&mut params, alone, 2e-3);
            // In a residual stream the input gets its gradient over two paths.
            let with_residual = |g: &mut Graph<'_>| {
                let x = g.parameter(id[0]);
                let y = norm(g, &x, &id[1..], Precision::F32);
                add(g, y, &x)
            };
            check_gradients(&mut params, with_residual, 2e-3);
        }
    }
}
