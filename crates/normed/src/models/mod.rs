//! Models: what they compute, how they are read from a directory, how they generate.

mod bert;
mod config;
mod config_file;
mod create;
mod generate;
mod init;
mod miss;
mod open;
mod quantize;
mod vit;

pub use bert::{Bert, Head};
pub use config::{MissConfig, TextConfig, VisionConfig};
pub use create::{Beginning, create, declare_new};
pub use generate::{GenerateRule, generate};
pub use init::initialise;
pub use miss::Miss;
pub use open::{Declared, Description, Loaded, declare, describe, load, load_as_stored, save};
pub use quantize::{QuantizedModel, quantize};
pub use vit::Vit;

use crate::Result;
use crate::data::Batch;
use crate::nn::Mode;
use crate::tensor::{Graph, ParamId, Parameters, Tensor, Var};

/// What a model computes. It knows nothing of what is tuned; its parameters live in [`Parameters`].
pub trait Model: Send + Sync {
    /// Logits `[B, A, V]` of the decoder's positions, teacher-forced. Fails on a batch that was not
    /// made for this model: another image size, unknown tokens, text longer than its positions.
    fn forward(&self, g: &mut Graph<'_>, batch: &Batch, mode: Mode) -> Result<Var>;

    /// Encodes the images and questions of `batch` for answers of up to `max_new_tokens`. Fails
    /// as [`Model::forward`] does, and where the positions do not go so far.
    fn start<'m>(
        &'m self,
        params: &'m Parameters,
        batch: &Batch,
        max_new_tokens: usize,
    ) -> Result<Box<dyn Decoding + 'm>>;

    /// The part that sees pictures and nothing else, where it makes the same of a picture at every
    /// sight: nothing in it is trained, and nothing in it is random in `mode`. None where that does
    /// not hold, or where the model has no such part.
    fn frozen_prefix(&self, _params: &Parameters, _mode: Mode) -> Option<&dyn Prefix> {
        None
    }
}

/// The part of a model that sees pictures and nothing else.
pub trait Prefix {
    /// Its parameters.
    fn parameters(&self, params: &Parameters) -> Vec<ParamId>;

    /// What it makes of `pixel_values [B, 3, H, W]`: states `[B, ..]`, to the bit what the model
    /// itself would go on with, so that a batch can carry them as
    /// [`Images::States`](crate::data::Images). What it makes of a picture does not depend on the
    /// others. Fails on another image size than the model's.
    fn states(&self, params: &Parameters, pixel_values: &Tensor) -> Result<Tensor>;
}

/// A batch being decoded, with its key-value cache: one row a sequence.
pub trait Decoding {
    /// Feeds one token a row; gives the next token's logits `[rows, V]`.
    fn step(&mut self, tokens: &[u32]) -> Tensor;

    /// Row `r` becomes what row `from[r]` was; `from` may be longer or shorter than the rows so far
    /// (examples spread over beams, finished examples dropped).
    fn reorder(&mut self, from: &[usize]);
}

/// Whose names and rules a checkpoint follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// `BlipForQuestionAnswering` of Hugging Face's transformers.
    HuggingFace,
    /// BLIP's and MISS's own.
    Original,
}
