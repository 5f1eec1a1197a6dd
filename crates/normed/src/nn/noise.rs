//! What a training pass drops, and where.

use std::sync::Arc;

use crate::ops::DropoutStream;
use crate::tensor::Tower;

/// How a pass runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mode {
    /// Nothing is dropped.
    Evaluate,
    /// Dropout and stochastic depth, drawn from the seed and the batch's example keys.
    Train(Noise),
}

/// What is dropped in training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Noise {
    /// The run's seed.
    pub seed: u64,
    /// Rate of dropout in text towers; the checkpoint's config decides if absent.
    pub dropout: Option<f32>,
    /// Rate of stochastic depth at the vision tower's last block (linear from 0 at the first).
    pub drop_path: f32,
}

/// A place where something is dropped. The numbers enter the random streams: a run's bytes depend
/// on them, so a new place takes a new number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropoutSite {
    /// The normalised embeddings.
    Embedding = 0,
    /// The probabilities of self-attention.
    Probabilities = 1,
    /// What self-attention adds to the residual stream.
    Attention = 2,
    /// The probabilities of cross-attention.
    CrossProbabilities = 3,
    /// What cross-attention adds to the residual stream.
    CrossAttention = 4,
    /// What the feed-forward network adds to the residual stream.
    Ffn = 5,
}

/// What one pass drops in one tower, or in one block of it.
#[derive(Debug, Clone)]
pub struct DropoutStreams {
    seed: u64,
    keys: Arc<[u64]>,
    /// Tower and block, above the place's bits.
    site: u64,
    /// Rate of elements.
    hidden: f32,
    /// Rate of attention probabilities.
    probabilities: f32,
    /// Rate of whole branches.
    path: f32,
}

impl DropoutStreams {
    /// Nothing.
    pub fn none() -> Self {
        Self { seed: 0, keys: [].into(), site: 0, hidden: 0.0, probabilities: 0.0, path: 0.0 }
    }

    /// Elements at rate `hidden` and attention probabilities at their own rate, in `tower`, for the
    /// examples with these `keys`.
    pub fn new(seed: u64, keys: &[u64], tower: Tower, hidden: f32, probabilities: f32) -> Self {
        let tower: u64 = match tower {
            Tower::Vision => 0,
            Tower::Text => 1,
            Tower::Decoder => 2,
            Tower::Projector => 3,
        };
        Self { seed, keys: keys.into(), site: tower << 32, hidden, probabilities, path: 0.0 }
    }

    /// The same in block `layer`, where whole branches are dropped at rate `path`.
    pub fn at_layer(&self, layer: usize, path: f32) -> Self {
        Self { site: self.site | ((layer as u64 + 1) << 8), path, ..self.clone() }
    }

    /// What drops elements at `place`.
    pub fn hidden_dropout(&self, place: DropoutSite) -> Option<DropoutStream> {
        self.stream(place, self.hidden)
    }

    /// What drops attention probabilities at `place`.
    pub fn attention_dropout(&self, place: DropoutSite) -> Option<DropoutStream> {
        self.stream(place, self.probabilities)
    }

    /// What drops the whole branch at `place`.
    pub fn drop_path(&self, place: DropoutSite) -> Option<DropoutStream> {
        self.stream(place, self.path)
    }

    fn stream(&self, place: DropoutSite, rate: f32) -> Option<DropoutStream> {
        let site = self.site | place as u64;
        (rate > 0.0).then(|| DropoutStream::new(&self.keys, self.seed, site, rate))
    }
}
