//! A run as data: everything that its result depends on.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{ByteSize, CacheSpec, InitSpec};
use crate::Range;
use crate::data::{DataSection, Task, TemplateName};
use crate::metrics::{CaptionMetric, Metric};
use crate::models::GenerationConfig;
use crate::tensor::{Recompute, RunPrecision};
use crate::tuning::Tuning;

/// Everything that the result of a run depends on.
///
/// ```toml
/// model = "models/phantom"   # relative to the recipe, as every path in it except `output`
/// seed = 7
///
/// [data]
/// name = "vqa_rad"
///
/// [tuning]
/// method = "layer_norm"
///
/// [train]
/// lr = 3e-3
/// ```
///
/// A recipe with an `[init]` section instead of `model` trains a new base model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Recipe {
    /// Where the base model comes from: `model` or `[init]`.
    #[serde(flatten)]
    pub base: Base,
    /// Run directory, relative to the current directory. Default: `runs/<name of the recipe>`.
    pub output: PathBuf,
    /// Seed of every random stream.
    pub seed: u64,
    /// Image size in pixels, if it differs from the checkpoint's. Position embeddings are interpolated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_size: Option<usize>,
    /// Prompt template of a decoder-only model. Default: the checkpoint's, else the usual one of its kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<TemplateName>,
    /// Number format of frozen matrices and of the factors of matrix products. Trained parameters, norms,
    /// residual streams and sums are f32 in every case. Default: the faster of f32 and bf16 on this machine;
    /// f32 for a new model.
    pub precision: RunPrecision,
    /// Memory limit of the process. The fastest `train.batch_size`, `train.grad_accum_steps` and
    /// `train.recompute` that fit it are chosen before the first step. The number of examples per step stays
    /// the same, and so does the result, rounding aside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<ByteSize>,
    /// The `memory` that those three were chosen for, so that they are not chosen again. A run writes it into
    /// its recipe.toml.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub planned_for: Option<ByteSize>,
    /// The data set.
    pub data: DataSection,
    /// What is trained. Required, except for a new model, which trains everything by default.
    pub tuning: Tuning,
    /// How it is trained.
    pub train: TrainSpec,
    /// How answers are generated.
    pub generate: GenerationConfig,
    /// Where the outputs of a frozen image encoder are cached.
    pub cache: CacheSpec,
}

/// Where the base model comes from.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Base {
    /// It is read from this directory.
    Model(PathBuf),
    /// It is new: `normed pretrain`.
    Init(InitSpec),
}

/// The `[train]` section.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrainSpec {
    /// Passes over the training split.
    pub epochs: usize,
    /// Examples per forward pass.
    pub batch_size: usize,
    /// Forward passes per optimizer step.
    pub grad_accum_steps: usize,
    /// Activations to recompute in the backward pass instead of keeping them: slower, with less memory and
    /// the same gradients.
    pub recompute: Recompute,
    /// Peak learning rate. Default: the tuning method's own
    /// ([`Method::default_lr`](crate::tuning::Method::default_lr)).
    pub lr: f32,
    /// Learning rate of the image encoder. Default: `lr`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vision_lr: Option<f32>,
    /// Learning rate of norms, the image encoder's included. Default: the rate of their part of the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub norm_lr: Option<f32>,
    /// Learning rate at the end of the schedule.
    pub min_lr: f32,
    /// AdamW's weight decay of matrices and embedding tables. Norms and biases do not decay.
    pub weight_decay: f32,
    /// AdamW's decay rates of the two moments.
    pub adam_betas: (f32, f32),
    /// AdamW's epsilon.
    pub adam_eps: f32,
    /// Shape of the learning rate schedule after warm-up.
    pub schedule: Schedule,
    /// Number of training examples that rank the norms by Fisher information, if `tuning.keep` selects some.
    pub fisher_examples: usize,
    /// Fraction of all steps in which the learning rate rises from 0.
    pub warmup_ratio: f32,
    /// Label smoothing of the cross-entropy.
    pub label_smoothing: f32,
    /// Gradients are clipped to this norm; 0 turns clipping off.
    pub max_grad_norm: f32,
    /// Dropout in the text towers. Default: the checkpoint's.
    pub dropout: Option<f32>,
    /// Stochastic depth: the drop rate of the vision tower's last block.
    pub drop_path: f32,
    /// Epochs between evaluations on the validation split.
    pub eval_every_epochs: usize,
    /// Evaluations without improvement after which the run stops; 0 never stops early.
    pub patience: usize,
    /// What selects the best checkpoint. Default: exact match of answers, CIDEr of reports.
    pub metric: BestBy,
    /// Steps between the checkpoints that an interrupted run continues from.
    pub checkpoint_every_steps: usize,
    /// Fraction of the training images (or groups) held out for validation, if the data set has no validation
    /// split.
    pub holdout: f32,
    /// Fraction of the remaining training images (or groups) that is used. With the same seed, a smaller
    /// fraction is a subset of a larger one.
    pub fraction: f32,
    /// Number of validation examples that an evaluation generates answers for. Default: all.
    pub eval_examples: Option<usize>,
}

/// Shape of a learning rate schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// Half a cosine, from the peak to `min_lr`.
    Cosine,
    /// A straight line, from the peak to `min_lr`.
    Linear,
    /// The peak until the end.
    Constant,
}

/// What selects the best checkpoint, measured on the validation split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BestBy {
    /// Exact match of generated answers, over all questions.
    ExactMatch,
    /// BLEU-4 of generated reports.
    #[serde(rename = "bleu_4")]
    Bleu4,
    /// ROUGE-L of generated reports.
    RougeL,
    /// CIDEr-D of generated reports.
    Cider,
    /// The loss.
    Loss,
    /// None: the last checkpoint is kept.
    Last,
}

impl TrainSpec {
    /// The range of [`epochs`](Self::epochs).
    pub const EPOCHS: Range<usize> = Range::from_to(1, 1_000_000);
    /// The range of [`batch_size`](Self::batch_size).
    pub const BATCH_SIZE: Range<usize> = Range::from_to(1, 65_536);
    /// The range of [`grad_accum_steps`](Self::grad_accum_steps).
    pub const GRAD_ACCUM_STEPS: Range<usize> = Range::from_to(1, 65_536);

    /// Examples per optimizer step: `batch_size` times `grad_accum_steps`.
    pub fn examples_per_step(&self) -> usize {
        self.batch_size * self.grad_accum_steps
    }

    /// Optimizer steps per epoch of `examples` examples; the last step may be of fewer examples.
    pub fn steps_per_epoch(&self, examples: usize) -> usize {
        examples.div_ceil(self.examples_per_step())
    }
}

impl BestBy {
    /// The default of a task: exact match of answers, CIDEr of reports.
    pub fn default_for(task: &Task) -> Self {
        if task.is_vqa() { Self::ExactMatch } else { Self::Cider }
    }

    /// The metric of generated texts that it stands for, if any.
    pub fn metric(self) -> Option<Metric> {
        match self {
            Self::ExactMatch => Some(Metric::ExactMatch),
            Self::Bleu4 => Some(Metric::Report(CaptionMetric::Bleu4)),
            Self::RougeL => Some(Metric::Report(CaptionMetric::RougeL)),
            Self::Cider => Some(Metric::Report(CaptionMetric::Cider)),
            Self::Loss | Self::Last => None,
        }
    }
}

impl Default for TrainSpec {
    fn default() -> Self {
        Self {
            epochs: 1,
            batch_size: 16,
            grad_accum_steps: 1,
            recompute: Recompute::None,
            lr: 1e-3,
            vision_lr: None,
            norm_lr: None,
            min_lr: 0.0,
            weight_decay: 0.05,
            adam_betas: (0.9, 0.999),
            adam_eps: 1e-8,
            schedule: Schedule::Cosine,
            fisher_examples: 128,
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
            fraction: 1.0,
            eval_examples: None,
        }
    }
}
