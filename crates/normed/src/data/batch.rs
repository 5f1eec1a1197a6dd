//! What a model sees: examples of about the same length, padded to the longest of them.

use crate::tensor::Tensor;

/// Token ids `[B, T]`, row-major, padded on the right; row `b` holds `lengths[b]` real tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRows {
    /// `[B * T]`.
    pub ids: Vec<u32>,
    /// `[B]`.
    pub lengths: Vec<usize>,
    /// `T`.
    pub width: usize,
}

/// Stands in a row of tokens for the picture, of which a language model makes as many as it has states.
pub const IMAGE_TOKEN: u32 = u32::MAX - 1;

/// The label of a position that does not count.
pub const IGNORE: u32 = u32::MAX;

/// The pictures of a batch, as a model takes them.
#[derive(Debug, Clone)]
pub enum Images {
    /// `[B, 3, H, W]`, normalised.
    PixelValues(Tensor),
    /// `[B, ..]`: what the model's frozen prefix made of them before.
    States(Tensor),
}

/// One batch of `B` examples.
///
/// A model with an encoder and a decoder reads the question in the former and goes on with the answer in
/// the latter. A language model reads one row: the prompt, with [`IMAGE_TOKEN`] in the picture's place and
/// without its last token, is its `input_ids`; that token and the answer are its `decoder_input_ids`.
#[derive(Debug, Clone)]
pub struct Batch {
    /// One an example.
    pub images: Images,
    /// Questions `[B, T]`; for a causal language model prompts without their last token.
    pub input_ids: TokenRows,
    /// Decoder inputs `[B, A]`: the start token, or a prompt's last one, then the answer.
    pub decoder_input_ids: TokenRows,
    /// `[B * A]`: what position `a` should predict, already shifted; [`IGNORE`] where it does not count.
    pub labels: Vec<u32>,
    /// The number of labels that count.
    pub target_count: usize,
    /// `[B]`: one key an example; dropout is a function of it.
    pub keys: Vec<u64>,
}
