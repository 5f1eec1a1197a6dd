//! Layers, named as in the checkpoint. They declare parameters with their roles and call [`crate::ops`].

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
