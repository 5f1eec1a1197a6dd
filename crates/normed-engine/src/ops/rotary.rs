//! Rotary position embedding (Su et al. 2021, arXiv 2104.09864, eq. 34), with the halves of a head as
//! transformers has them: element `i` and element `i + d/2` of a head are turned by one angle.
//!
//! Works in place and keeps nothing but the table of angles; backward turns the other way.

use std::sync::Arc;

use super::number::{Number, in_precision};
use super::simd::for_rows;
use crate::tensor::{Graph, Operation, Tensor, Var};

/// The angles of rows: `N` rows of `d/2`, used in turn by the rows of a value.
#[derive(Debug, Clone)]
pub struct RotaryTable {
    /// `[N, d/2]`, times the scale.
    cos: Arc<[f32]>,
    /// `[N, d/2]`, times the scale.
    sin: Arc<[f32]>,
    half: usize,
}

impl RotaryTable {
    /// Turns a row by `position * frequency` for each of its frequencies, of which a head has half as
    /// many as elements, and multiplies it by `scale`. The rows are given as their position and their
    /// frequencies, all equally many.
    pub fn new<'f>(rows: impl Iterator<Item = (usize, &'f [f32])>, scale: f32) -> Self {
        let (mut cos, mut sin, mut half) = (Vec::new(), Vec::new(), 0);
        for (position, frequencies) in rows {
            half = frequencies.len();
            for &frequency in frequencies {
                // A product in f32, as transformers computes it.
                let (s, c) = (position as f32 * frequency).sin_cos();
                cos.push(c * scale);
                sin.push(s * scale);
            }
        }
        Self { cos: cos.into(), sin: sin.into(), half }
    }

    /// Turns `x` in place; back, where `sign` is negative.
    fn turn<T: Number>(&self, x: &mut Tensor, sign: f32) {
        x.count_in_place(Operation::Pass(x.len()));
        if x.is_planned() {
            return;
        }
        let (width, half) = (x.width(), self.half);
        let rows = self.cos.len() / half;
        for_rows(
            T::of_mut(x),
            width,
            #[inline(always)]
            |i, row| {
                let at = i % rows * half;
                let (cos, sin) = (&self.cos[at..][..half], &self.sin[at..][..half]);
                for head in row.chunks_exact_mut(2 * half) {
                    let (a, b) = head.split_at_mut(half);
                    for j in 0..half {
                        let (x, y, sin) = (a[j].wide(), b[j].wide(), sign * sin[j]);
                        a[j] = T::nearest(x.mul_add(cos[j], -y * sin));
                        b[j] = T::nearest(y.mul_add(cos[j], x * sin));
                    }
                }
            },
        );
    }
}

/// `x [B, T, H * d]` turned; its rows, of all sequences in order, take the rotation's in turn.
pub fn apply_rotary(g: &mut Graph<'_>, x: Var, rotation: &RotaryTable) -> Var {
    let precision = x.value.precision();
    assert!(x.value.width().is_multiple_of(2 * rotation.half), "heads of {}", rotation.half);
    assert!((x.value.rows() * rotation.half).is_multiple_of(rotation.cos.len()), "rows");
    let input = x.gradient_slot();
    let mut y = x.value;
    in_precision!(precision, rotation.turn(&mut y, 1.0));
    let rotation = rotation.clone();
    g.record(y, input.needs_gradient(), move |mut dy, gradients| {
        in_precision!(precision, rotation.turn(&mut dy, -1.0));
        gradients.add(input, dy);
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::{close, finite_differences, parameters};

    const FREQUENCIES: [f32; 3] = [1.0, 0.1, 0.01];

    fn rotation(scale: f32) -> RotaryTable {
        RotaryTable::new((0..4).map(|t| (t, &FREQUENCIES[..])), scale)
    }

    #[test]
    fn equals_the_complex_product() {
        let (params, id) = parameters(&[&[2, 4, 12]]);
        let mut g = Graph::inference(&params);
        let x = g.parameter(id[0]);
        let y = apply_rotary(&mut g, x, &rotation(1.5)).value;
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
        close(y.data(), &want, 1e-6);
    }

    #[test]
    fn finite_differences_agree() {
        let (mut params, id) = parameters(&[&[2, 4, 12]]);
        finite_differences(
            &mut params,
            |g| {
                let x = g.parameter(id[0]);
                apply_rotary(g, x, &rotation(0.8))
            },
            1e-3,
        );
    }
}
