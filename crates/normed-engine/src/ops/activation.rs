//! The curves of feed-forward networks, element by element, with their derivatives.
//!
//! Keeps: its input, which is the producing linear layer's output and so no further copy. Between two
//! linear layers with nothing in their sockets [`mlp`](super::mlp()) does all three.

use super::gelu;
use super::number::{Number, in_precision};
use super::simd::{exp, for_elements};
use crate::tensor::{Graph, Operation, Tensor, Var};

/// What stands between the two products of a feed-forward network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `x Φ(x)` (Hendrycks & Gimpel 2016, arXiv 1606.08415, eq. 1).
    Gelu,
    /// `x σ(1.702 x)` (Hendrycks & Gimpel 2016, arXiv 1606.08415, section 2): OpenAI's CLIP.
    QuickGelu,
    /// The hyperbolic tangent.
    Tanh,
}

/// `x [..] -> [..]`, in the precision of `x`.
pub fn activate(g: &mut Graph<'_>, x: &Var, activation: Activation) -> Var {
    match activation {
        Activation::Gelu => along(g, x, Gelu),
        Activation::QuickGelu => along(g, x, QUICK_GELU),
        Activation::Tanh => along(g, x, Tanh),
    }
}

fn along(g: &mut Graph<'_>, x: &Var, curve: impl Curve) -> Var {
    let precision = x.value.precision();
    let y = in_precision!(precision, all(curve, &x.value));
    let input = x.gradient_slot();
    let kept = input.needs_gradient().then(|| x.value.clone());
    g.record(y, kept.is_some(), move |mut dy, gradients| {
        let Some(kept) = kept else { return };
        in_precision!(precision, backward(curve, &kept, &mut dy));
        gradients.add(input, dy);
    })
}

fn backward<T: Number>(curve: impl Curve, x: &Tensor, dy: &mut Tensor) {
    dy.count_in_place(Operation::Pass(x.len()));
    if dy.is_planned() {
        return;
    }
    let x = T::of(x);
    for_elements(
        T::of_mut(dy),
        #[inline(always)]
        |start, dy| {
            for (d, x) in dy.iter_mut().zip(&x[start..]) {
                *d = T::nearest(d.wide() * curve.slope(x.wide()));
            }
        },
    );
}

/// A curve and its derivative.
pub(super) trait Curve: Copy + Send + Sync + 'static {
    fn value(self, x: f32) -> f32;
    fn slope(self, x: f32) -> f32;
}

/// [`Activation::Gelu`].
#[derive(Clone, Copy)]
pub(super) struct Gelu;

impl Curve for Gelu {
    #[inline(always)]
    fn value(self, x: f32) -> f32 {
        gelu::value(x)
    }

    #[inline(always)]
    fn slope(self, x: f32) -> f32 {
        gelu::slope(x)
    }
}

/// `x σ(b x)` (Ramachandran et al. 2017, arXiv 1710.05941, "Swish").
#[derive(Clone, Copy)]
pub(super) struct Swish(f32);

/// [`Activation::QuickGelu`].
pub(super) const QUICK_GELU: Swish = Swish(1.702);

/// `x σ(x)` (Elfwing et al. 2017, arXiv 1702.03118): the gate of LLaMA's feed-forward networks.
pub(super) const SILU: Swish = Swish(1.0);

impl Curve for Swish {
    #[inline(always)]
    fn value(self, x: f32) -> f32 {
        x * sigmoid(self.0 * x)
    }

    #[inline(always)]
    fn slope(self, x: f32) -> f32 {
        let s = sigmoid(self.0 * x);
        s * (self.0 * x).mul_add(1.0 - s, 1.0)
    }
}

/// [`Activation::Tanh`].
#[derive(Clone, Copy)]
pub(super) struct Tanh;

impl Curve for Tanh {
    #[inline(always)]
    fn value(self, x: f32) -> f32 {
        2.0f32.mul_add(sigmoid(2.0 * x), -1.0)
    }

    #[inline(always)]
    fn slope(self, x: f32) -> f32 {
        let y = self.value(x);
        y.mul_add(-y, 1.0)
    }
}

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// The curve's value of every element.
pub(super) fn all<T: Number>(curve: impl Curve, x: &Tensor) -> Tensor {
    let mut y = T::empty_like(x, x.shape());
    y.count(Operation::Pass(x.len()));
    if y.is_planned() {
        return y;
    }
    let x = T::of(x);
    for_elements(
        T::of_mut(&mut y),
        #[inline(always)]
        |start, y| {
            for (y, x) in y.iter_mut().zip(&x[start..]) {
                *y = T::nearest(curve.value(x.wide()));
            }
        },
    );
    y
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::{close, finite_differences, parameters};
    use crate::ops::simd::ELEMENTS;

    #[test]
    fn gelu_equals_published_values() {
        // torch.nn.functional.gelu at these points.
        let x = [-3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0];
        let want =
            [-0.004_049_9, -0.158_655_26, -0.154_268_77, 0.0, 0.345_731_23, 0.841_344_8, 2.995_95];
        let (params, _) = parameters(&[]);
        let x = Var::constant(Tensor::new(&[7], x.to_vec()));
        let y = activate(&mut Graph::inference(&params), &x, Activation::Gelu);
        close(y.value.data(), &want, 1e-6);
    }

    #[test]
    fn finite_differences_agree() {
        for activation in [Activation::Gelu, Activation::QuickGelu, Activation::Tanh] {
            let (mut params, id) = parameters(&[&[ELEMENTS + 5]]);
            let step = |g: &mut Graph<'_>| {
                let x = g.parameter(id[0]);
                activate(g, &x, activation)
            };
            finite_differences(&mut params, step, 1e-2);
        }
    }

    #[test]
    fn curves_are_torchs_and_slopes_are_theirs() {
        // torch.nn.functional.silu, and x * torch.sigmoid(1.702 * x).
        let cases: [(Swish, [f32; 4]); 2] = [
            (SILU, [-0.142_277_61, -0.188_770_34, 0.731_058_6, 2.857_722_5]),
            (QUICK_GELU, [-0.018_071_31, -0.149_611_56, 0.845_795_75, 2.981_928_8]),
        ];
        for (curve, want) in cases {
            for (x, want) in [-3.0, -0.5, 1.0, 3.0].into_iter().zip(want) {
                let got = curve.value(x);
                assert!((got - want).abs() < 1e-6, "{x}: {got}, not {want}");
            }
            for i in -60..=60 {
                let (x, step) = (i as f32 * 0.2, 1e-2);
                let numeric = (curve.value(x + step) - curve.value(x - step)) / (2.0 * step);
                assert!((curve.slope(x) - numeric).abs() < 2e-4, "{x}");
            }
            assert_eq!((curve.value(-200.0).abs() < 1e-30, curve.value(200.0)), (true, 200.0));
        }
    }
}
