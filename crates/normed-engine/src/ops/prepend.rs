//! Rows before those of every sequence: keys and values of a prefix (Li & Liang 2021, arXiv 2101.00190,
//! section 4.2), virtual tokens (Lester et al. 2021, arXiv 2104.08691, section 2).
//!
//! Keeps nothing. Backward parts the gradient: the rows' is summed over the sequences, in order.

use super::number::{Number, in_precision};
use crate::tensor::{Graph, Operation, Tensor, Var};

/// `x [B, T, C]` behind the columns `first..first + C` of `rows [P, W]`, f32: `[B, P + T, C]` in the
/// precision of `x`.
pub fn prepend_rows(g: &mut Graph<'_>, rows: &Var, first: usize, x: &Var) -> Var {
    let layout = Layout {
        sequences: x.shape()[0],
        before: rows.shape()[0],
        own: x.shape()[1],
        width: x.value.width(),
        first,
        row_width: rows.value.width(),
    };
    let precision = x.value.precision();
    let y = in_precision!(precision, layout.forward(&rows.value, &x.value));
    let (of_rows, of_x) = (rows.gradient_slot(), x.gradient_slot());
    let needed = of_rows.needs_gradient() || of_x.needs_gradient();
    g.record(y, needed, move |dy, gradients| {
        if of_rows.needs_gradient() {
            gradients.add(of_rows, in_precision!(precision, layout.rows_gradient(&dy)));
        }
        if of_x.needs_gradient() {
            gradients.add(of_x, in_precision!(precision, layout.own_gradient(&dy)));
        }
    })
}

/// Where everything is.
#[derive(Clone, Copy)]
struct Layout {
    sequences: usize,
    before: usize,
    own: usize,
    width: usize,
    first: usize,
    row_width: usize,
}

impl Layout {
    /// Elements of a sequence's rows before, and of its own.
    fn parts(self) -> [usize; 2] {
        [self.before * self.width, self.own * self.width]
    }

    /// The columns that are meant, of each row.
    fn columns(self, rows: &[f32]) -> impl Iterator<Item = &[f32]> {
        rows.chunks_exact(self.row_width).map(move |row| &row[self.first..][..self.width])
    }

    fn forward<T: Number>(self, rows: &Tensor, x: &Tensor) -> Tensor {
        let mut y = T::empty_like(x, &[self.sequences, self.before + self.own, self.width]);
        y.count(Operation::Pass(y.len()));
        if y.is_planned() {
            return y;
        }
        let [before, own] = self.parts();
        let (rows, x) = (rows.data(), T::of(x));
        for (b, y) in T::of_mut(&mut y).chunks_exact_mut(before + own).enumerate() {
            let (head, tail) = y.split_at_mut(before);
            for (y, row) in head.chunks_exact_mut(self.width).zip(self.columns(rows)) {
                y.iter_mut().zip(row).for_each(|(y, &row)| *y = T::nearest(row));
            }
            tail.copy_from_slice(&x[b * own..][..own]);
        }
        y
    }

    fn rows_gradient<T: Number>(self, dy: &Tensor) -> Tensor {
        let mut d = dy.zeros_like(&[self.before, self.row_width]);
        let [before, own] = self.parts();
        d.count_in_place(Operation::Pass(self.sequences * before));
        if d.is_planned() {
            return d;
        }
        let sums = d.data_mut();
        for dy in T::of(dy).chunks_exact(before + own) {
            for (p, dy) in dy[..before].chunks_exact(self.width).enumerate() {
                let sums = &mut sums[p * self.row_width + self.first..][..self.width];
                sums.iter_mut().zip(dy).for_each(|(sum, dy)| *sum += dy.wide());
            }
        }
        d
    }

    fn own_gradient<T: Number>(self, dy: &Tensor) -> Tensor {
        let mut d = T::empty_like(dy, &[self.sequences, self.own, self.width]);
        let [before, own] = self.parts();
        d.count(Operation::Pass(d.len()));
        if d.is_planned() {
            return d;
        }
        let each = T::of(dy).chunks_exact(before + own);
        for (d, dy) in T::of_mut(&mut d).chunks_exact_mut(own.max(1)).zip(each) {
            d.copy_from_slice(&dy[before..]);
        }
        d
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::{finite_differences, parameters};

    #[test]
    fn rows_stand_before_every_sequence() {
        let (params, id) = parameters(&[&[2, 5], &[3, 2, 3]]);
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
        // Before nothing, as a cache begins.
        let none = Var::constant(Tensor::zeros(&[3, 0, 3]));
        assert_eq!(prepend_rows(&mut g, &rows, 0, &none).shape(), [3, 2, 3]);
    }

    #[test]
    fn finite_differences_agree() {
        let (mut params, id) = parameters(&[&[2, 5], &[3, 2, 3]]);
        let step = |g: &mut Graph<'_>| {
            let (rows, x) = (g.parameter(id[0]), g.parameter(id[1]));
            prepend_rows(g, &rows, 2, &x)
        };
        finite_differences(&mut params, step, 1e-2);
    }
}
