//! `y = x Wᵀ + b (+ residual)`, as `torch.nn.Linear`: `W` is `[out, in]`.
//!
//! Keeps: nothing of its input when `W` is frozen; `x` when `W` is trained. The residual's
//! gradient is the output's, passed on without a copy of its own.

use super::number::{Number, in_precision};
use super::product::{Matrix, Rows, Threads, matmul, product};
use super::simd::sum_rows;
use crate::tensor::{Graph, ParamId, Precision, Source, Tensor, Var};

/// What becomes of a linear layer's output.
#[derive(Debug, Clone, Copy)]
pub enum Output<'a> {
    /// It is f32.
    Wide,
    /// It is in the run's precision: for what only products, attention and activations read.
    Inner,
    /// It is added to this, `[.., out]`, in f32.
    AddedTo(&'a Var),
}

/// `x [.., in] -> [.., out]`.
pub fn linear(
    g: &mut Graph<'_>,
    x: &Var,
    weight: ParamId,
    bias: Option<ParamId>,
    output: Output<'_>,
) -> Var {
    let w = g.param(weight).value().clone();
    let (out, inner) = (w.shape()[0], w.len() / w.shape()[0]);
    let rows = x.value.len() / inner;
    assert_eq!(rows * inner, x.value.len(), "{}", g.param(weight).name);
    let precision = g.precision();
    let b = bias.map(|id| g.param(id).value().clone());
    let mut shape = x.shape().to_vec();
    if let Some(last) = shape.last_mut() {
        *last = out;
    }
    let (kept, residual) = match output {
        Output::Wide => (Precision::F32, None),
        Output::Inner => (precision, None),
        Output::AddedTo(residual) => (Precision::F32, Some(residual)),
    };
    let factors = (
        Matrix::new(x.value.elements(), rows, inner, inner),
        Matrix::new(w.elements(), out, inner, inner),
    );
    let terms = [b.as_ref(), residual.map(|r| &r.value)].map(|term| term.map(Tensor::data));
    let y = in_precision!(kept, forward(&shape, factors, terms, precision));

    let (train_w, train_b) = (g.trains(weight), bias.filter(|&id| g.trains(id)));
    let kept = train_w.then(|| x.value.clone());
    let x_shape = x.shape().to_vec();
    let input = x.source();
    let residual = residual.map(Var::source);
    let needed = input.needs_gradient()
        || residual.is_some_and(Source::needs_gradient)
        || train_w
        || train_b.is_some();
    g.record(y, needed, move |dy, gradients| {
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
            let x = Matrix::new(x.elements(), rows, inner, inner);
            gradients.add_param(weight, times(w.shape(), d.transposed(), x, precision));
        }
        if input.needs_gradient() {
            let w = Matrix::new(w.elements(), out, inner, inner);
            gradients.add(input, times(&x_shape, d, w, precision));
        }
        if let Some(residual) = residual {
            gradients.add(residual, dy);
        }
    })
}

/// `x Wᵀ + bias + added`.
fn forward<T: Number>(
    shape: &[usize],
    (x, w): (Matrix<'_>, Matrix<'_>),
    [bias, added]: [Option<&[f32]>; 2],
    precision: Precision,
) -> Tensor {
    let width = w.rows();
    let mut y = T::unset(shape);
    let out = Rows::new(T::of_mut(&mut y), width);
    product(
        x,
        w.transposed(),
        precision,
        Threads::All,
        #[inline(always)]
        |row, col, sums| {
            // SAFETY: every element is handed out once.
            let out = unsafe { out.at(row, col, sums.len()) };
            let bias = bias.map(|b| &b[col..][..sums.len()]);
            let added = added.map(|a| &a[row * width + col..][..sums.len()]);
            let each = out.iter_mut().zip(sums);
            match (bias, added) {
                (None, None) => each.for_each(|(y, s)| *y = T::nearest(*s)),
                (Some(t), None) | (None, Some(t)) => {
                    each.zip(t).for_each(|((y, s), t)| *y = T::nearest(s + t));
                }
                (Some(b), Some(a)) => {
                    each.zip(b.iter().zip(a))
                        .for_each(|((y, s), (b, a))| *y = T::nearest(s + b + a));
                }
            }
        },
    );
    y
}

/// `a b`, as a tensor of this shape.
fn times(shape: &[usize], a: Matrix<'_>, b: Matrix<'_>, precision: Precision) -> Tensor {
    let mut out = Tensor::unset(shape);
    let rows = Rows::new(out.data_mut(), b.cols());
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
        let y = linear(&mut g, &x, id[1], Some(id[2]), Output::AddedTo(&r));
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
                linear(g, &x, id[1], Some(id[2]), Output::AddedTo(&r))
            },
            1e-3,
        );
    }
}
