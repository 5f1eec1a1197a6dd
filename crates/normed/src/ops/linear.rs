//! `y = x Wᵀ + b (+ residual)`, as `torch.nn.Linear`: `W` is `[out, in]`.
//!
//! Keeps: nothing of its input when `W` is frozen; `x` when `W` is trained. The residual's
//! gradient is the output's, passed on without a copy of its own.

use super::product::{Matrix, Rows, Threads, matmul, product};
use super::simd::sum_rows;
use crate::tensor::{Graph, ParamId, Precision, Source, Tensor, Var};

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
    let precision = g.precision();
    let b = bias.map(|id| g.param(id).value().clone());
    let y = forward(
        Matrix::dense(x.value.data(), rows, inner),
        Matrix::new(w.elements(), out, inner, inner),
        b.as_ref().map(Tensor::data),
        residual.map(|r| r.value.data()),
        precision,
    );
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
        let d = Matrix::dense(dy.data(), rows, out);
        if let Some(id) = train_b {
            let db = sum_rows(rows, out, |i, sums| {
                for (s, d) in sums.iter_mut().zip(&dy.data()[i * out..][..out]) {
                    *s += d;
                }
            });
            gradients.add_param(id, Tensor::new(&[out], db));
        }
        if let Some(x) = kept {
            let x = Matrix::dense(x.data(), rows, inner);
            let dw = times(d.transposed(), x, precision);
            gradients.add_param(weight, Tensor::new(w.shape(), dw));
        }
        if input.needs_gradient() {
            let dx = times(d, Matrix::new(w.elements(), out, inner, inner), precision);
            gradients.add(input, Tensor::new(&x_shape, dx));
        }
        if let Some(residual) = residual {
            gradients.add(residual, dy);
        }
    })
}

/// `x Wᵀ + bias + residual`.
fn forward(
    x: Matrix<'_>,
    w: Matrix<'_>,
    bias: Option<&[f32]>,
    residual: Option<&[f32]>,
    precision: Precision,
) -> Vec<f32> {
    let width = w.rows();
    let mut y = vec![0.0; x.rows() * width];
    let out = Rows::new(&mut y, width);
    product(
        x,
        w.transposed(),
        precision,
        Threads::All,
        #[inline(always)]
        |row, col, sums| {
            // SAFETY: every element is handed out once.
            let out = unsafe { out.at(row, col, sums.len()) };
            out.copy_from_slice(sums);
            for added in [bias.map(|b| &b[col..]), residual.map(|r| &r[row * width + col..])] {
                for (y, added) in out.iter_mut().zip(added.unwrap_or_default()) {
                    *y += added;
                }
            }
        },
    );
    y
}

/// `a b`.
fn times(a: Matrix<'_>, b: Matrix<'_>, precision: Precision) -> Vec<f32> {
    let mut out = vec![0.0; a.rows() * b.cols()];
    let rows = Rows::new(&mut out, b.cols());
    // SAFETY: `out` is this function's.
    unsafe { matmul(a, b, precision, Threads::All, rows, false) };
    out
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
