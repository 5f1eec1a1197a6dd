//! Values side by side: a projector can read the states after several blocks of an image encoder at once.
//!
//! Keeps for backward: the widths.

use super::element::{Element, dispatch};
use crate::tensor::{Graph, Operation, Precision, Tensor, Var};

/// Joins values `[.., C1]`, `[.., C2]`, ... with equally many rows to `[.., C1 + C2 + ..]`, in their precision. If
/// one of them needs a gradient, all must be f32.
///
/// # Panics
/// If there are none, or if they differ in their rows or their precision.
pub fn concat_channels(g: &mut Graph<'_>, parts: &[Var]) -> Var {
    let values: Vec<&Tensor> = parts.iter().map(|part| &part.value).collect();
    let out = dispatch!(values[0].precision(), concat(&values));
    let needed = parts.iter().any(|part| part.gradient_slot().needs_gradient());
    let parts: Vec<_> =
        parts.iter().map(|part| (part.gradient_slot(), part.shape().to_vec())).collect();
    g.record(out, needed, move |dy, gradients| {
        let mut first = 0;
        for (input, shape) in parts {
            let width = shape.last().copied().unwrap_or_default();
            if input.needs_gradient() {
                let mut dx = dy.empty_like(&shape, Precision::F32);
                dx.count(Operation::Elementwise(dx.len()));
                if !dx.is_planned() {
                    let rows = dy.data().chunks_exact(dy.width());
                    for (dx, dy) in dx.data_mut().chunks_exact_mut(width).zip(rows) {
                        dx.copy_from_slice(&dy[first..first + width]);
                    }
                }
                gradients.add(input, dx);
            }
            first += width;
        }
    })
}

/// The forward pass of [`concat_channels`].
fn concat<T: Element>(values: &[&Tensor]) -> Tensor {
    let width: usize = values.iter().map(|value| value.width()).sum();
    let mut shape = values[0].shape().to_vec();
    if let Some(last) = shape.last_mut() {
        *last = width;
    }
    let mut out = T::empty_like(values[0], &shape);
    out.count(Operation::Elementwise(out.len()));
    if out.is_planned() {
        return out;
    }
    let mut first = 0;
    for value in values {
        let own = value.width();
        let rows = T::slice(value).chunks_exact(own);
        for (out, row) in T::slice_mut(&mut out).chunks_exact_mut(width).zip(rows) {
            out[first..first + own].copy_from_slice(row);
        }
        first += own;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{check_gradients, random_parameters};

    #[test]
    fn values_stand_side_by_side() {
        let (mut params, id) = random_parameters(&[&[2, 3, 2], &[2, 3, 4]]);
        let joined = |g: &mut Graph<'_>| {
            let parts = [0, 1, 0].map(|i| g.parameter(id[i]));
            concat_channels(g, &parts)
        };
        let y = joined(&mut Graph::inference(&params));
        assert_eq!(y.shape(), [2, 3, 8]);
        let (a, b) = (params.get(id[0]).value().data(), params.get(id[1]).value().data());
        assert_eq!(y.value.data()[8..16], [&a[2..4], &b[4..8], &a[2..4]].concat());
        check_gradients(&mut params, joined, 1e-3);
    }
}
