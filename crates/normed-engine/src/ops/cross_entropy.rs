//! Softmax cross-entropy with label smoothing (Szegedy et al. 2016, arXiv 1512.00567, section 7), summed over
//! positions: `(1 - ε) nll + ε mean_c(-log p_c)`. As `torch.nn.functional.cross_entropy` with
//! `reduction="sum"`, `label_smoothing=ε` and `ignore_index`.
//!
//! Keeps for backward: the gradient of the loss, `p - target`, which replaces the logits in memory.

use super::simd::{exp, fold, for_each_row_pair, max, sum};
use crate::tensor::{Graph, Operation, Var};

/// The label of a position that is left out of the loss.
pub const IGNORE_INDEX: u32 = u32::MAX;

/// The loss of a batch, label smoothing included.
#[derive(Debug)]
pub struct CrossEntropy {
    /// The sum over all positions.
    pub sum: f64,
    /// The loss of each position, `[N]`; 0 where the label is [`IGNORE_INDEX`].
    pub position_losses: Vec<f32>,
    /// The sum as a value `[1]` on the tape. [`Graph::backward`] starts from it, with the factor of the
    /// loss as its gradient.
    pub output: Var,
}

/// The cross-entropy of `logits [.., V]`, f32, whose leading dimensions have `N` positions, and of
/// `labels [N]`. Positions with the label [`IGNORE_INDEX`] are left out.
///
/// # Panics
/// If there are not as many labels as positions, or if a label is not below `V`.
pub fn cross_entropy(
    g: &mut Graph<'_>,
    logits: Var,
    labels: &[u32],
    label_smoothing: f32,
) -> CrossEntropy {
    let width = logits.value.width();
    let input = logits.gradient_slot();
    let mut rows = logits.value.reshape(&[labels.len(), width]);
    let mut position_losses = vec![0.0; labels.len()];
    rows.count_in_place(Operation::Elementwise(rows.len()));
    if !rows.is_planned() {
        losses(rows.data_mut(), &mut position_losses, labels, label_smoothing);
    }
    let total = position_losses.iter().map(|&x| f64::from(x)).sum();
    let value = rows.from_vec_like(&[1], vec![total as f32]);
    let output = g.record(value, input.needs_gradient(), move |seed, gradients| {
        let factor = seed.data()[0];
        let mut d = rows;
        if factor != 1.0 {
            d.count_in_place(Operation::Elementwise(d.len()));
            if !d.is_planned() {
                d.data_mut().iter_mut().for_each(|d| *d *= factor);
            }
        }
        gradients.add(input, d);
    });
    CrossEntropy { sum: total, position_losses, output }
}

/// Writes the loss of each row of logits to `position_losses`, and replaces the logits by their gradient.
pub(super) fn losses(
    rows: &mut [f32],
    positions: &mut [f32],
    labels: &[u32],
    label_smoothing: f32,
) {
    let width = rows.len() / labels.len().max(1);
    for_each_row_pair(
        rows,
        width,
        positions,
        1,
        #[inline(always)]
        |i, row, loss| {
            let [loss] = loss else { return };
            let label = labels[i];
            if label == IGNORE_INDEX {
                row.fill(0.0);
                return;
            }
            let top = max(row);
            let at_label = row[label as usize];
            let mean = sum(row) / width as f32;
            let total = fold(row, row, row, |acc, x, _, _| acc + exp(x - top));
            let log_total = total.ln() + top;
            let (nll, smooth) = (log_total - at_label, log_total - mean);
            *loss = (1.0 - label_smoothing).mul_add(nll, label_smoothing * smooth);
            let floor = label_smoothing / width as f32;
            for x in row.iter_mut() {
                *x = exp(*x - top) / total - floor;
            }
            row[label as usize] -= 1.0 - label_smoothing;
        },
    );
}

/// Replaces a row of logits by its log-softmax.
pub fn log_softmax(row: &mut [f32]) {
    let top = max(row);
    let total: f64 = row.iter().map(|&x| f64::from(x - top).exp()).sum();
    let log_total = total.ln() as f32 + top;
    row.iter_mut().for_each(|x| *x -= log_total);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{assert_close, check_gradients, random_parameters};

    #[test]
    fn matches_the_plain_formula_and_leaves_out_ignored_positions() {
        let (params, id) = random_parameters(&[&[3, 11]]);
        for smoothing in [0.0, 0.1] {
            let mut g = Graph::inference(&params);
            let logits = g.parameter(id[0]);
            let ce = cross_entropy(&mut g, logits, &[4, IGNORE_INDEX, 10], smoothing);
            let mut want = 0.0;
            for (row, label) in [(0, 4), (2, 10)] {
                let mut p = params.get(id[0]).value().data()[row * 11..][..11].to_vec();
                log_softmax(&mut p);
                let mean = p.iter().sum::<f32>() / 11.0;
                want -= f64::from((1.0 - smoothing) * p[label] + smoothing * mean);
            }
            assert!((ce.sum - want).abs() < 1e-5);
            assert_eq!(ce.position_losses[1], 0.0);
        }
    }

    #[test]
    fn log_softmax_sums_to_one() {
        let mut row = vec![1.0, -2.0, 30.0, 29.0];
        log_softmax(&mut row);
        assert_close(&[row.iter().map(|x| x.exp()).sum()], &[1.0], 1e-6);
    }

    #[test]
    fn gradients_match_finite_differences() {
        let (mut params, id) = random_parameters(&[&[3, 11]]);
        check_gradients(
            &mut params,
            |g| {
                let logits = g.parameter(id[0]);
                cross_entropy(g, logits, &[4, IGNORE_INDEX, 10], 0.1).output
            },
            5e-3,
        );
    }
}
