//! The noise of a training pass: dropout and stochastic depth, and where each acts.

use std::sync::Arc;

use crate::ops::DropoutStream;
use crate::tensor::Tower;

/// How a forward pass runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mode {
    /// Without noise.
    Evaluate,
    /// With dropout and stochastic depth, drawn from the seed and the keys of the batch's examples.
    Train(Noise),
}

/// The noise of training: its seed and its rates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Noise {
    /// The run's seed.
    pub seed: u64,
    /// Dropout rate in text towers; if absent, the rates in the checkpoint's config.
    pub dropout: Option<f32>,
    /// Rate of stochastic depth in the vision tower's last block; it grows linearly from 0 in the first.
    pub drop_path: f32,
}

/// A place in a block where dropout acts. The numbers enter the random streams, so results depend on them: a
/// new site takes a new number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropoutSite {
    /// The normalized embeddings.
    Embedding = 0,
    /// The probabilities of self-attention.
    Probabilities = 1,
    /// The output of self-attention.
    Attention = 2,
    /// The probabilities of cross-attention.
    CrossProbabilities = 3,
    /// The output of cross-attention.
    CrossAttention = 4,
    /// The output of the feed-forward network.
    Ffn = 5,
}

/// The random streams of dropout in one pass, for one tower or one block of it.
#[derive(Debug, Clone)]
pub struct DropoutStreams {
    seed: u64,
    keys: Arc<[u64]>,
    /// Tower and block, in the bits above the dropout site's.
    site: u64,
    /// Dropout rate of elements.
    hidden: f32,
    /// Dropout rate of attention probabilities.
    probabilities: f32,
    /// Rate of stochastic depth: whole branches of an example.
    path: f32,
}

impl DropoutStreams {
    /// No dropout.
    pub fn none() -> Self {
        Self { seed: 0, keys: [].into(), site: 0, hidden: 0.0, probabilities: 0.0, path: 0.0 }
    }

    /// Dropout in `tower` for the examples with these `keys`: of elements at rate `hidden`, and of attention
    /// probabilities at rate `probabilities`.
    pub fn new(seed: u64, keys: &[u64], tower: Tower, hidden: f32, probabilities: f32) -> Self {
        let tower: u64 = match tower {
            Tower::Vision => 0,
            Tower::Text => 1,
            Tower::Decoder => 2,
            Tower::Projector => 3,
        };
        Self { seed, keys: keys.into(), site: tower << 32, hidden, probabilities, path: 0.0 }
    }

    /// The streams of block `layer`, where whole branches are dropped at rate `path`.
    pub fn at_layer(&self, layer: usize, path: f32) -> Self {
        Self { site: self.site | ((layer as u64 + 1) << 8), path, ..self.clone() }
    }

    /// The stream that drops elements at `site`; none at rate 0.
    pub fn hidden_dropout(&self, site: DropoutSite) -> Option<DropoutStream> {
        self.stream(site, self.hidden)
    }

    /// The stream that drops attention probabilities at `site`; none at rate 0.
    pub fn attention_dropout(&self, site: DropoutSite) -> Option<DropoutStream> {
        self.stream(site, self.probabilities)
    }

    /// The stream that drops whole branches at `site`; none at rate 0.
    pub fn drop_path(&self, site: DropoutSite) -> Option<DropoutStream> {
        self.stream(site, self.path)
    }

    fn stream(&self, site: DropoutSite, rate: f32) -> Option<DropoutStream> {
        let site = self.site | site as u64;
        (rate > 0.0).then(|| DropoutStream::new(&self.keys, self.seed, site, rate))
    }
}
