//! LoRA (Hu et al. 2021, arXiv 2106.09685) and its variants rsLoRA (Kalajdzievski 2023, arXiv 2312.03732) and
//! DoRA (Liu et al. 2024, arXiv 2402.09353).

use serde::Serialize;

use super::Target;
use crate::ops;
use crate::tensor::{Graph, LowRank, LowRankConfig, ParamId, Parameters, Tensor, random_uniform};

/// What `method = "lora"` can be told, under PEFT's names.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LoraOptions {
    /// `r`.
    pub rank: usize,
    /// The path is multiplied by `alpha / r`.
    pub alpha: f32,
    /// Of what goes into the path.
    pub dropout: f32,
    /// The layers.
    pub targets: Vec<Target>,
    /// By `alpha / sqrt(r)` instead.
    pub use_rslora: bool,
    /// With magnitudes.
    pub use_dora: bool,
}

impl Default for LoraOptions {
    /// Rank 8 beside queries and values, twice that as alpha.
    fn default() -> Self {
        Self {
            rank: 8,
            alpha: 16.0,
            dropout: 0.0,
            targets: vec![Target::Query, Target::Value],
            use_rslora: false,
            use_dora: false,
        }
    }
}

impl LoraOptions {
    /// What a path is like.
    pub(super) fn shape(&self) -> LowRankConfig {
        LowRankConfig {
            rank: self.rank,
            alpha: self.alpha,
            use_rslora: self.use_rslora,
            dropout: self.dropout,
            has_magnitude: self.use_dora,
        }
    }
}

/// `A` is uniform as a linear layer of PyTorch starts (within `1 / sqrt(in)`), `B` is 0, so that nothing
/// changes; magnitudes are the rows' norms, for the same reason.
pub(super) fn initialize(params: &mut Parameters, weight: ParamId, path: LowRank, seed: u64) {
    let a = params.get_mut(path.a);
    let inputs = a.len() / a.shape[0];
    let values = random_uniform(a.len(), 1.0 / (inputs as f32).sqrt(), seed, &a.name);
    a.set(Tensor::new(&a.shape.clone(), values));
    let b = params.get_mut(path.b);
    b.set(Tensor::zeros(&b.shape.clone()));
    if let Some(magnitude) = path.magnitude {
        let norms = ops::merged_row_norms(&Graph::inference(params), weight, path);
        params.get_mut(magnitude).set(Tensor::new(&[norms.len()], norms));
    }
}
