//! Dropout (Srivastava et al. 2014) and stochastic depth (Huang et al. 2016, arXiv 1603.09382), and the
//! residual additions after them.
//!
//! Whether an element is dropped is a function of the run's seed, the example's key, the place in the model
//! and the element's index within the example. It does not depend on the batch size or the number of
//! threads. Keeps for backward only the keys of that function: masks are computed again.

use std::sync::Arc;

use super::element::{Element, dispatch};
use super::simd::for_each_row;
use crate::tensor::{Graph, Operation, Tensor, Var};

/// The random numbers of one dropout layer in one forward pass.
#[derive(Debug, Clone)]
pub struct DropoutStream {
    /// One key for each example, `[B]`.
    keys: Arc<[u64]>,
    /// The probability of dropping an element.
    rate: f32,
}

impl DropoutStream {
    /// The random numbers of layer number `site`, from one key for each example. Examples with different
    /// keys, and layers with different numbers, have independent masks.
    pub fn new(example_keys: &[u64], seed: u64, site: u64, rate: f32) -> Self {
        let place = mix(seed ^ mix(site.wrapping_add(1)));
        // The Squares generator needs an odd key with well-mixed halves.
        let keys = example_keys.iter().map(|&k| mix(k ^ place) | 1).collect();
        Self { keys, rate }
    }

    /// The factor of element `index` of example `b`: 0 or `1 / (1 - rate)`.
    #[inline(always)]
    pub(super) fn factor(&self, b: usize, index: u64) -> f32 {
        let uniform = (squares(index, self.keys[b]) >> 8) as f32 * (1.0 / 16_777_216.0);
        if uniform < self.rate { 0.0 } else { 1.0 / (1.0 - self.rate) }
    }

    /// Multiplies the elements of `x [B, ..]` by their factors.
    fn apply(&self, x: &mut Tensor) {
        dispatch!(x.precision(), self.apply_in(x));
    }

    fn apply_in<T: Element>(&self, x: &mut Tensor) {
        x.count_in_place(Operation::Elementwise(x.len()));
        if x.is_planned() {
            return;
        }
        let per_example = x.len() / self.keys.len();
        let width = x.width();
        for_each_row(T::slice_mut(x), width, |i, row| {
            let start = i * width;
            let (b, offset) = (start / per_example, (start % per_example) as u64);
            for (j, x) in row.iter_mut().enumerate() {
                *x = T::from_f32(x.to_f32() * self.factor(b, offset + j as u64));
            }
        });
    }

    /// Multiplies each example of `x [B, ..]` by one factor, that of its element 0.
    fn apply_to_examples(&self, x: &mut Tensor) {
        x.count_in_place(Operation::Elementwise(x.len()));
        if x.is_planned() {
            return;
        }
        let per_example = x.len() / self.keys.len();
        for_each_row(x.data_mut(), per_example, |b, row| {
            let factor = self.factor(b, 0);
            for x in row {
                *x *= factor;
            }
        });
    }
}

/// One step of splitmix64 (Steele et al. 2014).
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// Squares, a counter-based random number generator (Widynski 2020, arXiv 2004.06278), in four rounds.
#[inline(always)]
fn squares(counter: u64, key: u64) -> u32 {
    let y = counter.wrapping_mul(key);
    let z = y.wrapping_add(key);
    let mut x = y;
    for add in [y, z, y] {
        x = x.wrapping_mul(x).wrapping_add(add).rotate_left(32);
    }
    (x.wrapping_mul(x).wrapping_add(z) >> 32) as u32
}

/// Dropout of the elements of `x [B, ..]`; `x` itself without a stream.
pub fn dropout(g: &mut Graph<'_>, x: Var, stream: Option<DropoutStream>) -> Var {
    let Some(stream) = stream else { return x };
    let input = x.gradient_slot();
    let mut y = x.value;
    stream.apply(&mut y);
    g.record(y, input.needs_gradient(), move |mut dy, gradients| {
        stream.apply(&mut dy);
        gradients.add(input, dy);
    })
}

/// `x + y` of values with the same shape and precision.
///
/// # Panics
/// If the sizes or the precisions differ.
pub fn add(g: &mut Graph<'_>, x: Var, y: &Var) -> Var {
    let (a, b) = (x.gradient_slot(), y.gradient_slot());
    let mut sum = x.value;
    sum.add_assign(&y.value);
    g.record(sum, a.needs_gradient() || b.needs_gradient(), move |d, gradients| {
        gradients.add(a, d.clone());
        gradients.add(b, d);
    })
}

/// `residual + dropout(x)`, all `[B, ..]`.
pub fn dropout_add(
    g: &mut Graph<'_>,
    x: Var,
    residual: &Var,
    stream: Option<DropoutStream>,
) -> Var {
    let x = dropout(g, x, stream);
    add(g, x, residual)
}

/// Stochastic depth: `residual + x`, where whole examples of `x [B, ..]`, f32, are dropped.
pub fn drop_path_add(g: &mut Graph<'_>, x: Var, residual: &Var, stream: DropoutStream) -> Var {
    let input = x.gradient_slot();
    let mut y = x.value;
    stream.apply_to_examples(&mut y);
    let y = g.record(y, input.needs_gradient(), move |mut dy, gradients| {
        stream.apply_to_examples(&mut dy);
        gradients.add(input, dy);
    });
    add(g, y, residual)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{check_gradients, random_parameters};

    #[test]
    fn drops_at_the_rate_and_keeps_the_mean() {
        let stream = DropoutStream::new(&[1, 2], 42, 0, 0.3);
        let mut x = Tensor::new(&[2, 100, 50], vec![1.0; 10_000]);
        stream.apply(&mut x);
        let dropped = x.data().iter().filter(|&&v| v == 0.0).count() as f64 / 10_000.0;
        assert!((dropped - 0.3).abs() < 0.02, "{dropped}");
        let mean = x.data().iter().sum::<f32>() / 10_000.0;
        assert!((mean - 1.0).abs() < 0.03, "{mean}");
        assert_ne!(x.data()[..5000], x.data()[5000..]);
    }

    #[test]
    fn a_mask_does_not_depend_on_the_batch_or_the_length() {
        let whole = DropoutStream::new(&[7, 8, 9], 1, 3, 0.5);
        let alone = DropoutStream::new(&[8], 1, 3, 0.5);
        let (mut a, mut b) =
            (Tensor::new(&[3, 4, 6], vec![1.0; 72]), Tensor::new(&[1, 3, 6], vec![1.0; 18]));
        whole.apply(&mut a);
        alone.apply(&mut b);
        assert_eq!(a.data()[24..42], *b.data());
        let mut other_site = Tensor::new(&[1, 3, 6], vec![1.0; 18]);
        DropoutStream::new(&[8], 1, 4, 0.5).apply(&mut other_site);
        assert_ne!(other_site.data(), b.data());
    }

    #[test]
    fn gradients_match_finite_differences() {
        let (mut params, id) = random_parameters(&[&[2, 3, 4], &[2, 3, 4]]);
        for is_drop_path in [false, true] {
            check_gradients(
                &mut params,
                |g| {
                    let (x, r) = (g.parameter(id[0]), g.parameter(id[1]));
                    let stream = DropoutStream::new(&[3, 4], 5, 6, 0.4);
                    match is_drop_path {
                        false => dropout_add(g, x, &r, Some(stream)),
                        true => drop_path_add(g, x, &r, stream),
                    }
                },
                2e-3,
            );
        }
    }
}
