//! One optimizer step: forward, loss, backward for each micro-batch, then clip and update.

use rayon::prelude::*;

use super::adamw::AdamW;
use super::alarm;
use crate::Result;
use crate::data::{Batch, Prepared};
use crate::models::Model;
use crate::nn::{Mode, Noise};
use crate::ops;
use crate::recipe::TrainSpec;
use crate::tensor::{Gradients, Graph, Parameters, Tensor};

/// What a step did.
#[derive(Debug)]
pub(super) struct Stepped {
    /// Mean over all target tokens in nats, label smoothing included.
    pub loss: f64,
    /// The gradient's norm before clipping.
    pub grad_norm: f64,
    /// The examples seen.
    pub examples: usize,
    /// For each trained parameter: whether a gradient other than zero reached it.
    pub reached: Vec<bool>,
    /// For each trained parameter: whether it changed.
    pub moved: Vec<bool>,
}

/// One step over `micro_batches`, normalised by the target tokens of all of them together: how
/// the examples are spread over micro-batches changes nothing but rounding.
pub(super) fn step(
    model: &dyn Model,
    params: &mut Parameters,
    optimizer: &mut AdamW,
    micro_batches: impl Iterator<Item = Result<(Batch, Vec<Prepared>)>>,
    (spec, seed, lr): (&TrainSpec, u64, f32),
) -> Result<Stepped> {
    let noise = Noise { seed, dropout: spec.dropout, drop_path: spec.drop_path };
    let mut gradients = Gradients::new();
    let (mut loss, mut targets, mut examples) = (0.0, 0, 0);
    for item in micro_batches {
        let (batch, prepared) = item?;
        let mut g = Graph::training(params);
        let logits = model.forward(&mut g, &batch, Mode::Train(noise));
        let ce = ops::cross_entropy(&mut g, logits, &batch.labels, spec.label_smoothing);
        alarm::check_loss(&ce, &prepared)?;
        g.backward(&ce.output, Tensor::new(&[1], vec![1.0]), &mut gradients);
        loss += ce.sum;
        targets += batch.target_count;
        examples += prepared.len();
    }
    let per_target = 1.0 / targets.max(1) as f64;
    let norms: Vec<f64> = params
        .trained()
        .map(|(id, _)| gradients.param(id).map_or(0.0, |g| per_target * norm(g.data())))
        .collect();
    alarm::check_gradients(params, &norms)?;
    let grad_norm = norms.iter().map(|n| n * n).sum::<f64>().sqrt();
    let clip = match f64::from(spec.max_grad_norm) {
        longest if longest > 0.0 => (longest / (grad_norm + 1e-6)).min(1.0),
        _ => 1.0,
    };
    let moved = optimizer.update(params, &gradients, (per_target * clip) as f32, lr);
    let reached = norms.iter().map(|&n| n > 0.0).collect();
    Ok(Stepped { loss: loss * per_target, grad_norm, examples, reached, moved })
}

/// The Euclidean norm, summed over blocks of fixed size and then in order.
fn norm(values: &[f32]) -> f64 {
    let square = |block: &[f32]| block.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>();
    let blocks: Vec<f64> = values.par_chunks(1 << 15).map(square).collect();
    blocks.iter().sum::<f64>().sqrt()
}
