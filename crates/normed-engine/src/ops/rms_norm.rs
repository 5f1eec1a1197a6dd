//! RMSNorm over the last dimension: `y = x / sqrt(mean(x²) + eps) * weight` (Zhang & Sennrich 2019,
//! arXiv 1910.07467, eq. 4), as transformers' `LlamaRMSNorm`.
//!
//! Keeps: the normalised input, in the run's precision, and one reciprocal root a row. With
//! `n = dy * weight` and the normalised input `h`, backward is `dx = (n - h * mean(n * h)) / root`.

use super::number::{Number, in_precision};
use super::simd::{dot, fold, for_row_triples, for_rows, sum_rows};
use crate::tensor::{GradientSlot, Gradients, Graph, Operation, ParamId, Precision, Tensor, Var};

/// `x [.., C] -> [.., C]`, in the precision `output`.
pub fn rms_norm(g: &mut Graph<'_>, x: &Var, weight: ParamId, eps: f32, output: Precision) -> Var {
    let gain = Gain { w: g.param(weight).value().clone(), eps };
    assert_eq!(x.value.width(), gain.w.len(), "{}", g.param(weight).name);
    let train_w = Some(weight).filter(|&id| g.needs_gradient_of(id));
    let input = x.gradient_slot();
    if !input.needs_gradient() && train_w.is_none() {
        return Var::constant(in_precision!(output, gain.forward(&x.value)));
    }
    let inner = g.precision();
    let (y, normalised, roots) = in_precision!(inner, gain.forward_keeping(&x.value, output));
    let w = gain.w;
    g.record(y, true, move |dy, gradients| {
        let kept = Kept { normalised, roots, w, train_w, input };
        in_precision!(inner, kept.backward(&dy, gradients));
    })
}

/// The parameter.
struct Gain {
    w: Tensor,
    eps: f32,
}

impl Gain {
    fn forward<T: Number>(&self, x: &Tensor) -> Tensor {
        let mut y = T::empty_like(x, x.shape());
        y.count(Operation::Pass(x.len()));
        if y.is_planned() {
            return y;
        }
        let (x, width) = (x.data(), x.width());
        for_rows(
            T::of_mut(&mut y),
            width,
            #[inline(always)]
            |i, y| {
                let (x, y) = (&x[i * width..][..width], &mut y[..width]);
                let factor = self.factor(x);
                let w = &self.w.data()[..width];
                for j in 0..width {
                    y[j] = T::nearest(x[j] * factor * w[j]);
                }
            },
        );
        y
    }

    /// Also the normalised input, and the reciprocal root of each row.
    fn forward_keeping<K: Number>(
        &self,
        x: &Tensor,
        output: Precision,
    ) -> (Tensor, Tensor, Tensor) {
        match output {
            Precision::F32 => self.keeping::<K, f32>(x),
            Precision::Bf16 => self.keeping::<K, half::bf16>(x),
        }
    }

    fn keeping<K: Number, T: Number>(&self, x: &Tensor) -> (Tensor, Tensor, Tensor) {
        let (mut y, mut kept) = (T::empty_like(x, x.shape()), K::empty_like(x, x.shape()));
        let mut roots = x.empty_like(&[x.rows()], Precision::F32);
        y.count(Operation::Pass(x.len()));
        if y.is_planned() {
            return (y, kept, roots);
        }
        let (x, width) = (x.data(), x.width());
        for_row_triples(
            T::of_mut(&mut y),
            K::of_mut(&mut kept),
            width,
            roots.data_mut(),
            #[inline(always)]
            |i, y, kept, root| {
                let x = &x[i * width..][..width];
                let (y, kept) = (&mut y[..width], &mut kept[..width]);
                let factor = self.factor(x);
                *root = factor;
                let w = &self.w.data()[..width];
                for j in 0..width {
                    let h = x[j] * factor;
                    kept[j] = K::nearest(h);
                    y[j] = T::nearest(h * w[j]);
                }
            },
        );
        (y, kept, roots)
    }

    /// The reciprocal root of a row's mean square.
    #[inline(always)]
    fn factor(&self, x: &[f32]) -> f32 {
        1.0 / (dot(x, x) / x.len() as f32 + self.eps).sqrt()
    }
}

/// What backward needs.
struct Kept {
    normalised: Tensor,
    /// The reciprocal of each row's.
    roots: Tensor,
    w: Tensor,
    train_w: Option<ParamId>,
    input: GradientSlot,
}

impl Kept {
    fn backward<K: Number>(self, dy: &Tensor, gradients: &mut Gradients) {
        match dy.precision() {
            Precision::F32 => self.backward_from::<K, f32>(dy, gradients),
            Precision::Bf16 => self.backward_from::<K, half::bf16>(dy, gradients),
        }
    }

    fn backward_from<K: Number, D: Number>(self, dy: &Tensor, gradients: &mut Gradients) {
        let width = self.w.len();
        if let Some(id) = self.train_w {
            let dw = sum_rows(
                dy,
                self.roots.len(),
                width,
                #[inline(always)]
                |i, dw| {
                    let (dy, h) = self.rows::<K, D>(dy, i);
                    for (dw, (dy, h)) in dw.iter_mut().zip(dy.iter().zip(h)) {
                        *dw = dy.wide().mul_add(h.wide(), *dw);
                    }
                },
            );
            gradients.add_param(id, dw);
        }
        if !self.input.needs_gradient() {
            return;
        }
        // A residual stream's gradient came by the other way already: one pass for both.
        let (mut dx, adds) = match gradients.take(self.input) {
            Some(so_far) => (so_far, true),
            None => (dy.empty_like(dy.shape(), Precision::F32), false),
        };
        dx.count_in_place(Operation::Pass(dy.len()));
        if !dx.is_planned() {
            let roots = self.roots.data();
            for_rows(
                dx.data_mut(),
                width,
                #[inline(always)]
                |i, dx| {
                    let dx = &mut dx[..width];
                    let (dy, h) = self.rows::<K, D>(dy, i);
                    let (w, root) = (&self.w.data()[..width], roots[i]);
                    let along =
                        fold(w, dy, h, |acc, w, dy, h| (w * dy.wide()).mul_add(h.wide(), acc))
                            / width as f32;
                    for j in 0..width {
                        let d = (dy[j].wide() * w[j] - h[j].wide() * along) * root;
                        dx[j] = if adds { dx[j] + d } else { d };
                    }
                },
            );
        }
        gradients.add(self.input, dx);
    }

    /// Row `i` of a gradient and of the normalised input.
    #[inline(always)]
    fn rows<'r, K: Number, D: Number>(&'r self, dy: &'r Tensor, i: usize) -> (&'r [D], &'r [K]) {
        let row = i * self.w.len()..(i + 1) * self.w.len();
        (&D::of(dy)[row.clone()], &K::of(&self.normalised)[row])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::add;
    use crate::ops::check::{close, finite_differences, parameters};

    #[test]
    fn equals_the_plain_formula() {
        for width in [1, 15, 16, 17, 31, 33, 37, 300] {
            let (params, id) = parameters(&[&[3, width], &[width]]);
            let [x, w] = [0, 1].map(|i| params.get(id[i]).value().data());
            let row = |row: &[f32]| {
                let square = row.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>();
                let root = (square / width as f64 + 1e-5).sqrt();
                let each = row.iter().zip(w).map(|(&v, &w)| f64::from(v) / root * f64::from(w));
                each.map(|y| y as f32).collect::<Vec<_>>()
            };
            let want: Vec<f32> = x.chunks(width).flat_map(row).collect();
            // Without backward and with it.
            for mut g in [Graph::inference(&params), Graph::training(&params)] {
                let x = g.parameter(id[0]);
                for (output, tolerance) in [(Precision::F32, 1e-6), (Precision::Bf16, 4e-3)] {
                    let y = rms_norm(&mut g, &x, id[1], 1e-5, output).value;
                    assert_eq!(y.precision(), output);
                    close(y.to_precision(Precision::F32).data(), &want, tolerance);
                }
            }
        }
    }

    #[test]
    fn finite_differences_agree() {
        let (mut params, id) = parameters(&[&[3, 21], &[21]]);
        finite_differences(
            &mut params,
            |g| {
                let x = g.parameter(id[0]);
                let precision = g.precision();
                rms_norm(g, &x, id[1], 1e-5, precision)
            },
            2e-3,
        );
        // A residual stream: its gradient comes by two ways.
        finite_differences(
            &mut params,
            |g| {
                let x = g.parameter(id[0]);
                let y = rms_norm(g, &x, id[1], 1e-5, Precision::F32);
                add(g, y, &x)
            },
            2e-3,
        );
    }
}
