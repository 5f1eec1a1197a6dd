//! The cross-entropy of a linear head, `cross_entropy(linear(x))`, some rows at a time, so that at most
//! [`MAX_LOGITS`] of the logits `[N, V]` are in memory (as in Hsu et al. 2024, arXiv 2410.10989, section
//! 3.2).
//!
//! Keeps for backward: the gradient of the input, and of the weight if it is trained. Both are computed in
//! forward, and backward multiplies them by the factor of the loss. If all logits fit, the two operations
//! are used instead.

use super::cross_entropy::{CrossEntropy, cross_entropy, losses};
use super::element::{Element, dispatch};
use super::linear::{LinearLayer, Output, linear};
use crate::tensor::{Gradients, Graph, Operation, ParamId, Precision, Tensor, Var};

/// Logits that are in memory at a time: 64 MiB.
const MAX_LOGITS: usize = 1 << 24;

/// The cross-entropy of the logits `x Wᵀ`, with the weight `[V, C]`, for `x [.., C]` whose leading dimensions
/// have `N` positions, and for `labels [N]`, as [`cross_entropy`].
///
/// # Panics
/// If there are not as many labels as positions, or if a label is not below `V`.
pub fn linear_cross_entropy(
    g: &mut Graph<'_>,
    x: &Var,
    weight: ParamId,
    labels: &[u32],
    label_smoothing: f32,
) -> CrossEntropy {
    in_chunks(g, x, weight, labels, label_smoothing, MAX_LOGITS)
}

/// [`linear_cross_entropy`] with at most `max_logits` logits in memory, or one row of them.
fn in_chunks(
    g: &mut Graph<'_>,
    x: &Var,
    weight: ParamId,
    labels: &[u32],
    label_smoothing: f32,
    max_logits: usize,
) -> CrossEntropy {
    let layer = LinearLayer::new(g, weight, None);
    let (vocab_size, width) = layer.dims();
    if labels.len() * vocab_size <= max_logits {
        let logits = linear(g, x, weight, None, Output::F32);
        return cross_entropy(g, logits, labels, label_smoothing);
    }
    let input = x.gradient_slot();
    let needed = input.needs_gradient() || layer.is_trained();
    let (shape, precision) = (x.shape().to_vec(), x.value.precision());
    let rows = x.value.clone().reshape(&[labels.len(), width]);
    let mut position_losses = vec![0.0; labels.len()];
    let mut dx = input.needs_gradient().then(|| rows.empty_like(rows.shape(), precision));
    let mut weight_gradients = Gradients::new();
    let mut at = 0;
    for labels in labels.chunks((max_logits / vocab_size).max(1)) {
        let n = labels.len();
        let x = rows.slice(at..at + n);
        let mut logits = layer.forward(&x, Precision::F32, Output::F32);
        logits.count_in_place(Operation::Elementwise(logits.len()));
        if !logits.is_planned() {
            losses(logits.data_mut(), &mut position_losses[at..at + n], labels, label_smoothing);
        }
        if needed {
            layer.add_parameter_gradients(
                &logits,
                layer.train_weight.then_some(&x),
                &mut weight_gradients,
            );
        }
        if let Some(dx) = &mut dx {
            let part = layer.input_gradient(&logits, &[n, width], precision);
            dispatch!(precision, copy_into(&part, dx, at * width));
        }
        at += n;
    }
    let total = position_losses.iter().map(|&x| f64::from(x)).sum();
    let value = rows.from_vec_like(&[1], vec![total as f32]);
    drop(rows);
    let output = g.record(value, needed, move |seed, gradients| {
        let factor = seed.data()[0];
        if let Some(dx) = dx {
            let dx = dispatch!(precision, times(dx, factor));
            gradients.add(input, dx.reshape(&shape));
        }
        if let Some(dw) = weight_gradients.param(weight) {
            gradients.add_param(weight, times::<f32>(dw.clone(), factor));
        }
    });
    CrossEntropy { sum: total, position_losses, output }
}

/// Copies `part` to the elements of `whole` from index `at` on.
fn copy_into<T: Element>(part: &Tensor, whole: &mut Tensor, at: usize) {
    whole.count_in_place(Operation::Elementwise(part.len()));
    if !whole.is_planned() {
        T::slice_mut(whole)[at..][..part.len()].copy_from_slice(T::slice(part));
    }
}

/// `factor * x`, computed in place.
fn times<T: Element>(mut x: Tensor, factor: f32) -> Tensor {
    if factor != 1.0 {
        x.count_in_place(Operation::Elementwise(x.len()));
        if !x.is_planned() {
            T::slice_mut(&mut x).iter_mut().for_each(|x| *x = T::from_f32(x.to_f32() * factor));
        }
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::IGNORE_INDEX;
    use crate::ops::testing::{assert_close, check_gradients, random_parameters};
    use crate::tensor::Parameters;

    const LABELS: [u32; 7] = [4, IGNORE_INDEX, 10, 0, IGNORE_INDEX, 3, 7];

    type Results = (f64, Vec<f32>, [Option<Vec<f32>>; 2]);

    /// The loss, the losses of positions, and the gradients of the input and of the weight, with 2.5 as the
    /// factor of the loss.
    fn results(params: &Parameters, id: &[ParamId], max_logits: usize) -> Results {
        let mut g = Graph::training(params);
        let x = g.parameter(id[0]);
        let ce = in_chunks(&mut g, &x, id[1], &LABELS, 0.1, max_logits);
        let mut gradients = Gradients::new();
        g.backward(ce.output.gradient_slot(), Tensor::new(&[1], vec![2.5]), &mut gradients);
        let of = |i: usize| gradients.param(id[i]).map(|g| g.data().to_vec());
        (ce.sum, ce.position_losses, [of(0), of(1)])
    }

    #[test]
    fn chunks_change_nothing_but_rounding() {
        let (mut params, id) = random_parameters(&[&[7, 5], &[11, 5]]);
        for trained in [[true, true], [true, false], [false, true], [false, false]] {
            for (&id, trained) in id.iter().zip(trained) {
                params.get_mut(id).set_trained(trained);
            }
            let (sum, position_losses, gradients) = results(&params, &id, 7 * 11);
            assert_eq!(gradients.each_ref().map(Option::is_some), trained);
            for chunk in [1, 11, 22, 33, 76] {
                let (s, p, g) = results(&params, &id, chunk);
                assert!((s - sum).abs() < 1e-5);
                assert_close(&p, &position_losses, 1e-6);
                for (ours, whole) in g.iter().zip(&gradients) {
                    match (ours, whole) {
                        (Some(ours), Some(whole)) => assert_close(ours, whole, 1e-5),
                        (ours, whole) => assert_eq!(ours, whole),
                    }
                }
            }
        }
    }

    #[test]
    fn gradients_match_finite_differences() {
        let (mut params, id) = random_parameters(&[&[7, 5], &[11, 5]]);
        check_gradients(
            &mut params,
            |g| {
                let x = g.parameter(id[0]);
                in_chunks(g, &x, id[1], &LABELS, 0.1, 30).output
            },
            5e-3,
        );
    }
}
