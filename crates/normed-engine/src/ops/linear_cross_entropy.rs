//! The cross-entropy of a prediction head's outputs, some rows at a time: `cross_entropy(linear(x))`, of
//! whose logits `[N, V]` no more than [`CHUNK`] are ever there (as in Hsu et al. 2024, arXiv 2410.10989,
//! section 3.2).
//!
//! Keeps: the input's gradient, and the matrix's where it is trained, both computed on the way forward,
//! times what backward starts from. Where all logits fit it is the two operations themselves.

use super::cross_entropy::{CrossEntropy, cross_entropy, losses};
use super::linear::{Layer, Output, linear};
use super::number::{Number, in_precision};
use crate::tensor::{Gradients, Graph, Operation, ParamId, Precision, Tensor, Var};

/// Logits that are there at a time: 64 MiB.
const CHUNK: usize = 1 << 24;

/// As `cross_entropy` of `linear` of `x [N, C]` (leading dimensions flattened), without a bias.
pub fn linear_cross_entropy(
    g: &mut Graph<'_>,
    x: &Var,
    weight: ParamId,
    labels: &[u32],
    label_smoothing: f32,
) -> CrossEntropy {
    of_chunks(g, x, weight, labels, label_smoothing, CHUNK)
}

fn of_chunks(
    g: &mut Graph<'_>,
    x: &Var,
    weight: ParamId,
    labels: &[u32],
    label_smoothing: f32,
    chunk: usize,
) -> CrossEntropy {
    let layer = Layer::of(g, weight, None);
    let (vocab_size, width) = layer.widths();
    if labels.len() * vocab_size <= chunk {
        let logits = linear(g, x, weight, None, Output::F32);
        return cross_entropy(g, logits, labels, label_smoothing);
    }
    let input = x.gradient_slot();
    let needed = input.needs_gradient() || layer.trained();
    let (shape, precision) = (x.shape().to_vec(), x.value.precision());
    let rows = x.value.clone().reshape(&[labels.len(), width]);
    let mut position_losses = vec![0.0; labels.len()];
    let mut dx = input.needs_gradient().then(|| rows.empty_like(rows.shape(), precision));
    let mut of_matrix = Gradients::new();
    let mut at = 0;
    for labels in labels.chunks((chunk / vocab_size).max(1)) {
        let n = labels.len();
        let x = rows.range(at..at + n);
        let mut logits = layer.output(&x, Precision::F32, Output::F32);
        logits.count_in_place(Operation::Pass(logits.len()));
        if !logits.is_planned() {
            losses(logits.data_mut(), &mut position_losses[at..at + n], labels, label_smoothing);
        }
        if needed {
            layer.add_gradients(&logits, layer.train_w.then_some(&x), &mut of_matrix);
        }
        if let Some(dx) = &mut dx {
            let part = layer.input_gradient(&logits, &[n, width], precision);
            in_precision!(precision, put(&part, dx, at * width));
        }
        at += n;
    }
    let total = position_losses.iter().map(|&x| f64::from(x)).sum();
    let value = rows.from_vec_like(&[1], vec![total as f32]);
    drop(rows);
    let output = g.record(value, needed, move |seed, gradients| {
        let factor = seed.data()[0];
        if let Some(dx) = dx {
            let dx = in_precision!(precision, times(dx, factor));
            gradients.add(input, dx.reshape(&shape));
        }
        if let Some(dw) = of_matrix.param(weight) {
            gradients.add_param(weight, times::<f32>(dw.clone(), factor));
        }
    });
    CrossEntropy { sum: total, position_losses, output }
}

/// Puts `part` where `whole` begins to be it.
fn put<T: Number>(part: &Tensor, whole: &mut Tensor, at: usize) {
    whole.count_in_place(Operation::Pass(part.len()));
    if !whole.is_planned() {
        T::of_mut(whole)[at..][..part.len()].copy_from_slice(T::of(part));
    }
}

fn times<T: Number>(mut x: Tensor, factor: f32) -> Tensor {
    if factor != 1.0 {
        x.count_in_place(Operation::Pass(x.len()));
        if !x.is_planned() {
            T::of_mut(&mut x).iter_mut().for_each(|x| *x = T::nearest(x.wide() * factor));
        }
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::IGNORE_INDEX;
    use crate::ops::check::{close, finite_differences, parameters};
    use crate::tensor::Parameters;

    const LABELS: [u32; 7] = [4, IGNORE_INDEX, 10, 0, IGNORE_INDEX, 3, 7];

    type Found = (f64, Vec<f32>, [Option<Vec<f32>>; 2]);

    /// The loss, those of position_losses, and the gradients of input and matrix, times 2.5.
    fn found(params: &Parameters, id: &[ParamId], chunk: usize) -> Found {
        let mut g = Graph::training(params);
        let x = g.parameter(id[0]);
        let ce = of_chunks(&mut g, &x, id[1], &LABELS, 0.1, chunk);
        let mut gradients = Gradients::new();
        g.backward(ce.output.gradient_slot(), Tensor::new(&[1], vec![2.5]), &mut gradients);
        let of = |i: usize| gradients.param(id[i]).map(|g| g.data().to_vec());
        (ce.sum, ce.position_losses, [of(0), of(1)])
    }

    #[test]
    fn chunks_change_nothing_but_rounding() {
        let (mut params, id) = parameters(&[&[7, 5], &[11, 5]]);
        for trained in [[true, true], [true, false], [false, true], [false, false]] {
            for (&id, trained) in id.iter().zip(trained) {
                params.get_mut(id).trained = trained;
            }
            let (sum, position_losses, gradients) = found(&params, &id, 7 * 11);
            assert_eq!(gradients.each_ref().map(Option::is_some), trained);
            for chunk in [1, 11, 22, 33, 76] {
                let (s, p, g) = found(&params, &id, chunk);
                assert!((s - sum).abs() < 1e-5);
                close(&p, &position_losses, 1e-6);
                for (ours, whole) in g.iter().zip(&gradients) {
                    match (ours, whole) {
                        (Some(ours), Some(whole)) => close(ours, whole, 1e-5),
                        (ours, whole) => assert_eq!(ours, whole),
                    }
                }
            }
        }
    }

    #[test]
    fn finite_differences_agree() {
        let (mut params, id) = parameters(&[&[7, 5], &[11, 5]]);
        finite_differences(
            &mut params,
            |g| {
                let x = g.parameter(id[0]);
                of_chunks(g, &x, id[1], &LABELS, 0.1, 30).output
            },
            5e-3,
        );
    }
}
