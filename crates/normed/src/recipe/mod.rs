//! A whole run as data.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::data::DataSpec;
use crate::models::GenerateRule;
use crate::tuning::Tuning;

/// Everything a run depends on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Recipe {
    /// The base model's directory, relative to the recipe.
    pub model: PathBuf,
    /// Where the run directory goes; `runs/<the recipe's name>` if absent.
    pub output: Option<PathBuf>,
    /// What every random stream starts from.
    pub seed: u64,
    /// The data.
    pub data: DataSpec,
    /// Another image size than the checkpoint's: position embeddings are interpolated.
    pub image_size: Option<usize>,
    /// What is trained.
    pub tuning: Tuning,
    /// How it is trained.
    pub train: TrainSpec,
    /// How answers are generated when a checkpoint is judged.
    pub generate: GenerateRule,
}

/// The `[train]` section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainSpec {
    /// Passes over the training split.
    pub epochs: usize,
    /// Examples a forward pass.
    pub batch_size: usize,
    /// Forward passes an optimizer step.
    pub grad_accum_steps: usize,
    /// The peak learning rate.
    pub lr: f32,
    /// What the schedule ends at.
    pub min_lr: f32,
    /// Of matrices and tables; norms and biases have none.
    pub weight_decay: f32,
    /// AdamW's.
    pub adam_betas: (f32, f32),
    /// AdamW's.
    pub adam_eps: f32,
    /// The shape of the learning rate's fall.
    pub schedule: Schedule,
    /// The part of all steps in which the rate rises from 0.
    pub warmup_ratio: f32,
    /// Of the cross-entropy.
    pub label_smoothing: f32,
    /// The gradient's longest norm; none if 0.
    pub max_grad_norm: f32,
    /// In the text towers; the checkpoint's config decides if absent.
    pub dropout: Option<f32>,
    /// Stochastic depth of the vision tower's last block.
    pub drop_path: f32,
    /// Epochs between evaluations on the validation split (the test split is never looked at).
    pub eval_every_epochs: usize,
    /// Evaluations without progress after which the run stops; never if 0.
    pub patience: usize,
    /// What decides which checkpoint is the best.
    pub metric: BestBy,
    /// Steps between checkpoints from which a killed run goes on.
    pub checkpoint_every_steps: usize,
    /// The part of the training images (or groups) held out for validation where the data set has
    /// no validation split of its own.
    pub holdout: f32,
    /// How many validation examples an evaluation generates for; all if absent.
    pub eval_examples: Option<usize>,
}

/// How the learning rate falls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// Half a cosine.
    Cosine,
    /// A straight line.
    Linear,
    /// It does not.
    Constant,
}

/// What decides which checkpoint is the best, on the validation split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BestBy {
    /// Exact match of generated answers, all questions.
    ExactMatch,
    /// The loss.
    Loss,
    /// The last one.
    Last,
}

impl Default for TrainSpec {
    fn default() -> Self {
        Self {
            epochs: 1,
            batch_size: 16,
            grad_accum_steps: 1,
            lr: 1e-3,
            min_lr: 0.0,
            weight_decay: 0.05,
            adam_betas: (0.9, 0.999),
            adam_eps: 1e-8,
            schedule: Schedule::Cosine,
            warmup_ratio: 0.05,
            label_smoothing: 0.1,
            max_grad_norm: 1.0,
            dropout: None,
            drop_path: 0.0,
            eval_every_epochs: 1,
            patience: 0,
            metric: BestBy::ExactMatch,
            checkpoint_every_steps: 200,
            holdout: 0.1,
            eval_examples: None,
        }
    }
}

impl Recipe {
    /// Reads a recipe, with `key=value` settings on top. All mistakes are one error, each with the
    /// nearest valid name. Relative paths are resolved against the recipe's directory.
    pub fn open(path: &Path, settings: &[String]) -> Result<Self> {
        todo!("{path:?} {settings:?}")
    }
}
