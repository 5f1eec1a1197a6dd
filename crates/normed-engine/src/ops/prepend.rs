//! Rows prepended to every sequence: the keys and values of a prefix (Li & Liang 2021, arXiv 2101.00190,
//! section 4.2), or virtual tokens (Lester et al. 2021, arXiv 2104.08691, section 2).
//!
//! Keeps nothing for backward, which splits the gradient. The part of the rows is summed over the sequences,
//! in order.

use super::element::{Element, dispatch};
use crate::tensor::{Graph, Operation, Tensor, Var};

/// Prepends the columns `first..first + C` of `rows [P, W]`, f32, to every sequence of `x [B, T, C]`:
/// `[B, P + T, C]` in the precision of `x`.
///
/// # Panics
/// If `rows` has fewer than `first + C` columns.
pub fn prepend_rows(g: &mut Graph<'_>, rows: &Var, first: usize, x: &Var) -> Var {
    let layout = Layout {
        sequences: x.shape()[0],
        prepended: rows.shape()[0],
        length: x.shape()[1],
        width: x.value.width(),
        first,
        row_width: rows.value.width(),
    };
    let precision = x.value.precision();
    let y = dispatch!(precision, layout.forward(&rows.value, &x.value));
    let (rows_slot, x_slot) = (rows.gradient_slot(), x.gradient_slot());
    let needed = rows_slot.needs_gradient() || x_slot.needs_gradient();
    g.record(y, needed, move |dy, gradients| {
        if rows_slot.needs_gradient() {
            gradients.add(rows_slot, dispatch!(precision, layout.rows_gradient(&dy)));
        }
        if x_slot.needs_gradient() {
            gradients.add(x_slot, dispatch!(precision, layout.x_gradient(&dy)));
        }
    })
}

/// The sizes of the values.
#[derive(Clone, Copy)]
struct Layout {
    /// `B`.
    sequences: usize,
    /// `P`.
    prepended: usize,
    /// `T`.
    length: usize,
    /// `C`.
    width: usize,
    /// The first column of the prepended rows that is used.
    first: usize,
    /// `W`.
    row_width: usize,
}

impl Layout {
    /// The elements of the prepended rows of a sequence, and of its own rows.
    fn parts(self) -> [usize; 2] {
        [self.prepended * self.width, self.length * self.width]
    }

    /// The columns of each row that are prepended.
    fn columns(self, rows: &[f32]) -> impl Iterator<Item = &[f32]> {
        rows.chunks_exact(self.row_width).map(move |row| &row[self.first..][..self.width])
    }

    fn forward<T: Element>(self, rows: &Tensor, x: &Tensor) -> Tensor {
        let mut y = T::empty_like(x, &[self.sequences, self.prepended + self.length, self.width]);
        y.count(Operation::Elementwise(y.len()));
        if y.is_planned() {
            return y;
        }
        let [before, own] = self.parts();
        let (rows, x) = (rows.data(), T::slice(x));
        for (b, y) in T::slice_mut(&mut y).chunks_exact_mut(before + own).enumerate() {
            let (head, tail) = y.split_at_mut(before);
            for (y, row) in head.chunks_exact_mut(self.width).zip(self.columns(rows)) {
                y.iter_mut().zip(row).for_each(|(y, &row)| *y = T::from_f32(row));
            }
            tail.copy_from_slice(&x[b * own..][..own]);
        }
        y
    }

    fn rows_gradient<T: Element>(self, dy: &Tensor) -> Tensor {
        let mut d = dy.zeros_like(&[self.prepended, self.row_width]);
        let [before, own] = self.parts();
        d.count_in_place(Operation::Elementwise(self.sequences * before));
        if d.is_planned() {
            return d;
        }
        let sums = d.data_mut();
        for dy in T::slice(dy).chunks_exact(before + own) {
            for (p, dy) in dy[..before].chunks_exact(self.width).enumerate() {
                let sums = &mut sums[p * self.row_width + self.first..][..self.width];
                sums.iter_mut().zip(dy).for_each(|(sum, dy)| *sum += dy.to_f32());
            }
        }
        d
    }

    fn x_gradient<T: Element>(self, dy: &Tensor) -> Tensor {
        let mut d = T::empty_like(dy, &[self.sequences, self.length, self.width]);
        let [before, own] = self.parts();
        d.count(Operation::Elementwise(d.len()));
        if d.is_planned() {
            return d;
        }
        let sequences = T::slice(dy).chunks_exact(before + own);
        for (d, dy) in T::slice_mut(&mut d).chunks_exact_mut(own.max(1)).zip(sequences) {
            d.copy_from_slice(&dy[before..]);
        }
        d
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{check_gradients, random_parameters};

    #[test]
    fn rows_are_prepended_to_every_sequence() {
        let (params, id) = random_parameters(&[&[2, 5], &[3, 2, 3]]);
        let mut g = Graph::inference(&params);
        let (rows, x) = (g.parameter(id[0]), g.parameter(id[1]));
        let y = prepend_rows(&mut g, &rows, 1, &x).value;
        assert_eq!(y.shape(), [3, 4, 3]);
        for b in 0..3 {
            let y = &y.data()[b * 12..][..12];
            assert_eq!(y[..3], rows.value.data()[1..4]);
            assert_eq!(y[3..6], rows.value.data()[6..9]);
            assert_eq!(y[6..], x.value.data()[b * 6..][..6]);
        }
        // Before an empty sequence, as in a new cache.
        let none = Var::constant(Tensor::zeros(&[3, 0, 3]));
        assert_eq!(prepend_rows(&mut g, &rows, 0, &none).shape(), [3, 2, 3]);
    }

    #[test]
    fn gradients_match_finite_differences() {
        let (mut params, id) = random_parameters(&[&[2, 5], &[3, 2, 3]]);
        let step = |g: &mut Graph<'_>| {
            let (rows, x) = (g.parameter(id[0]), g.parameter(id[1]));
            prepend_rows(g, &rows, 2, &x)
        };
        check_gradients(&mut params, step, 1e-2);
    }
}
