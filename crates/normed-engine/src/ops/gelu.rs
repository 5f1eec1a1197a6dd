//! GELU, the exact form `x Φ(x)` (Hendrycks & Gimpel 2016, arXiv 1606.08415, eq. 1), as
//! `torch.nn.functional.gelu(approximate="none")`, and its slope `Φ(x) + x φ(x)`.

use super::simd::{erf, exp};

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
