//! `y = x ∘ (v / n) + b (+ residual)`: channels multiplied by factors that are trained. IA3's (Liu et al. 2022,
//! arXiv 2205.05638, section 3.3), and with norms `n`, which count as constants, DoRA's magnitudes (Liu et
//! al. 2024, arXiv 2402.09353, eq. 5 and section 4.3).
//!
//! Keeps: `x` when `v` is trained.

use super::linear::{Output, column_sums};
use super::number::{Number, in_precision};
use super::simd::{for_rows, sum_rows};
use crate::tensor::{Graph, Operation, ParamId, Precision, Tensor, Var};

/// `x [.., C] -> [.., C]` by the parameter `v`, which has `C` elements, and the bias `[C]`.
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
    let added = output.added();
    let y = match to {
        Precision::F32 => in_precision!(from, factors.forward_wide(&x.value, b, added)),
        Precision::Bf16 => in_precision!(from, factors.forward_narrow(&x.value, b, added)),
    };
    let (input, residual) = (x.gradient_slot(), output.residual());
    let (train_v, train_b) =
        (g.needs_gradient_of(vector), bias.filter(|&id| g.needs_gradient_of(id)));
    let needed =
        input.needs_gradient() || residual.needs_gradient() || train_v || train_b.is_some();
    let kept = train_v.then(|| x.value.clone());
    g.record(y, needed, move |dy, gradients| {
        if let Some(id) = train_b {
            gradients.add_param(id, in_precision!(to, column_sums(&dy)));
        }
        if let Some(x) = &kept {
            gradients.add_param(vector, in_precision!(from, factors.gradient(&dy, x)));
        }
        if input.needs_gradient() {
            gradients.add(input, in_precision!(from, factors.input_gradient(&dy)));
        }
        gradients.add(residual, dy);
    })
}

/// `v / n`.
struct Factors {
    v: Tensor,
    inverse: Option<Vec<f32>>,
}

impl Factors {
    /// Their values; none where they are only planned.
    fn values(&self) -> Vec<f32> {
        match &self.inverse {
            _ if self.v.is_planned() => Vec::new(),
            None => self.v.data().to_vec(),
            Some(inverse) => self.v.data().iter().zip(inverse).map(|(v, n)| v * n).collect(),
        }
    }

    fn forward_wide<X: Number>(
        &self,
        x: &Tensor,
        b: Option<&[f32]>,
        added: Option<&Tensor>,
    ) -> Tensor {
        self.forward::<X, f32>(x, b, added)
    }

    fn forward_narrow<X: Number>(
        &self,
        x: &Tensor,
        b: Option<&[f32]>,
        added: Option<&Tensor>,
    ) -> Tensor {
        self.forward::<X, half::bf16>(x, b, added)
    }

    fn forward<X: Number, Y: Number>(
        &self,
        x: &Tensor,
        b: Option<&[f32]>,
        added: Option<&Tensor>,
    ) -> Tensor {
        let mut y = Y::empty_like(x, x.shape());
        y.count(Operation::Pass(x.len()));
        if y.is_planned() {
            return y;
        }
        let (width, factors) = (x.width(), self.values());
        let zeros = if b.is_none() { vec![0.0; width] } else { Vec::new() };
        let (x, b, added) = (X::of(x), b.unwrap_or(&zeros), added.map(Tensor::data));
        for_rows(
            Y::of_mut(&mut y),
            width,
            #[inline(always)]
            |i, y| {
                let x = &x[i * width..][..width];
                let (y, factors, b) = (&mut y[..width], &factors[..width], &b[..width]);
                match added.map(|added| &added[i * width..][..width]) {
                    None => {
                        for j in 0..width {
                            y[j] = Y::nearest(x[j].wide() * factors[j] + b[j]);
                        }
                    }
                    Some(added) => {
                        for j in 0..width {
                            y[j] = Y::nearest(x[j].wide() * factors[j] + b[j] + added[j]);
                        }
                    }
                }
            },
        );
        y
    }

    /// Of `v`: the sums of the columns of `dy ∘ x`, divided by `n`.
    fn gradient<X: Number>(&self, dy: &Tensor, x: &Tensor) -> Tensor {
        let mut sums = match dy.precision() {
            Precision::F32 => product_sums::<f32, X>(dy, x),
            Precision::Bf16 => product_sums::<half::bf16, X>(dy, x),
        };
        if let Some(inverse) = &self.inverse {
            sums.count_in_place(Operation::Pass(inverse.len()));
            if !sums.is_planned() {
                sums.data_mut().iter_mut().zip(inverse).for_each(|(sum, n)| *sum *= n);
            }
        }
        sums.reshape(self.v.shape())
    }

    /// `dy ∘ (v / n)`, in the precision `X`.
    fn input_gradient<X: Number>(&self, dy: &Tensor) -> Tensor {
        match dy.precision() {
            Precision::F32 => self.forward::<f32, X>(dy, None, None),
            Precision::Bf16 => self.forward::<half::bf16, X>(dy, None, None),
        }
    }
}

fn product_sums<D: Number, X: Number>(dy: &Tensor, x: &Tensor) -> Tensor {
    let width = x.width();
    sum_rows(
        x,
        x.rows(),
        width,
        #[inline(always)]
        |i, sums| {
            let (dy, x) = (&D::of(dy)[i * width..][..width], &X::of(x)[i * width..][..width]);
            for j in 0..width {
                sums[j] += dy[j].wide() * x[j].wide();
            }
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::{close, finite_differences, parameters};

    #[test]
    fn equals_the_plain_product() {
        for (rows, width) in [(1, 1), (3, 17), (70, 33)] {
            let shapes: [&[usize]; 4] = [&[rows, width], &[1, width], &[width], &[rows, width]];
            let (params, id) = parameters(&shapes);
            let g = &mut Graph::inference(&params);
            let (x, r) = (g.parameter(id[0]), g.parameter(id[3]));
            let norms: Vec<f32> = (0..width).map(|j| 1.0 + j as f32).collect();
            let y = scale_channels(g, &x, id[1], Some(&norms), Some(id[2]), Output::AddTo(&r));
            let [x, v, b, r] = [0, 1, 2, 3].map(|i| params.get(id[i]).value().data());
            let want: Vec<f32> = (0..rows * width)
                .map(|i| x[i] * v[i % width] / norms[i % width] + b[i % width] + r[i])
                .collect();
            close(y.value.data(), &want, 1e-6);
        }
    }

    #[test]
    fn finite_differences_agree() {
        let shapes: [&[usize]; 4] = [&[2, 3, 5], &[5, 1], &[5], &[2, 3, 5]];
        let (mut params, id) = parameters(&shapes);
        let norms = [0.5, 1.0, 2.0, 3.0, 0.7];
        let step = |g: &mut Graph<'_>| {
            let (x, r) = (g.parameter(id[0]), g.parameter(id[3]));
            scale_channels(g, &x, id[1], Some(&norms), Some(id[2]), Output::AddTo(&r))
        };
        finite_differences(&mut params, step, 1e-3);
    }
}
