//! What a model computes, behind interfaces that training and generation know.

use crate::Result;
use crate::data::Batch;
use crate::nn::Mode;
use crate::ops::{self, CrossEntropy};
use crate::tensor::{Graph, ParamId, Parameters, Tensor, Var};

/// What a model computes. It knows nothing of what is tuned; its parameters live in [`Parameters`].
pub trait Model: Send + Sync {
    /// Logits `[B, A, V]` of the decoder's positions, teacher-forced. Fails on a batch that was not
    /// made for this model: another image size, unknown tokens, text longer than its positions.
    fn forward(&self, g: &mut Graph<'_>, batch: &Batch, mode: Mode) -> Result<Var>;

    /// The cross-entropy of the decoder's positions, as [`ops::cross_entropy`] of [`Model::forward`].
    fn loss(
        &self,
        g: &mut Graph<'_>,
        batch: &Batch,
        mode: Mode,
        label_smoothing: f32,
    ) -> Result<CrossEntropy> {
        let logits = self.forward(g, batch, mode)?;
        Ok(ops::cross_entropy(g, logits, &batch.labels, label_smoothing))
    }

    /// Reads the images and `input_ids` of `batch` for answers of up to `max_new_tokens`. Fails
    /// as [`Model::forward`] does, and where the positions do not go so far.
    fn start_decoding<'m>(
        &'m self,
        params: &'m Parameters,
        batch: &Batch,
        max_new_tokens: usize,
    ) -> Result<Box<dyn Decoding + 'm>>;

    /// The part that sees pictures and nothing else, where it makes the same of a picture at every
    /// sight: nothing in it is trained, and nothing in it is random in `mode`. None where that does
    /// not hold, or where the model has no such part.
    fn frozen_encoder(&self, _params: &Parameters, _mode: Mode) -> Option<&dyn FrozenEncoder> {
        None
    }

    /// What stands for a picture in a row of `input_ids`, where the model wants one there.
    fn image_token_id(&self) -> Option<u32> {
        None
    }

    /// Whether an answer goes on with the row that `input_ids` begin: what stands there was said already.
    fn is_decoder_only(&self) -> bool {
        false
    }
}

/// The part of a model that sees pictures and nothing else.
pub trait FrozenEncoder {
    /// Its parameters.
    fn parameters(&self, params: &Parameters) -> Vec<ParamId>;

    /// What it makes of `pixel_values [P, 3, H, W]`: states `[P, ..]`, to the bit what the model
    /// itself would go on with, so that a batch can carry them as
    /// [`Images::Features`](crate::data::Images). What it makes of a picture does not depend on the
    /// others. Fails on another image size than the model's.
    fn encode(&self, params: &Parameters, pixel_values: &Tensor) -> Result<Tensor>;
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
    /// Hugging Face's transformers'.
    HuggingFace,
    /// That of the model's own code: BLIP's and MISS's, LLaVA's.
    Original,
}
