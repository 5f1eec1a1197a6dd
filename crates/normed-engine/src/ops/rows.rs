//! Rows assembled from several sources, and rows selected from a value. A language model's input has the
//! states of an image among its token embeddings, and its head computes logits for few positions.
//!
//! Keeps for backward: the source of each row.

use super::element::{Element, dispatch};
use crate::tensor::{Elements, GradientSlot, Graph, Operation, ParamId, Precision, Tensor, Var};

/// The source of a row in [`assemble_rows`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowSource {
    /// The row with this index in the embedding table.
    Table(u32),
    /// The row with this index in the value.
    Value(usize),
    /// Zeros.
    Padding,
}

/// Assembles `[B, T, C]`, f32, where `T` is `width`, from the rows of the embedding table `[V, C]` and of
/// `value [.., C]` that `rows` names.
///
/// No row of the value may be named twice: backward writes its gradient once rather than adding.
///
/// # Panics
/// If an index is outside the table or the value.
pub fn assemble_rows(
    g: &mut Graph<'_>,
    table: ParamId,
    value: Option<&Var>,
    rows: &[RowSource],
    width: usize,
) -> Var {
    let w = g.param(table).value().clone();
    let channels = w.width();
    let out = assemble(&w, value.map(|value| &value.value), rows, width);
    let train = g.needs_gradient_of(table);
    let input = value.map_or(GradientSlot::none(), Var::gradient_slot);
    let shape = value.map(|value| value.shape().to_vec()).unwrap_or_default();
    let rows = rows.to_vec();
    g.record(out, train || input.needs_gradient(), move |dy, gradients| {
        let each = || rows.iter().zip(dy.data().chunks_exact(channels));
        if train {
            let mut dw = dy.zeros_like(w.shape());
            dw.count(Operation::Elementwise(dy.len()));
            if !dw.is_planned() {
                let sums = dw.data_mut();
                for (row, dy) in each() {
                    if let RowSource::Table(id) = *row {
                        let sums = &mut sums[id as usize * channels..][..channels];
                        sums.iter_mut().zip(dy).for_each(|(s, d)| *s += d);
                    }
                }
            }
            gradients.add_param(table, dw);
        }
        if input.needs_gradient() {
            let mut dx = dy.zeros_like(&shape);
            dx.count(Operation::Elementwise(dx.len()));
            if !dx.is_planned() {
                let dx = dx.data_mut();
                for (row, dy) in each() {
                    if let RowSource::Value(i) = *row {
                        dx[i * channels..][..channels].copy_from_slice(dy);
                    }
                }
            }
            gradients.add(input, dx);
        }
    })
}

/// The forward pass of [`assemble_rows`].
fn assemble(table: &Tensor, value: Option<&Tensor>, rows: &[RowSource], width: usize) -> Tensor {
    let channels = table.width();
    let mut out = table.empty_like(&[rows.len() / width, width, channels], Precision::F32);
    out.count(Operation::Elementwise(out.len()));
    if out.is_planned() {
        return out;
    }
    for (out, row) in out.data_mut().chunks_exact_mut(channels).zip(rows) {
        match (*row, table.elements()) {
            (RowSource::Table(id), Elements::F32(table)) => {
                out.copy_from_slice(&table[id as usize * channels..][..channels]);
            }
            (RowSource::Table(id), Elements::Bf16(table)) => {
                let row = &table[id as usize * channels..][..channels];
                out.iter_mut().zip(row).for_each(|(y, w)| *y = w.to_f32());
            }
            (RowSource::Value(i), _) => {
                let value = value.map(Tensor::data).unwrap_or_default();
                out.copy_from_slice(&value[i * channels..][..channels]);
            }
            (RowSource::Padding, _) => out.fill(0.0),
        }
    }
    out
}

/// Selects the rows `rows` of `x [.., C]`: `[B, T, C]` in the precision of `x`, where `T` is `width`. A row
/// may be selected more than once. If `x` needs a gradient, it must be f32.
///
/// # Panics
/// If an index is outside `x`.
pub fn select_rows(g: &mut Graph<'_>, x: &Var, rows: Vec<usize>, width: usize) -> Var {
    let shape = [rows.len() / width, width, x.value.width()];
    let out = dispatch!(x.value.precision(), select(&x.value, &rows, &shape));
    let channels = x.value.width();
    let (input, shape) = (x.gradient_slot(), x.shape().to_vec());
    g.record(out, input.needs_gradient(), move |dy, gradients| {
        let mut dx = dy.zeros_like(&shape);
        dx.count(Operation::Elementwise(dx.len()));
        if !dx.is_planned() {
            let sums: &mut [f32] = dx.data_mut();
            for (dy, &row) in dy.data().chunks_exact(channels).zip(&rows) {
                let sums = &mut sums[row * channels..][..channels];
                sums.iter_mut().zip(dy).for_each(|(s, d)| *s += d);
            }
        }
        gradients.add(input, dx);
    })
}

/// The forward pass of [`select_rows`].
fn select<T: Element>(x: &Tensor, rows: &[usize], shape: &[usize]) -> Tensor {
    let mut out = T::empty_like(x, shape);
    out.count(Operation::Elementwise(out.len()));
    if !out.is_planned() {
        let channels = x.width();
        for (out, &row) in T::slice_mut(&mut out).chunks_exact_mut(channels).zip(rows) {
            out.copy_from_slice(&T::slice(x)[row * channels..][..channels]);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::RowSource::{Padding, Table, Value};
    use super::*;
    use crate::ops::testing::{check_gradients, random_parameters};

    const ROWS: [RowSource; 6] = [Table(4), Value(1), Value(0), Table(0), Table(4), Padding];

    #[test]
    fn rows_come_from_their_sources() {
        let (params, id) = random_parameters(&[&[5, 3], &[2, 3]]);
        let mut g = Graph::inference(&params);
        let value = g.parameter(id[1]);
        let y = assemble_rows(&mut g, id[0], Some(&value), &ROWS, 3);
        assert_eq!(y.shape(), [2, 3, 3]);
        let (w, v) = (params.get(id[0]).value().data(), params.get(id[1]).value().data());
        let want = [&w[12..], &v[3..], &v[..3], &w[..3], &w[12..], &[0.0; 3]].concat();
        assert_eq!(y.value.data(), want);
        let selected = select_rows(&mut g, &y, vec![3, 1], 1);
        assert_eq!(selected.shape(), [2, 1, 3]);
        assert_eq!(*selected.value.data(), [&w[..3], &v[3..]].concat());
    }

    #[test]
    fn gradients_match_finite_differences() {
        let (mut params, id) = random_parameters(&[&[5, 3], &[3, 3]]);
        check_gradients(
            &mut params,
            |g| {
                let value = g.parameter(id[1]);
                let y = assemble_rows(g, id[0], Some(&value), &ROWS, 3);
                // One row is selected twice, some not at all.
                select_rows(g, &y, vec![1, 4, 1, 2], 2)
            },
            1e-3,
        );
    }
}
