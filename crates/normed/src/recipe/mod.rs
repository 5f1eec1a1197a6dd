//! A whole run as data.

mod base;
mod cache;
mod document;
mod init;
mod read;
mod read_init;
pub(crate) mod section;
mod size;
pub(crate) mod source;

pub use cache::{CachePlace, CacheSpec};
pub(crate) use document::Document;
pub use init::{
    FromInit, InitSpec, LanguageSize, LlavaInit, MissInit, TextSize, VisionSize, Vocab,
};
pub use size::ByteSize;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use section::Section;

use crate::data::{DataSection, Task, TemplateName};
use crate::metrics::{CaptionMetric, Metric};
use crate::models::GenerationConfig;
use crate::tensor::{Precision, Recompute};
use crate::tuning::Tuning;
use crate::{Error, Range, Result};

/// Everything a run depends on.
///
/// ```toml
/// model = "models/phantom"   # relative to the recipe, as every path in it but `output`
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
/// Where `model` stands, `[init]` can stand instead: the run makes a base model then.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Recipe {
    /// Where the base model comes from: `model` or `[init]`.
    #[serde(flatten)]
    pub base: Base,
    /// Where the run directory goes, relative to the current directory; `runs/<the recipe's name>`
    /// if absent.
    pub output: PathBuf,
    /// What every random stream starts from; 0 if absent.
    pub seed: u64,
    /// Another image size than the checkpoint's: position embeddings are interpolated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_size: Option<usize>,
    /// The template of prompts, where the model is a causal language model; the checkpoint's own if
    /// absent, else the usual one of its kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<TemplateName>,
    /// What frozen matrices are kept in, and what products round their factors to. What is trained,
    /// norms, residual streams and sums are f32 in either case. If absent, what is faster on this
    /// machine, and f32 where a base model is made.
    pub precision: Precision,
    /// What the process may take at its peak: `train.batch_size`, `train.grad_accum_steps` and
    /// `train.recompute` are chosen before the first step, so that it fits and is the fastest that
    /// does. Examples a step and, rounding aside, the result stay as they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<ByteSize>,
    /// The `memory` that these three were chosen for: they are not chosen again. A run writes it into
    /// its recipe.toml.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub planned_for: Option<ByteSize>,
    /// The data.
    pub data: DataSection,
    /// What is trained. To be absent is a mistake; for a model that is made, it means everything.
    pub tuning: Tuning,
    /// How it is trained.
    pub train: TrainSpec,
    /// How answers are generated when a checkpoint is judged.
    pub generate: GenerationConfig,
    /// Where the states that a frozen prefix makes of pictures are kept.
    pub cache: CacheSpec,
}

/// Where the base model comes from.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Base {
    /// It is read from this directory.
    Model(PathBuf),
    /// It is made: `normed pretrain`.
    Init(InitSpec),
}

/// The `[train]` section.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrainSpec {
    /// Passes over the training split.
    pub epochs: usize,
    /// Examples a forward pass.
    pub batch_size: usize,
    /// Forward passes an optimizer step.
    pub grad_accum_steps: usize,
    /// What is computed again in backward rather than kept: slower, in less memory, to the same
    /// gradients.
    pub recompute: Recompute,
    /// The peak learning rate; where a recipe says none, its methods' own
    /// ([`Method::default_lr`](crate::tuning::Method::default_lr)).
    pub lr: f32,
    /// That of the image encoder; `lr` if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vision_lr: Option<f32>,
    /// That of norms, those of the image encoder among them; if absent, that of where they stand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub norm_lr: Option<f32>,
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
    /// By how many training examples the norms are compared where `tuning.keep` leaves a part of
    /// them.
    pub fisher_examples: usize,
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
    /// What decides which checkpoint is the best; if absent, exact match of answers, CIDEr of reports.
    pub metric: BestBy,
    /// Steps between checkpoints from which a killed run goes on.
    pub checkpoint_every_steps: usize,
    /// The part of the training images (or groups) held out for validation where the data set has
    /// no validation split of its own.
    pub holdout: f32,
    /// The part of the training images (or groups) left after that which is trained on. Those of a
    /// smaller part are among those of a larger one of the same seed.
    pub fraction: f32,
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
    /// BLEU-4 of generated reports.
    #[serde(rename = "bleu_4")]
    Bleu4,
    /// ROUGE-L of generated reports.
    RougeL,
    /// CIDEr-D of generated reports.
    Cider,
    /// The loss.
    Loss,
    /// The last one.
    Last,
}

impl TrainSpec {
    /// The range of [`batch_size`](Self::batch_size).
    pub const BATCH_SIZE: Range<usize> = Range::from_to(1, 65_536);
}

impl BestBy {
    /// Where a recipe says none: CIDEr of reports, exact match of answers.
    pub fn usual(task: &Task) -> Self {
        if task.is_vqa() { Self::ExactMatch } else { Self::Cider }
    }

    /// The metric of generated texts that it is, if it is one.
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

impl TrainSpec {
    /// Examples per optimizer step: `batch_size` times `grad_accum_steps`.
    pub fn examples_per_step(&self) -> usize {
        self.batch_size * self.grad_accum_steps
    }

    /// Optimizer steps per epoch of `examples` examples; the last step may be of fewer examples.
    pub fn steps_per_epoch(&self, examples: usize) -> usize {
        examples.div_ceil(self.examples_per_step())
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

impl Recipe {
    /// Reads the recipe at `path`, with `key=value` settings laid over it.
    ///
    /// All mistakes are one error: each with its line or setting, its key, and the nearest valid
    /// name. A path in the recipe is relative to the recipe, one in a setting to the current
    /// directory; both come out absolute.
    pub fn open(path: &Path, settings: &[String]) -> Result<Self> {
        let document = Document::open(path, settings)?;
        let name = document.name();
        document.read(|s| read::recipe(s, &name))
    }

    /// Reads the recipe that a larger document holds or is made of; its mistakes are the document's.
    pub(crate) fn of_section(s: &Section<'_>, name: &str) -> Self {
        read::recipe(s, name)
    }

    /// The recipe as TOML, every default written out. To open it again gives the same recipe.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|error| Error::failed("recipe", error))
    }
}

/// Reads what could stand in a recipe's `[tuning]`, as `key=value` settings. All mistakes are one error.
pub fn tuning_of(settings: &[String]) -> Result<Tuning> {
    Document::of_settings("tuning", settings).read(read::tuning)
}

#[cfg(test)]
mod tests;
