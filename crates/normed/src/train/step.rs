//! One optimizer step: forward, loss and backward of each micro-batch, then clipping and the update.

use rayon::prelude::*;

use super::adamw::AdamW;
use super::finite::{check_gradients, check_loss};
use crate::Result;
use crate::data::{Batch, PreparedExample};
use crate::models::Model;
use crate::nn::{Mode, Noise};
use crate::ops::CrossEntropy;
use crate::recipe::TrainSpec;
use crate::tensor::{DropoutSeeds, Gradients, Graph, Parameters, Tensor};

/// Options of an optimizer step.
#[derive(Debug, Clone, Copy)]
pub struct StepOptions<'a> {
    /// Label smoothing, dropout, gradient clipping and recomputation.
    pub spec: &'a TrainSpec,
    /// Seed of dropout and other noise; the keys of the examples enter as well.
    pub seed: u64,
    /// Learning rate.
    pub lr: f32,
}

/// Result of an optimizer step.
#[derive(Debug)]
pub struct StepResult {
    /// Mean loss over all target tokens, in nats, with label smoothing.
    pub loss: f64,
    /// Euclidean norm of the gradient before clipping.
    pub grad_norm: f64,
    /// Number of examples.
    pub examples: usize,
    /// For each trained parameter: whether its gradient is not zero.
    pub reached: Vec<bool>,
    /// For each trained parameter: whether the step changed it.
    pub moved: Vec<bool>,
}

/// Makes one optimizer step over `micro_batches`, whose gradients are accumulated.
///
/// Loss and gradients are means over the target tokens of all micro-batches together. How examples are
/// divided into micro-batches affects the result only by rounding.
///
/// # Errors
///
/// If a micro-batch cannot be read or does not fit the model, or if the loss or a gradient is not finite
/// ([`ErrorKind::Diverged`](crate::ErrorKind::Diverged)).
pub fn train_step(
    model: &dyn Model,
    params: &mut Parameters,
    optimizer: &mut AdamW,
    micro_batches: impl Iterator<Item = Result<(Batch, Vec<PreparedExample>)>>,
    StepOptions { spec, seed, lr }: StepOptions<'_>,
) -> Result<StepResult> {
    let noise = noise(spec, seed);
    let mut gradients = Gradients::new();
    let (mut loss, mut targets, mut examples) = (0.0, 0, 0);
    for item in micro_batches {
        let (batch, prepared) = item?;
        let check = |loss: &CrossEntropy| check_loss(loss, &prepared);
        loss += accumulate(model, params, &batch, (spec, noise), check, &mut gradients)?;
        targets += batch.target_count;
        examples += prepared.len();
    }
    let per_target = 1.0 / targets.max(1) as f64;
    let norms: Vec<f64> = params
        .trained()
        .map(|(id, _)| gradients.param(id).map_or(0.0, |g| per_target * norm(g.data())))
        .collect();
    check_gradients(params, &norms)?;
    let grad_norm = norms.iter().map(|n| n * n).sum::<f64>().sqrt();
    let clip = match f64::from(spec.max_grad_norm) {
        max_norm if max_norm > 0.0 => (max_norm / (grad_norm + 1e-6)).min(1.0),
        _ => 1.0,
    };
    let moved = optimizer.update(params, &gradients, (per_target * clip) as f32, lr);
    let reached = norms.iter().map(|&n| n > 0.0).collect();
    Ok(StepResult { loss: loss * per_target, grad_norm, examples, reached, moved })
}

/// The noise of training: dropout and stochastic depth.
pub(super) fn noise(spec: &TrainSpec, seed: u64) -> Noise {
    Noise { seed, dropout: spec.dropout, drop_path: spec.drop_path }
}

/// Forward and backward pass of one micro-batch. Adds its gradients to `gradients` and returns its
/// summed loss. `check` is called between the passes and can fail.
pub(super) fn accumulate(
    model: &dyn Model,
    params: &Parameters,
    batch: &Batch,
    (spec, noise): (&TrainSpec, Noise),
    check: impl FnOnce(&CrossEntropy) -> Result<()>,
    gradients: &mut Gradients,
) -> Result<f64> {
    let seeds = DropoutSeeds { seed: noise.seed, keys: batch.keys.as_slice().into() };
    let mut g = Graph::training(params).with_recompute(spec.recompute).with_dropout_seeds(seeds);
    let ce = model.loss(&mut g, batch, Mode::Train(noise), spec.label_smoothing)?;
    check(&ce)?;
    g.backward(ce.output.gradient_slot(), Tensor::new(&[1], vec![1.0]), gradients);
    Ok(ce.sum)
}

/// The Euclidean norm. It is summed in blocks of fixed size, so that it does not depend on the number of
/// threads.
fn norm(values: &[f32]) -> f64 {
    let square = |block: &[f32]| block.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>();
    let blocks: Vec<f64> = values.par_chunks(1 << 15).map(square).collect();
    blocks.iter().sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::test_model::{TestModel, batch};

    /// The parameters after `steps` steps over the same twelve examples, and the losses.
    fn train(micro_batch: usize, steps: usize, spec: &TrainSpec) -> (Vec<f32>, Vec<f64>) {
        let (model, mut params) = TestModel::new();
        let mut optimizer = AdamW::new(&params, spec);
        let examples: Vec<usize> = (0..12).collect();
        let losses = (0..steps)
            .map(|_| {
                let micro_batches = examples.chunks(micro_batch).map(|ids| Ok(batch(ids)));
                let result = train_step(
                    &model,
                    &mut params,
                    &mut optimizer,
                    micro_batches,
                    StepOptions { spec, seed: 3, lr: 0.05 },
                );
                result.unwrap().loss
            })
            .collect();
        (params.trained().flat_map(|(_, p)| p.value().data().to_vec()).collect(), losses)
    }

    #[test]
    fn micro_batches_affect_the_result_only_by_rounding() {
        // Answers of 1 to 4 tokens: a mean of micro-batch means would differ.
        let spec = TrainSpec { dropout: Some(0.2), ..TrainSpec::default() };
        let (whole, _) = train(12, 4, &spec);
        for micro_batch in [1, 5] {
            let (parts, _) = train(micro_batch, 4, &spec);
            for (a, b) in whole.iter().zip(&parts) {
                assert!((a - b).abs() < 2e-4, "micro-batches of {micro_batch}: {a} {b}");
            }
        }
    }

    #[test]
    fn steps_learn_and_clip_the_gradient() {
        let spec = TrainSpec { label_smoothing: 0.0, weight_decay: 0.0, ..TrainSpec::default() };
        let (_, losses) = train(12, 60, &spec);
        assert!(losses[0] > 2.0 && losses[59] < 0.1, "{losses:?}");

        let (model, mut params) = TestModel::new();
        let loose = TrainSpec { max_grad_norm: 0.0, ..spec.clone() };
        let tight = TrainSpec { max_grad_norm: 1e-3, ..spec };
        let mut first_moment = |spec: &TrainSpec| {
            let mut optimizer = AdamW::new(&params, spec);
            let batches = std::iter::once(Ok(batch(&[1, 2, 3])));
            let result = train_step(
                &model,
                &mut params,
                &mut optimizer,
                batches,
                StepOptions { spec, seed: 3, lr: 0.0 },
            )
            .unwrap();
            let moments = optimizer.moments.iter().map(|m| 10.0 * norm(m.first.data()));
            (result.grad_norm, moments.map(|n| n * n).sum::<f64>().sqrt())
        };
        let (norm, kept) = first_moment(&loose);
        assert!((norm / kept - 1.0).abs() < 1e-5, "{norm} {kept}");
        let (same_norm, clipped) = first_moment(&tight);
        assert!(
            (norm - same_norm).abs() < 1e-12 && (clipped / 1e-3 - 1.0).abs() < 1e-2,
            "{clipped}"
        );
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bytes() {
        let spec = TrainSpec { dropout: Some(0.2), ..TrainSpec::default() };
        let with = |n| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
            pool.install(|| train(5, 5, &spec))
        };
        assert_eq!(with(1), with(2));
    }
}
