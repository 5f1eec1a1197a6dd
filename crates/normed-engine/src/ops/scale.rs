//! Channels multiplied by trained factors: `y = x ∘ (v / n) + b (+ residual)`.
//!
//! These are IA3's factors (Liu et al. 2022, arXiv 2205.05638, section 3.3) and, with norms `n` that have no
//! gradient, DoRA's magnitudes (Liu et al. 2024, arXiv 2402.09353, eq. 5 and section 4.3).
//!
//! Keeps for backward: `x` if `v` is trained.

use super::element::{Element, dispatch};
use super::linear::{Output, column_sums};
use super::simd::{for_each_row, sum_rows};
use crate::tensor::{Graph, Operation, ParamId, Precision, Tensor, Var};

/// Multiplies the channels of `x [.., C]` by the elements of the parameter `vector`, divided by `norms [C]`
/// if there are any, and adds the bias `[C]`.
pub fn scale_channels(
    g: &mut Graph<'_>,
    x: &Var,
    vector: ParamId,
    norms: Option<&[f32]>,
    bias: Option<ParamId>,
    output: Output<'_>,
) -> Var {
    let v = g.param(vector).value().clone();
    let inverse: Option<Vec<f32>> = norms.map(|n| n.iter().map(|n| 1.0 / n).collect());
    let bias_value = bias.map(|id| g.param(id).value().clone());
    let factors = Factors { v, inverse };
    let (from, to) = (x.value.precision(), output.precision(g));
    let b = bias_value.as_ref().filter(|b| !b.is_planned()).map(Tensor::data);
    let residual_value = output.residual_value();
    let y = match to {
        Precision::F32 => dispatch!(from, factors.forward_f32(&x.value, b, residual_value)),
        Precision::Bf16 => dispatch!(from, factors.forward_bf16(&x.value, b, residual_value)),
    };
    let (input, residual) = (x.gradient_slot(), output.residual_slot());
    let (train_v, train_b) =
        (g.needs_gradient_of(vector), bias.filter(|&id| g.needs_gradient_of(id)));
    let needed =
        input.needs_gradient() || residual.needs_gradient() || train_v || train_b.is_some();
    let kept = train_v.then(|| x.value.clone());
    g.record(y, needed, move |dy, gradients| {
        if let Some(id) = train_b {
            gradients.add_param(id, dispatch!(to, column_sums(&dy)));
        }
        if let Some(x) = &kept {
            gradients.add_param(vector, dispatch!(from, factors.gradient(&dy, x)));
        }
        if input.needs_gradient() {
            gradients.add(input, dispatch!(from, factors.input_gradient(&dy)));
        }
        gradients.add(residual, dy);
    })
}

/// The factors `v / n`.
struct Factors {
    v: Tensor,
    /// `1 / n`, `[C]`.
    inverse: Option<Vec<f32>>,
}

impl Factors {
    /// The factors, `[C]`; empty if they are only planned.
    fn values(&self) -> Vec<f32> {
        match &self.inverse {
            _ if self.v.is_planned() => Vec::new(),
            None => self.v.data().to_vec(),
            Some(inverse) => self.v.data().iter().zip(inverse).map(|(v, n)| v * n).collect(),
        }
    }

    fn forward_f32<X: Element>(
        &self,
        x: &Tensor,
        b: Option<&[f32]>,
        residual: Option<&Tensor>,
    ) -> Tensor {
        self.forward::<X, f32>(x, b, residual)
    }

    fn forward_bf16<X: Element>(
        &self,
        x: &Tensor,
        b: Option<&[f32]>,
        residual: Option<&Tensor>,
    ) -> Tensor {
        self.forward::<X, half::bf16>(x, b, residual)
    }

    /// `x ∘ (v / n) + b + residual`.
    fn forward<X: Element, Y: Element>(
        &self,
        x: &Tensor,
        b: Option<&[f32]>,
        residual: Option<&Tensor>,
    ) -> Tensor {
        let mut y = Y::empty_like(x, x.shape());
        y.count(Operation::Elementwise(x.len()));
        if y.is_planned() {
            return y;
        }
        let (width, factors) = (x.width(), self.values());
        let zeros = if b.is_none() { vec![0.0; width] } else { Vec::new() };
        let (x, b, residual) = (X::slice(x), b.unwrap_or(&zeros), residual.map(Tensor::data));
        for_each_row(
            Y::slice_mut(&mut y),
            width,
            #[inline(always)]
            |i, y| {
                let x = &x[i * width..][..width];
                let (y, factors, b) = (&mut y[..width], &factors[..width], &b[..width]);
                match residual.map(|residual| &residual[i * width..][..width]) {
                    None => {
                        for j in 0..width {
                            y[j] = Y::from_f32(x[j].to_f32() * factors[j] + b[j]);
                        }
                    }
                    Some(residual) => {
                        for j in 0..width {
                            y[j] = Y::from_f32(x[j].to_f32() * factors[j] + b[j] + residual[j]);
                        }
                    }
                }
            },
        );
        y
    }

    /// The gradient of `v`: the column sums of `dy ∘ x`, divided by `n`.
    fn gradient<X: Element>(&self, dy: &Tensor, x: &Tensor) -> Tensor {
        let mut sums = match dy.precision() {
            Precision::F32 => product_sums::<f32, X>(dy, x),
            Precision::Bf16 => product_sums::<half::bf16, X>(dy, x),
        };
        if let Some(inverse) = &self.inverse {
            sums.count_in_place(Operation::Elementwise(inverse.len()));
            if !sums.is_planned() {
                sums.data_mut().iter_mut().zip(inverse).for_each(|(sum, n)| *sum *= n);
            }
        }
        sums.reshape(self.v.shape())
    }

    /// The gradient of `x`, `dy ∘ (v / n)`, in the precision `X`.
    fn input_gradient<X: Element>(&self, dy: &Tensor) -> Tensor {
        match dy.precision() {
            Precision::F32 => self.forward::<f32, X>(dy, None, None),
            Precision::Bf16 => self.forward::<half::bf16, X>(dy, None, None),
        }
    }
}

/// The column sums of `dy ∘ x`, `[C]`.
fn product_sums<D: Element, X: Element>(dy: &Tensor, x: &Tensor) -> Tensor {
    let width = x.width();
    sum_rows(
        x,
        x.rows(),
        width,
        #[inline(always)]
        |i, sums| {
            let (dy, x) = (&D::slice(dy)[i * width..][..width], &X::slice(x)[i * width..][..width]);
            for j in 0..width {
                sums[j] += dy[j].to_f32() * x[j].to_f32();
            }
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{assert_close, check_gradients, random_parameters};

    #[test]
    fn matches_the_plain_formula() {
        for (rows, width) in [(1, 1), (3, 17), (70, 33)] {
            let shapes: [&[usize]; 4] = [&[rows, width], &[1, width], &[width], &[rows, width]];
            let (params, id) = random_parameters(&shapes);
            let g = &mut Graph::inference(&params);
            let (x, r) = (g.parameter(id[0]), g.parameter(id[3]));
            let norms: Vec<f32> = (0..width).map(|j| 1.0 + j as f32).collect();
            let y = scale_channels(g, &x, id[1], Some(&norms), Some(id[2]), Output::AddTo(&r));
            let [x, v, b, r] = [0, 1, 2, 3].map(|i| params.get(id[i]).value().data());
            let want: Vec<f32> = (0..rows * width)
                .map(|i| x[i] * v[i % width] / norms[i % width] + b[i % width] + r[i])
                .collect();
            assert_close(y.value.data(), &want, 1e-6);
        }
    }

    #[test]
    fn gradients_match_finite_differences() {
        let shapes: [&[usize]; 4] = [&[2, 3, 5], &[5, 1], &[5], &[2, 3, 5]];
        let (mut params, id) = random_parameters(&shapes);
        let norms = [0.5, 1.0, 2.0, 3.0, 0.7];
        let step = |g: &mut Graph<'_>| {
            let (x, r) = (g.parameter(id[0]), g.parameter(id[3]));
            scale_channels(g, &x, id[1], Some(&norms), Some(id[2]), Output::AddTo(&r))
        };
        check_gradients(&mut params, step, 1e-3);
    }
}
