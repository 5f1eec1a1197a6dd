//! `y = x Wᵀ + b (+ residual)`, as `torch.nn.Linear`: `W` is `[out, in]`.
//!
//! Keeps: nothing of its input when `W` is frozen; `x` when `W` is trained. The residual's
//! gradient is the output's, passed on without a copy of its own.

use super::matmul::{Matrix, Threads, matmul};
use super::simd::{for_rows, sum_rows};
use crate::tensor::{Graph, ParamId, Source, Tensor, Var};

/// `x [.., in] -> [.., out]`, plus `residual [.., out]` if given.
pub fn linear(
    g: &mut Graph<'_>,
    x: &Var,
    weight: ParamId,
    bias: Option<ParamId>,
    residual: Option<&Var>,
) -> Var {
    let w = g.param(weight).value().clone();
    let (out, inner) = (w.shape()[0], w.len() / w.shape()[0]);
    let rows = x.value.len() / inner;
    assert_eq!(rows * inner, x.value.len(), "{}", g.param(weight).name);
    let b = bias.map(|id| g.param(id).value().clone());
    let y = forward(x.value.data(), rows, &w, b.as_ref(), residual.map(|r| &r.value));
    let mut shape = x.shape().to_vec();
    if let Some(last) = shape.last_mut() {
        *last = out;
    }

    let (train_w, train_b) = (g.trains(weight), bias.filter(|&id| g.trains(id)));
    let kept = train_w.then(|| x.value.clone());
    let x_shape = x.shape().to_vec();
    let input = x.source();
    let residual = residual.map(Var::source);
    let needed = input.needs_gradient()
        || residual.is_some_and(Source::needs_gradient)
        || train_w
        || train_b.is_some();
    g.record(Tensor::new(&shape, y), needed, move |dy, gradients| {
        if let Some(id) = train_b {
            let db = sum_rows(rows, out, |i, sums| {
                for (s, d) in sums.iter_mut().zip(&dy.data()[i * out..][..out]) {
                    *s += d;
                }
            });
            gradients.add_param(id, Tensor::new(&[out], db));
        }
        if let Some(x) = kept {
            let mut dw = vec![0.0; out * inner];
            let (dy, x) =
                (Matrix::new(dy.data(), rows, out, out), Matrix::new(x.data(), rows, inner, inner));
            matmul(dy.t(), x, &mut dw, inner, false, Threads::All);
            gradients.add_param(weight, Tensor::new(w.shape(), dw));
        }
        if input.needs_gradient() {
            let mut dx = vec![0.0; rows * inner];
            let (dy, w) =
                (Matrix::new(dy.data(), rows, out, out), Matrix::new(w.data(), out, inner, inner));
            matmul(dy, w, &mut dx, inner, false, Threads::All);
            gradients.add(input, Tensor::new(&x_shape, dx));
        }
        if let Some(residual) = residual {
            gradients.add(residual, dy);
        }
    })
}

fn forward(
    x: &[f32],
    rows: usize,
    w: &Tensor,
    bias: Option<&Tensor>,
    residual: Option<&Tensor>,
) -> Vec<f32> {
    let out = w.shape()[0];
    let inner = w.len() / out;
    // The bias and the residual are laid down first; the product adds itself to them.
    let mut y = match residual {
        Some(residual) => residual.data().to_vec(),
        None => vec![0.0; rows * out],
    };
    if let Some(bias) = bias {
        let bias = bias.data();
        match residual {
            Some(_) => for_rows(&mut y, out, |_, row| {
                for (y, b) in row.iter_mut().zip(bias) {
                    *y += b;
                }
            }),
            None => for_rows(&mut y, out, |_, row| row.copy_from_slice(bias)),
        }
    }
    let accumulate = bias.is_some() || residual.is_some();
    let (x, w) = (Matrix::new(x, rows, inner, inner), Matrix::new(w.data(), out, inner, inner));
    matmul(x, w.t(), &mut y, out, accumulate, Threads::All);
    y
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::{close, finite_differences, parameters};

    #[test]
    fn equals_the_plain_sum() {
        let (params, id) = parameters(&[&[2, 3, 5], &[4, 5], &[4], &[2, 3, 4]]);
        let mut g = Graph::inference(&params);
        let (x, r) = (g.parameter(id[0]), g.parameter(id[3]));
        let y = linear(&mut g, &x, id[1], Some(id[2]), Some(&r));
        let [x, w, b, r] = [0, 1, 2, 3].map(|i| params.get(id[i]).value().data().to_vec());
        let want: Vec<f32> = (0..24)
            .map(|i| {
                let (row, o) = (i / 4, i % 4);
                let dot: f32 = (0..5).map(|j| x[row * 5 + j] * w[o * 5 + j]).sum();
                dot + b[o] + r[i]
            })
            .collect();
        assert_eq!(y.shape(), [2, 3, 4]);
        close(y.value.data(), &want, 1e-6);
    }

    #[test]
    fn finite_differences_agree() {
        let (mut params, id) = parameters(&[&[2, 3, 5], &[4, 5], &[4], &[2, 3, 4]]);
        finite_differences(
            &mut params,
            |g| {
                let (x, r) = (g.parameter(id[0]), g.parameter(id[3]));
                linear(g, &x, id[1], Some(id[2]), Some(&r))
            },
            1e-3,
        );
    }
}
