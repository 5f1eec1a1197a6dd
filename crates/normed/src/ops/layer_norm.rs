//! LayerNorm over the last dimension: `y = (x - mean) / sqrt(var + eps) * weight + bias` with the
//! biased variance (Ba et al. 2016, arXiv 1607.06450, eq. 4), as `torch.nn.LayerNorm`.
//!
//! Keeps: the normalised input and one reciprocal deviation a row. With `n = dy * weight` and the
//! normalised input `h`, backward is `dx = (n - mean(n) - h * mean(n * h)) / deviation`.

use super::simd::{dot, for_rows, for_rows_with, sum, sum_rows};
use crate::tensor::{Graph, ParamId, Tensor, Var};

/// `x [.., C] -> [.., C]`.
pub fn layer_norm(g: &mut Graph<'_>, x: &Var, weight: ParamId, bias: ParamId, eps: f32) -> Var {
    let (w, b) = (g.param(weight).value().clone(), g.param(bias).value().clone());
    let width = w.len();
    assert_eq!(x.value.width(), width, "{}", g.param(weight).name);
    let shape = x.shape().to_vec();
    let (train_w, train_b) = (g.trains(weight), g.trains(bias));
    let input = x.source();
    let needed = input.needs_gradient() || train_w || train_b;

    let (normalised, deviation) = normalise(x.value.data(), width, eps);
    if !needed {
        // Nothing is kept: the output takes the normalised input's place.
        let mut y = normalised;
        for_rows(
            &mut y,
            width,
            #[inline(always)]
            |_, row| {
                for ((y, w), b) in row.iter_mut().zip(w.data()).zip(b.data()) {
                    *y = y.mul_add(*w, *b);
                }
            },
        );
        return g.record(Tensor::new(&shape, y), false, |_, _| {});
    }
    let mut y = vec![0.0; normalised.len()];
    for_rows(
        &mut y,
        width,
        #[inline(always)]
        |i, row| {
            let h = &normalised[i * width..][..width];
            for (((y, h), w), b) in row.iter_mut().zip(h).zip(w.data()).zip(b.data()) {
                *y = h.mul_add(*w, *b);
            }
        },
    );
    g.record(Tensor::new(&shape, y), true, move |dy, gradients| {
        let rows = deviation.len();
        if train_w || train_b {
            let sums = sum_rows(
                rows,
                2 * width,
                #[inline(always)]
                |i, sums| {
                    let (dw, db) = sums.split_at_mut(width);
                    let dy = &dy.data()[i * width..][..width];
                    let h = &normalised[i * width..][..width];
                    for ((dw, db), (dy, h)) in dw.iter_mut().zip(db).zip(dy.iter().zip(h)) {
                        *dw = dy.mul_add(*h, *dw);
                        *db += dy;
                    }
                },
            );
            if train_w {
                gradients.add_param(weight, Tensor::new(&[width], sums[..width].to_vec()));
            }
            if train_b {
                gradients.add_param(bias, Tensor::new(&[width], sums[width..].to_vec()));
            }
        }
        if input.needs_gradient() {
            let mut dx = dy;
            for_rows(
                dx.data_mut(),
                width,
                #[inline(always)]
                |i, row| {
                    let h = &normalised[i * width..][..width];
                    for (d, w) in row.iter_mut().zip(w.data()) {
                        *d *= w;
                    }
                    let scale = 1.0 / width as f32;
                    let (mean, along) = (sum(row) * scale, dot(row, h) * scale);
                    for (d, h) in row.iter_mut().zip(h) {
                        *d = (*d - mean - h * along) * deviation[i];
                    }
                },
            );
            gradients.add(input, dx);
        }
    })
}

/// The normalised rows, and the reciprocal deviation of each.
fn normalise(x: &[f32], width: usize, eps: f32) -> (Vec<f32>, Vec<f32>) {
    let mut normalised = vec![0.0; x.len()];
    let mut deviation = vec![0.0; x.len() / width];
    for_rows_with(
        &mut normalised,
        width,
        &mut deviation,
        #[inline(always)]
        |i, row, deviation| {
            let x = &x[i * width..][..width];
            let mean = sum(x) / width as f32;
            for (h, x) in row.iter_mut().zip(x) {
                *h = x - mean;
            }
            *deviation = 1.0 / (dot(row, row) / width as f32 + eps).sqrt();
            for h in row.iter_mut() {
                *h *= *deviation;
            }
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
