//! The interface between a model and what trains it or generates with it.

use crate::Result;
use crate::data::{Batch, Images};
use crate::nn::Mode;
use crate::ops::{self, CrossEntropy};
use crate::tensor::{Graph, ParamId, Parameters, Tensor, Var};

/// What a model computes. Its parameters are in [`Parameters`]; it does not know which of them are trained.
pub trait Model: Send + Sync {
    /// The logits `[B, A, V]` at the decoder's positions, given the decoder's tokens (teacher forcing).
    ///
    /// # Errors
    /// If the batch was not made for this model: images of another size, unknown tokens, or a text longer
    /// than its positions.
    fn forward(&self, g: &mut Graph<'_>, batch: &Batch, mode: Mode) -> Result<Var>;

    /// The cross-entropy loss at the decoder's positions, equal to [`ops::cross_entropy`] of
    /// [`Model::forward`].
    ///
    /// # Errors
    /// As [`Model::forward`].
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

    /// Reads the images and the `input_ids` of `batch`, and makes caches for answers of up to
    /// `max_new_tokens` tokens.
    ///
    /// # Errors
    /// As [`Model::forward`], and if the prompt leaves fewer positions. Answers of at most
    /// [`Model::max_answer_tokens`] are prepared.
    fn start_decoding<'m>(
        &'m self,
        params: &'m Parameters,
        batch: &Batch,
        max_new_tokens: usize,
    ) -> Result<Box<dyn Decoding + 'm>>;

    /// The image encoder, if its output for an image is the same in every pass of this mode, so that it can be
    /// computed once: none of its parameters is trained, and nothing in it is dropped. None otherwise.
    fn frozen_encoder(&self, _params: &Parameters, _mode: Mode) -> Option<&dyn FrozenEncoder> {
        None
    }

    /// The id that holds an image's place in a row of `input_ids`; none if the model expects no such id.
    fn image_token_id(&self) -> Option<u32> {
        None
    }

    /// The largest number of tokens that an answer can have, whatever the question: a decoder's positions. Where
    /// prompt and answer share the positions, there is no such number.
    fn max_answer_tokens(&self) -> usize {
        usize::MAX
    }

    /// Whether the answer continues the row that `input_ids` start, as in a language model; if not, an encoder
    /// reads the question and a decoder of its own writes the answer.
    fn is_decoder_only(&self) -> bool {
        false
    }
}

/// A frozen image encoder: its output for an image depends on that image alone and can be cached.
pub trait FrozenEncoder {
    /// The parameters that its output depends on.
    fn parameters(&self, params: &Parameters) -> Vec<ParamId>;

    /// `images` with the encoder's features in place of their pixels. A batch that carries them gives the same
    /// results as one with pixels, to the bit; an image's features do not depend on the others.
    ///
    /// # Errors
    /// If the model cannot read images of these sizes.
    fn encode(&self, params: &Parameters, images: &Images) -> Result<Images>;
}

/// A batch whose answers are being generated, with its key-value caches; each sequence is a row.
pub trait Decoding {
    /// Reads one token for each row; gives the logits `[rows, V]` of the next.
    fn step(&mut self, tokens: &[u32]) -> Tensor;

    /// Replaces the rows: row `r` becomes a copy of row `from[r]`. There may be more or fewer of them than
    /// before, as examples spread over beams or finish.
    fn reorder(&mut self, from: &[usize]);
}

/// The naming scheme and the defaults that a checkpoint follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// That of Hugging Face's transformers.
    HuggingFace,
    /// That of the model's own code: BLIP's, which MISS shares, or LLaVA's.
    Original,
}
