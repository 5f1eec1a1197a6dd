//! LayerNorm over the last dimension: `y = (x - mean) / sqrt(var + eps) * weight + bias` with the
//! biased variance (Ba et al. 2016, arXiv 1607.06450, eq. 4), as `torch.nn.LayerNorm`.
//!
//! Keeps: the normalised input, in the run's precision, and one reciprocal deviation a row. With
//! `n = dy * weight` and the normalised input `h`, backward is
//! `dx = (n - mean(n) - h * mean(n * h)) / deviation`.

use super::number::{Number, in_precision};
use super::simd::{dot, fold, for_row_triples, for_rows, sum, sum_rows};
use crate::tensor::{GradientSlot, Gradients, Graph, Operation, ParamId, Precision, Tensor, Var};

/// `x [.., C] -> [.., C]`, in the precision `output`.
pub fn layer_norm(
    g: &mut Graph<'_>,
    x: &Var,
    weight: ParamId,
    bias: ParamId,
    eps: f32,
    output: Precision,
) -> Var {
    let gain = Affine { w: g.param(weight).value().clone(), b: g.param(bias).value().clone(), eps };
    assert_eq!(x.value.width(), gain.w.len(), "{}", g.param(weight).name);
    let [train_w, train_b] =
        [weight, bias].map(|id| Some(id).filter(|&id| g.needs_gradient_of(id)));
    let input = x.gradient_slot();
    let needed = input.needs_gradient() || train_w.is_some() || train_b.is_some();
    if !needed {
        return Var::constant(in_precision!(output, gain.forward(&x.value)));
    }
    let inner = g.precision();
    let (y, normalised, deviation) = in_precision!(inner, gain.forward_keeping(&x.value, output));
    let w = gain.w;
    g.record(y, true, move |dy, gradients| {
        let kept = Kept { normalised, deviation, w, train_w, train_b, input };
        in_precision!(inner, kept.backward(&dy, gradients));
    })
}

/// The parameters.
struct Affine {
    w: Tensor,
    b: Tensor,
    eps: f32,
}

impl Affine {
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
                let (mean, factor) = self.moments(x);
                self.each(x, mean, factor, |j, _, out| y[j] = T::nearest(out));
            },
        );
        y
    }

    /// Also the normalised input, and the reciprocal deviation of each row.
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
        let mut deviation = x.empty_like(&[x.rows()], Precision::F32);
        y.count(Operation::Pass(x.len()));
        if y.is_planned() {
            return (y, kept, deviation);
        }
        let (x, width) = (x.data(), x.width());
        for_row_triples(
            T::of_mut(&mut y),
            K::of_mut(&mut kept),
            width,
            deviation.data_mut(),
            #[inline(always)]
            |i, y, kept, deviation| {
                let x = &x[i * width..][..width];
                let (y, kept) = (&mut y[..width], &mut kept[..width]);
                let (mean, factor) = self.moments(x);
                *deviation = factor;
                self.each(x, mean, factor, |j, h, out| {
                    kept[j] = K::nearest(h);
                    y[j] = T::nearest(out);
                });
            },
        );
        (y, kept, deviation)
    }

    /// The mean and the reciprocal deviation of a row, in two passes: a large mean does not swamp the
    /// variance.
    #[inline(always)]
    fn moments(&self, x: &[f32]) -> (f32, f32) {
        let width = x.len() as f32;
        let mean = sum(x) / width;
        let square = fold(x, x, x, |acc, x, _, _| (x - mean).mul_add(x - mean, acc));
        (mean, 1.0 / (square / width + self.eps).sqrt())
    }

    /// `f(j, normalised, output)` for every element of a row.
    #[inline(always)]
    fn each(&self, x: &[f32], mean: f32, factor: f32, mut f: impl FnMut(usize, f32, f32)) {
        let (w, b) = (&self.w.data()[..x.len()], &self.b.data()[..x.len()]);
        for j in 0..x.len() {
            let h = (x[j] - mean) * factor;
            f(j, h, h.mul_add(w[j], b[j]));
        }
    }
}

/// What backward needs.
struct Kept {
    normalised: Tensor,
    /// The reciprocal of each row's.
    deviation: Tensor,
    w: Tensor,
    train_w: Option<ParamId>,
    train_b: Option<ParamId>,
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
        if self.train_w.is_some() || self.train_b.is_some() {
            let sums = sum_rows(
                dy,
                self.deviation.len(),
                2 * width,
                #[inline(always)]
                |i, sums| {
                    let (dw, db) = sums.split_at_mut(width);
                    let (dy, h) = self.rows::<K, D>(dy, i);
                    for ((dw, db), (dy, h)) in dw.iter_mut().zip(db).zip(dy.iter().zip(h)) {
                        *dw = dy.wide().mul_add(h.wide(), *dw);
                        *db += dy.wide();
                    }
                },
            );
            for (id, start) in [(self.train_w, 0), (self.train_b, width)] {
                if let Some(id) = id {
                    gradients.add_param(id, sums.copied(start, &[width]));
                }
            }
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
            let deviation = self.deviation.data();
            for_rows(
                dx.data_mut(),
                width,
                #[inline(always)]
                |i, dx| {
                    let dx = &mut dx[..width];
                    let (dy, h) = self.rows::<K, D>(dy, i);
                    self.input_gradient(dy, h, deviation[i], |j, d| {
                        dx[j] = if adds { dx[j] + d } else { d };
                    });
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

    /// `f(j, dx)` for every element of a row.
    #[inline(always)]
    fn input_gradient<K: Number, D: Number>(
        &self,
        dy: &[D],
        h: &[K],
        deviation: f32,
        mut f: impl FnMut(usize, f32),
    ) {
        let (w, scale) = (&self.w.data()[..dy.len()], 1.0 / dy.len() as f32);
        let mean = dot(w, dy) * scale;
        let along = fold(w, dy, h, |acc, w, dy, h| (w * dy.wide()).mul_add(h.wide(), acc)) * scale;
        for j in 0..dy.len() {
            f(j, (dy[j].wide() * w[j] - mean - h[j].wide() * along) * deviation);
        }
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
            let (params, id) = parameters(&[&[3, width], &[width], &[width]]);
            let [x, w, b] = [0, 1, 2].map(|i| params.get(id[i]).value().data());
            let n = width as f64;
            let row = |row: &[f32]| {
                let mean = row.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
                let var = row.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n;
                let h = row.iter().map(|&v| (f64::from(v) - mean) / (var + 1e-5).sqrt());
                let wb = w.iter().zip(b).map(|(&w, &b)| (f64::from(w), f64::from(b)));
                h.zip(wb).map(|(h, (w, b))| (h * w + b) as f32).collect::<Vec<_>>()
            };
            let want: Vec<f32> = x.chunks(width).flat_map(row).collect();
            // Without backward and with it.
            for mut g in [Graph::inference(&params), Graph::training(&params)] {
                let x = g.parameter(id[0]);
                for (output, tolerance) in [(Precision::F32, 1e-6), (Precision::Bf16, 4e-3)] {
                    let y = layer_norm(&mut g, &x, id[1], id[2], 1e-5, output).value;
                    assert_eq!(y.precision(), output);
                    close(y.to_precision(Precision::F32).data(), &want, tolerance);
                }
            }
        }
    }

    #[test]
    fn a_large_mean_does_not_swamp_the_variance() {
        let (mut params, id) = parameters(&[&[1, 16], &[16], &[16]]);
        let shifted: Vec<f32> = (0..16).map(|i| 4096.0 + i as f32).collect();
        params.get_mut(id[0]).set(Tensor::new(&[1, 16], shifted));
        params.get_mut(id[1]).set(Tensor::new(&[16], vec![1.0; 16]));
        params.get_mut(id[2]).set(Tensor::new(&[16], vec![0.0; 16]));
        let mut g = Graph::inference(&params);
        let x = g.parameter(id[0]);
        let y = layer_norm(&mut g, &x, id[1], id[2], 1e-12, Precision::F32);
        let want: Vec<f32> = (0..16).map(|i| (i as f32 - 7.5) / 21.25f32.sqrt()).collect();
        close(y.value.data(), &want, 1e-5);
    }

    #[test]
    fn finite_differences_agree() {
        let (mut params, id) = parameters(&[&[3, 21], &[21], &[21]]);
        finite_differences(
            &mut params,
            |g| {
                let x = g.parameter(id[0]);
                let precision = g.precision();
                layer_norm(g, &x, id[1], id[2], 1e-5, precision)
            },
            2e-3,
        );
        // A residual stream: its gradient comes by two ways.
        finite_differences(
            &mut params,
            |g| {
                let x = g.parameter(id[0]);
                let y = layer_norm(g, &x, id[1], id[2], 1e-5, Precision::F32);
                add(g, y, &x)
            },
            2e-3,
        );
    }
}
