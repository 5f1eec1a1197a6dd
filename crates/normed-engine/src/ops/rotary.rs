//! Rotary position embedding (RoPE; Su et al. 2021, arXiv 2104.09864, eq. 34). As in transformers, the
//! elements `i` and `i + d/2` of a head are rotated together.
//!
//! Works in place. Keeps for backward only the table of angles; backward rotates by the negative angles.

use std::sync::Arc;

use super::element::{Element, dispatch};
use super::simd::for_each_row;
use crate::tensor::{Graph, Operation, Tensor, Var};

/// The cosines and sines of the angles of `N` rows, `[N, d/2]` each, for heads of `d` elements.
#[derive(Debug, Clone)]
pub struct RotaryTable {
    /// The cosines times the scale, `[N, d/2]`.
    cos: Arc<[f32]>,
    /// The sines times the scale, `[N, d/2]`.
    sin: Arc<[f32]>,
    /// `d/2`.
    half: usize,
}

impl RotaryTable {
    /// The table of rows that are each given by a position and `d/2` frequencies. The angles of a row are
    /// `position * frequency`, and the rotated row is multiplied by `scale`.
    pub fn new<'f>(rows: impl Iterator<Item = (usize, &'f [f32])>, scale: f32) -> Self {
        let (mut cos, mut sin, mut half) = (Vec::new(), Vec::new(), 0);
        for (position, frequencies) in rows {
            half = frequencies.len();
            for &frequency in frequencies {
                // The angle is computed in f32, as in transformers.
                let (s, c) = (position as f32 * frequency).sin_cos();
                cos.push(c * scale);
                sin.push(s * scale);
            }
        }
        Self { cos: cos.into(), sin: sin.into(), half }
    }

    /// Rotates `x` in place, by the angles times `sign`.
    fn rotate<T: Element>(&self, x: &mut Tensor, sign: f32) {
        x.count_in_place(Operation::Elementwise(x.len()));
        if x.is_planned() {
            return;
        }
        let (width, half) = (x.width(), self.half);
        let rows = self.cos.len() / half;
        for_each_row(
            T::slice_mut(x),
            width,
            #[inline(always)]
            |i, row| {
                let at = i % rows * half;
                let (cos, sin) = (&self.cos[at..][..half], &self.sin[at..][..half]);
                for head in row.chunks_exact_mut(2 * half) {
                    let (a, b) = head.split_at_mut(half);
                    for j in 0..half {
                        let (x, y, sin) = (a[j].to_f32(), b[j].to_f32(), sign * sin[j]);
                        a[j] = T::from_f32(x.mul_add(cos[j], -y * sin));
                        b[j] = T::from_f32(y.mul_add(cos[j], x * sin));
                    }
                }
            },
        );
    }
}

/// Rotates the heads of `x [B, T, H * d]`. Row `i` of the `B * T` rows takes row `i % N` of the table.
///
/// # Panics
/// If the rows of `x` are not whole heads, or if their number is not a multiple of `N`.
pub fn apply_rotary(g: &mut Graph<'_>, x: Var, table: &RotaryTable) -> Var {
    let precision = x.value.precision();
    let (head, rows) = (2 * table.half, table.cos.len() / table.half.max(1));
    assert!(
        x.value.width().is_multiple_of(head) && x.value.rows().is_multiple_of(rows),
        "a rotary table of {rows} rows for heads of {head} does not fit a value of shape {:?}",
        x.shape()
    );
    let input = x.gradient_slot();
    let mut y = x.value;
    dispatch!(precision, table.rotate(&mut y, 1.0));
    let table = table.clone();
    g.record(y, input.needs_gradient(), move |mut dy, gradients| {
        dispatch!(precision, table.rotate(&mut dy, -1.0));
        gradients.add(input, dy);
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{assert_close, check_gradients, random_parameters};

    const FREQUENCIES: [f32; 3] = [1.0, 0.1, 0.01];

    fn table(scale: f32) -> RotaryTable {
        RotaryTable::new((0..4).map(|t| (t, &FREQUENCIES[..])), scale)
    }

    #[test]
    fn matches_multiplication_by_complex_numbers() {
        let (params, id) = random_parameters(&[&[2, 4, 12]]);
        let mut g = Graph::inference(&params);
        let x = g.parameter(id[0]);
        let y = apply_rotary(&mut g, x, &table(1.5)).value;
        let x = params.get(id[0]).value().data();
        let mut want = vec![0.0; x.len()];
        for row in 0..8 {
            for (head, j) in [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)] {
                let at = row * 12 + head * 6 + j;
                let angle = (row % 4) as f32 * FREQUENCIES[j];
                let (a, b) = (x[at], x[at + 3]);
                want[at] = 1.5 * (a * angle.cos() - b * angle.sin());
                want[at + 3] = 1.5 * (b * angle.cos() + a * angle.sin());
            }
        }
        assert_close(y.data(), &want, 1e-6);
    }

    #[test]
    fn gradients_match_finite_differences() {
        let (mut params, id) = random_parameters(&[&[2, 4, 12]]);
        check_gradients(
            &mut params,
            |g| {
                let x = g.parameter(id[0]);
                apply_rotary(g, x, &table(0.8))
            },
            1e-3,
        );
    }
}
