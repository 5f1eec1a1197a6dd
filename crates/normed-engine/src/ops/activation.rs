//! Activation functions, element by element, and their derivatives.
//!
//! Keeps for backward: the input, which is the output of the linear layer before and costs no copy. Between
//! two linear layers without plugs, [`mlp`](super::mlp()) computes all three in one operation.

use super::element::{Element, dispatch};
use super::simd::{erf, exp, for_each_chunk};
use crate::tensor::{Graph, Operation, Tensor, Var};

/// An activation function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// GELU in its exact form `x Φ(x)` (Hendrycks & Gimpel 2016, arXiv 1606.08415, eq. 1), as
    /// `torch.nn.functional.gelu(approximate="none")`.
    Gelu,
    /// `x σ(1.702 x)`, an approximation of GELU (Hendrycks & Gimpel 2016, arXiv 1606.08415, section 2),
    /// as in OpenAI's CLIP.
    QuickGelu,
    /// The hyperbolic tangent.
    Tanh,
    /// GELU's approximation by a hyperbolic tangent, as `torch.nn.functional.gelu(approximate="tanh")`.
    GeluTanh,
    /// GELU, limited to -10 to 10.
    Gelu10,
    /// `x σ(x)` (Elfwing et al. 2017, arXiv 1702.03118).
    Silu,
    /// The positive part of `x`.
    Relu,
    /// The square of the positive part (So et al. 2021, arXiv 2109.08668).
    Relu2,
    /// The positive part, at most 6.
    Relu6,
    /// `x` where it is positive, else `0.01 x`.
    LeakyRelu,
    /// The logistic function `σ(x)`.
    Sigmoid,
    /// `x` times [`Activation::Relu6`] of `x + 3`, over 6 (Howard et al. 2019, arXiv 1905.02244).
    HardSwish,
    /// `x tanh(ln(1 + e^x))` (Misra 2019, arXiv 1908.08681).
    Mish,
    /// The normal distribution's function with mean 0.707107 and standard deviation 0.282095 (Ma et al. 2022,
    /// arXiv 2209.10655).
    Laplace,
    /// `x` itself.
    Linear,
}

/// Evaluates `$body` with `$f` bound to the [`ActivationFn`] of an [`Activation`], compiled once for each.
macro_rules! with_activation {
    ($activation:expr, $f:ident => $body:expr) => {{
        use $crate::ops::activation as a;
        match $activation {
            a::Activation::Gelu => {
                let $f = a::Gelu;
                $body
            }
            a::Activation::QuickGelu => {
                let $f = a::QUICK_GELU;
                $body
            }
            a::Activation::Tanh => {
                let $f = a::Tanh;
                $body
            }
            a::Activation::GeluTanh => {
                let $f = a::GeluTanh;
                $body
            }
            a::Activation::Gelu10 => {
                let $f = a::Gelu10;
                $body
            }
            a::Activation::Silu => {
                let $f = a::SILU;
                $body
            }
            a::Activation::Relu => {
                let $f = a::Relu;
                $body
            }
            a::Activation::Relu2 => {
                let $f = a::Relu2;
                $body
            }
            a::Activation::Relu6 => {
                let $f = a::Relu6;
                $body
            }
            a::Activation::LeakyRelu => {
                let $f = a::LeakyRelu;
                $body
            }
            a::Activation::Sigmoid => {
                let $f = a::Sigmoid;
                $body
            }
            a::Activation::HardSwish => {
                let $f = a::HardSwish;
                $body
            }
            a::Activation::Mish => {
                let $f = a::Mish;
                $body
            }
            a::Activation::Laplace => {
                let $f = a::Laplace;
                $body
            }
            a::Activation::Linear => {
                let $f = a::Linear;
                $body
            }
        }
    }};
}
pub(super) use with_activation;

/// The activation function of every element of `x [..]`, in the precision of `x`.
pub fn activate(g: &mut Graph<'_>, x: &Var, activation: Activation) -> Var {
    with_activation!(activation, f => activate_with(g, x, f))
}

fn activate_with(g: &mut Graph<'_>, x: &Var, f: impl ActivationFn) -> Var {
    let precision = x.value.precision();
    let y = dispatch!(precision, apply(f, &x.value));
    let input = x.gradient_slot();
    let kept = input.needs_gradient().then(|| x.value.clone());
    g.record(y, kept.is_some(), move |mut dy, gradients| {
        let Some(kept) = kept else { return };
        dispatch!(precision, backward(f, &kept, &mut dy));
        gradients.add(input, dy);
    })
}

/// Multiplies `dy` by the derivative at `x`, in place.
fn backward<T: Element>(f: impl ActivationFn, x: &Tensor, dy: &mut Tensor) {
    dy.count_in_place(Operation::Elementwise(x.len()));
    if dy.is_planned() {
        return;
    }
    let x = T::slice(x);
    for_each_chunk(
        T::slice_mut(dy),
        #[inline(always)]
        |start, dy| {
            for (d, x) in dy.iter_mut().zip(&x[start..]) {
                *d = T::from_f32(d.to_f32() * f.derivative(x.to_f32()));
            }
        },
    );
}

/// An activation function of one element. Each type is a function of its own, so that kernels are compiled
/// with it inlined.
pub(super) trait ActivationFn: Copy + Send + Sync + 'static {
    /// The function at `x`.
    fn value(self, x: f32) -> f32;
    /// Its derivative at `x`.
    fn derivative(self, x: f32) -> f32;
}

/// [`Activation::Gelu`].
#[derive(Clone, Copy)]
pub(super) struct Gelu;

impl ActivationFn for Gelu {
    #[inline(always)]
    fn value(self, x: f32) -> f32 {
        x * normal_cdf(x)
    }

    #[inline(always)]
    fn derivative(self, x: f32) -> f32 {
        // Φ(x) + x φ(x).
        let density = exp(-0.5 * x * x) * 0.398_942_3;
        x.mul_add(density, normal_cdf(x))
    }
}

/// The cumulative distribution function `Φ(x)` of the standard normal distribution.
#[inline(always)]
fn normal_cdf(x: f32) -> f32 {
    erf(x * std::f32::consts::FRAC_1_SQRT_2).mul_add(0.5, 0.5)
}

/// Swish, `x σ(b x)` (Ramachandran et al. 2017, arXiv 1710.05941), with this `b`.
#[derive(Clone, Copy)]
pub(super) struct Swish(f32);

/// [`Activation::QuickGelu`].
pub(super) const QUICK_GELU: Swish = Swish(1.702);

/// SiLU, `x σ(x)` (Elfwing et al. 2017, arXiv 1702.03118), as in LLaMA's feed-forward networks.
pub(super) const SILU: Swish = Swish(1.0);

impl ActivationFn for Swish {
    #[inline(always)]
    fn value(self, x: f32) -> f32 {
        x * sigmoid(self.0 * x)
    }

    #[inline(always)]
    fn derivative(self, x: f32) -> f32 {
        let s = sigmoid(self.0 * x);
        s * (self.0 * x).mul_add(1.0 - s, 1.0)
    }
}

/// [`Activation::Tanh`].
#[derive(Clone, Copy)]
pub(super) struct Tanh;

impl ActivationFn for Tanh {
    #[inline(always)]
    fn value(self, x: f32) -> f32 {
        2.0f32.mul_add(sigmoid(2.0 * x), -1.0)
    }

    #[inline(always)]
    fn derivative(self, x: f32) -> f32 {
        let y = self.value(x);
        y.mul_add(-y, 1.0)
    }
}

/// Implements [`ActivationFn`] for a type without values: the function at `x`, and its derivative.
macro_rules! activation {
    ($name:ident, |$x:ident| $value:expr, |$y:ident| $derivative:expr) => {
        #[doc = concat!("[`Activation::", stringify!($name), "`].")]
        #[derive(Clone, Copy)]
        pub(super) struct $name;

        impl ActivationFn for $name {
            #[inline(always)]
            fn value(self, $x: f32) -> f32 {
                $value
            }

            #[inline(always)]
            fn derivative(self, $y: f32) -> f32 {
                $derivative
            }
        }
    };
}

// `x (1 + tanh(u)) / 2` is `x σ(2u)`.
activation!(GeluTanh, |x| x * sigmoid(twice_tanh_argument(x)), |x| {
    let s = sigmoid(twice_tanh_argument(x));
    let slope = TWO_ROOT_2_OVER_PI * (3.0 * CUBIC * x).mul_add(x, 1.0);
    s * (x * slope).mul_add(1.0 - s, 1.0)
});
activation!(Gelu10, |x| Gelu.value(x).clamp(-10.0, 10.0), |x| {
    if Gelu.value(x) > 10.0 { 0.0 } else { Gelu.derivative(x) }
});
activation!(Relu, |x| x.max(0.0), |x| step(x));
activation!(Relu2, |x| x.max(0.0) * x.max(0.0), |x| 2.0 * x.max(0.0));
activation!(Relu6, |x| x.clamp(0.0, 6.0), |x| step(x) * step(6.0 - x));
activation!(LeakyRelu, |x| if x > 0.0 { x } else { 0.01 * x }, |x| if x > 0.0 {
    1.0
} else {
    0.01
});
activation!(Sigmoid, |x| sigmoid(x), |x| sigmoid(x) * (1.0 - sigmoid(x)));
activation!(HardSwish, |x| x * (x + 3.0).clamp(0.0, 6.0) * (1.0 / 6.0), |x| {
    if x <= -3.0 {
        0.0
    } else if x < 3.0 {
        x * (1.0 / 3.0) + 0.5
    } else {
        1.0
    }
});
// With `n = e^x (e^x + 2)`, `tanh(ln(1 + e^x))` is `n / (n + 2)`, which is 1 in f32 from 20 on.
activation!(
    Mish,
    |x| {
        let e = exp(x.min(20.0));
        let n = e * (e + 2.0);
        x * (n / (n + 2.0))
    },
    |x| {
        let e = exp(x.min(20.0));
        let n = e * (e + 2.0);
        let slope = 4.0 * (e / (n + 2.0)) * ((e + 1.0) / (n + 2.0));
        x.mul_add(slope, n / (n + 2.0))
    }
);
activation!(Laplace, |x| normal_cdf((x - LAPLACE_MEAN) / LAPLACE_DEVIATION), |x| {
    let z = (x - LAPLACE_MEAN) / LAPLACE_DEVIATION;
    exp(-0.5 * z * z) * (0.398_942_3 / LAPLACE_DEVIATION)
});
activation!(Linear, |x| x, |_x| 1.0);

// Not quite the root of a half, but what transformers has.
#[allow(clippy::approx_constant)]
const LAPLACE_MEAN: f32 = 0.707_107;
const LAPLACE_DEVIATION: f32 = 0.282_095;
/// `2 sqrt(2 / π)`.
const TWO_ROOT_2_OVER_PI: f32 = 1.595_769;
/// The factor of `x³` in the argument of GELU's hyperbolic tangent.
const CUBIC: f32 = 0.044_715;

/// Twice the argument of GELU's hyperbolic tangent.
#[inline(always)]
fn twice_tanh_argument(x: f32) -> f32 {
    TWO_ROOT_2_OVER_PI * x * (CUBIC * x).mul_add(x, 1.0)
}

/// 1 where `x` is positive, else 0.
#[inline(always)]
fn step(x: f32) -> f32 {
    if x > 0.0 { 1.0 } else { 0.0 }
}

/// The logistic function `σ(x)`.
#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// The activation function of every element.
pub(super) fn apply<T: Element>(f: impl ActivationFn, x: &Tensor) -> Tensor {
    let mut y = T::empty_like(x, x.shape());
    y.count(Operation::Elementwise(x.len()));
    if y.is_planned() {
        return y;
    }
    let x = T::slice(x);
    for_each_chunk(
        T::slice_mut(&mut y),
        #[inline(always)]
        |start, y| {
            for (y, x) in y.iter_mut().zip(&x[start..]) {
                *y = T::from_f32(f.value(x.to_f32()));
            }
        },
    );
    y
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::simd::CHUNK;
    use crate::ops::testing::{assert_close, check_gradients, random_parameters};

    #[test]
    fn gelu_matches_torch() {
        // torch.nn.functional.gelu at these points.
        let x = [-3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0];
        let want =
            [-0.004_049_9, -0.158_655_26, -0.154_268_77, 0.0, 0.345_731_23, 0.841_344_8, 2.995_95];
        let (params, _) = random_parameters(&[]);
        let x = Var::constant(Tensor::new(&[7], x.to_vec()));
        let y = activate(&mut Graph::inference(&params), &x, Activation::Gelu);
        assert_close(y.value.data(), &want, 1e-6);
    }

    #[test]
    fn gradients_match_finite_differences() {
        use Activation::*;
        for activation in [
            Gelu, QuickGelu, Tanh, GeluTanh, Silu, Sigmoid, Mish, Laplace, Linear, Relu2, HardSwish,
        ] {
            let (mut params, id) = random_parameters(&[&[CHUNK + 5]]);
            let step = |g: &mut Graph<'_>| {
                let x = g.parameter(id[0]);
                activate(g, &x, activation)
            };
            check_gradients(&mut params, step, 1e-2);
        }
    }

    /// Between the places where a derivative jumps.
    #[test]
    fn functions_with_corners_have_the_slopes_of_their_sides() {
        use Activation::*;
        for activation in [Relu, Relu6, LeakyRelu, Gelu10, HardSwish, Relu2] {
            for i in -60..=60 {
                let (x, h) = (i as f32 * 0.2 + 0.05, 1e-2);
                let (value, derivative) = with_activation!(activation, f => {
                    ((f.value(x + h) - f.value(x - h)) / (2.0 * h), f.derivative(x))
                });
                assert!((value - derivative).abs() < 2e-2, "{activation:?} at {x}");
            }
        }
    }

    #[test]
    fn swish_matches_torch_and_its_derivative_matches_differences() {
        // torch.nn.functional.silu, and x * torch.sigmoid(1.702 * x).
        let cases: [(Swish, [f32; 4]); 2] = [
            (SILU, [-0.142_277_61, -0.188_770_34, 0.731_058_6, 2.857_722_5]),
            (QUICK_GELU, [-0.018_071_31, -0.149_611_56, 0.845_795_75, 2.981_928_8]),
        ];
        for (f, want) in cases {
            for (x, want) in [-3.0, -0.5, 1.0, 3.0].into_iter().zip(want) {
                let got = f.value(x);
                assert!((got - want).abs() < 1e-6, "at {x}: {got} instead of {want}");
            }
            for i in -60..=60 {
                let (x, step) = (i as f32 * 0.2, 1e-2);
                let numeric = (f.value(x + step) - f.value(x - step)) / (2.0 * step);
                assert!((f.derivative(x) - numeric).abs() < 2e-4, "{x}");
            }
            assert_eq!((f.value(-200.0).abs() < 1e-30, f.value(200.0)), (true, 200.0));
        }
    }
}
