//! GELU, the exact form `x Φ(x)` (Hendrycks & Gimpel 2016, arXiv 1606.08415, eq. 1), as
//! `torch.nn.functional.gelu(approximate="none")`.
//!
//! Keeps: its input, which is the producing linear layer's output and so no further copy. Backward
//! recomputes `Φ(x) + x φ(x)`. Between two linear layers [`mlp`](super::mlp()) does all three.

use super::activation::{Gelu, all};
use super::number::{Number, in_precision};
use super::simd::{erf, exp, for_elements};
use crate::tensor::{Graph, Operation, Tensor, Var};

/// `x [..] -> [..]`, in the precision of `x`.
pub fn gelu(g: &mut Graph<'_>, x: &Var) -> Var {
    let precision = x.value.precision();
    let y = in_precision!(precision, all(Gelu, &x.value));
    let input = x.source();
    let kept = input.needs_gradient().then(|| x.value.clone());
    g.record(y, kept.is_some(), move |mut dy, gradients| {
        let Some(kept) = kept else { return };
        in_precision!(precision, backward(&kept, &mut dy));
        gradients.add(input, dy);
    })
}

fn backward<T: Number>(x: &Tensor, dy: &mut Tensor) {
    if dy.plans_change(Operation::Pass(x.len())) {
        return;
    }
    let x = T::of(x);
    for_elements(
        T::of_mut(dy),
        #[inline(always)]
        |start, dy| {
            for (d, x) in dy.iter_mut().zip(&x[start..]) {
                *d = T::nearest(d.wide() * slope(x.wide()));
            }
        },
    );
}

/// `gelu(x)`.
#[inline(always)]
pub(super) fn value(x: f32) -> f32 {
    x * normal_cdf(x)
}

/// `gelu'(x)`.
#[inline(always)]
pub(super) fn slope(x: f32) -> f32 {
    let density = exp(-0.5 * x * x) * 0.398_942_3;
    x.mul_add(density, normal_cdf(x))
}

/// `Φ(x)`.
#[inline(always)]
fn normal_cdf(x: f32) -> f32 {
    erf(x * std::f32::consts::FRAC_1_SQRT_2).mul_add(0.5, 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::{close, finite_differences, parameters};
    use crate::ops::simd::ELEMENTS;

    #[test]
    fn equals_published_values() {
        // torch.nn.functional.gelu at these points.
        let x = [-3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0];
        let want =
            [-0.004_049_9, -0.158_655_26, -0.154_268_77, 0.0, 0.345_731_23, 0.841_344_8, 2.995_95];
        let (params, _) = parameters(&[]);
        let y = gelu(&mut Graph::inference(&params), &Var::constant(Tensor::new(&[7], x.to_vec())));
        close(y.value.data(), &want, 1e-6);
    }

    #[test]
    fn finite_differences_agree() {
        let (mut params, id) = parameters(&[&[ELEMENTS + 5]]);
        finite_differences(
            &mut params,
            |g| {
                let x = g.parameter(id[0]);
                gelu(g, &x)
            },
            1e-2,
        );
    }
}
