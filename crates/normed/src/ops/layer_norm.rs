//! LayerNorm over the last dimension: `y = (x - mean) / sqrt(var + eps) * weight + bias` with the
//! biased variance (Ba et al. 2016, arXiv 1607.06450, eq. 4), as `torch.nn.LayerNorm`.
//!
//! Keeps: the normalised input, in the run's precision, and one reciprocal deviation a row. With `n = dy * weight` and the
//! normalised input `h`, backward is `dx = (n - mean(n) - h * mean(n * h)) / deviation`.

use super::number::{Number, in_precision};
use super::simd::{dot, for_row_pairs, for_rows, sum, sum_rows};
use crate::tensor::{Gradients, Graph, ParamId, Source, Tensor, Var};

/// `x [.., C] -> [.., C]`.
pub fn layer_norm(g: &mut Graph<'_>, x: &Var, weight: ParamId, bias: ParamId, eps: f32) -> Var {
    let (w, b) = (g.param(weight).value().clone(), g.param(bias).value().clone());
    let width = w.len();
    assert_eq!(x.value.width(), width, "{}", g.param(weight).name);
    let [train_w, train_b] = [weight, bias].map(|id| Some(id).filter(|&id| g.trains(id)));
    let input = x.source();
    let needed = input.needs_gradient() || train_w.is_some() || train_b.is_some();

    let (mut y, deviation) = normalise(&x.value, eps);
    if !needed {
        scale_and_shift(y.data_mut(), &w, &b);
        return g.record(y, false, |_, _| {});
    }
    let precision = g.precision();
    let normalised = in_precision!(precision, keep_and_scale(&mut y, &w, &b));
    g.record(y, true, move |dy, gradients| {
        let kept = Kept { normalised, deviation, w, train_w, train_b, input };
        in_precision!(precision, backward(kept, dy, gradients));
    })
}

/// What backward needs.
struct Kept {
    normalised: Tensor,
    /// The reciprocal of each row's.
    deviation: Vec<f32>,
    w: Tensor,
    train_w: Option<ParamId>,
    train_b: Option<ParamId>,
    input: Source,
}

/// `y ∘ w + b` in place.
fn scale_and_shift(y: &mut [f32], w: &Tensor, b: &Tensor) {
    for_rows(
        y,
        w.len(),
        #[inline(always)]
        |_, row| {
            for ((y, w), b) in row.iter_mut().zip(w.data()).zip(b.data()) {
                *y = y.mul_add(*w, *b);
            }
        },
    );
}

/// `y ∘ w + b` in place, and what `y` was.
fn keep_and_scale<T: Number>(y: &mut Tensor, w: &Tensor, b: &Tensor) -> Tensor {
    let width = w.len();
    let mut kept = T::unset(y.shape());
    for_row_pairs(
        y.data_mut(),
        width,
        T::of_mut(&mut kept),
        width,
        #[inline(always)]
        |_, row, kept| {
            for (((y, h), w), b) in row.iter_mut().zip(kept).zip(w.data()).zip(b.data()) {
                *h = T::nearest(*y);
                *y = y.mul_add(*w, *b);
            }
        },
    );
    kept
}

fn backward<T: Number>(kept: Kept, dy: Tensor, gradients: &mut Gradients) {
    let Kept { normalised, deviation, w, train_w, train_b, input } = kept;
    let (normalised, width) = (T::of(&normalised), w.len());
    if train_w.is_some() || train_b.is_some() {
        let sums = sum_rows(
            deviation.len(),
            2 * width,
            #[inline(always)]
            |i, sums| {
                let (dw, db) = sums.split_at_mut(width);
                let dy = &dy.data()[i * width..][..width];
                let h = &normalised[i * width..][..width];
                for ((dw, db), (dy, h)) in dw.iter_mut().zip(db).zip(dy.iter().zip(h)) {
                    *dw = dy.mul_add(h.wide(), *dw);
                    *db += dy;
                }
            },
        );
        for (id, sums) in [train_w, train_b].into_iter().zip(sums.chunks(width)) {
            if let Some(id) = id {
                gradients.add_param(id, Tensor::new(&[width], sums.to_vec()));
            }
        }
    }
    if input.needs_gradient() {
        let mut dx = dy;
        let h = |i: usize| &normalised[i * width..][..width];
        match gradients.take(input) {
            None => for_rows(
                dx.data_mut(),
                width,
                #[inline(always)]
                |i, row| input_gradient(row, h(i), w.data(), deviation[i]),
            ),
            // A residual stream's gradient came by the other way already: one pass for both.
            Some(mut so_far) => {
                for_row_pairs(
                    so_far.data_mut(),
                    width,
                    dx.data_mut(),
                    width,
                    #[inline(always)]
                    |i, so_far, row| {
                        input_gradient(row, h(i), w.data(), deviation[i]);
                        for (sum, d) in so_far.iter_mut().zip(row) {
                            *sum += *d;
                        }
                    },
                );
                dx = so_far;
            }
        }
        gradients.add(input, dx);
    }
}

/// A row of `dx` in the place of one of `dy`.
#[inline(always)]
fn input_gradient<T: Number>(row: &mut [f32], h: &[T], w: &[f32], deviation: f32) {
    for (d, w) in row.iter_mut().zip(w) {
        *d *= w;
    }
    let scale = 1.0 / row.len() as f32;
    let (mean, along) = (sum(row) * scale, dot(row, h) * scale);
    for (d, h) in row.iter_mut().zip(h) {
        *d = (*d - mean - h.wide() * along) * deviation;
    }
}

/// The normalised rows, and the reciprocal deviation of each.
fn normalise(x: &Tensor, eps: f32) -> (Tensor, Vec<f32>) {
    let mut normalised = Tensor::unset(x.shape());
    let mut deviation = vec![0.0; x.rows()];
    let (x, width) = (x.data(), x.width());
    for_row_pairs(
        normalised.data_mut(),
        width,
        &mut deviation,
        1,
        #[inline(always)]
        |i, row, deviation| {
            let x = &x[i * width..][..width];
            let mean = sum(x) / width as f32;
            for (h, x) in row.iter_mut().zip(x) {
                *h = x - mean;
            }
            let factor = 1.0 / (dot(row, row) / width as f32 + eps).sqrt();
            for h in row.iter_mut() {
                *h *= factor;
            }
            deviation.fill(factor);
        },
    );
    (normalised, deviation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::{close, finite_differences, parameters};

    #[test]
    fn equals_the_plain_formula() {
        let (params, id) = parameters(&[&[3, 37], &[37], &[37]]);
        let mut g = Graph::inference(&params);
        let x = g.parameter(id[0]);
        let y = layer_norm(&mut g, &x, id[1], id[2], 1e-5);
        let [x, w, b] = [0, 1, 2].map(|i| params.get(id[i]).value().data().to_vec());
        let want: Vec<f32> = x
            .chunks(37)
            .flat_map(|row| {
                let mean = row.iter().map(|&v| f64::from(v)).sum::<f64>() / 37.0;
                let var = row.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / 37.0;
                let (w, b) = (w.clone(), b.clone());
                (0..37).map(move |j| {
                    let h = (f64::from(row[j]) - mean) / (var + 1e-5).sqrt();
                    (h * f64::from(w[j]) + f64::from(b[j])) as f32
                })
            })
            .collect();
        close(y.value.data(), &want, 1e-6);
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
        let y = layer_norm(&mut g, &x, id[1], id[2], 1e-12);
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
                layer_norm(g, &x, id[1], id[2], 1e-5)
            },
            2e-3,
        );
    }
}
