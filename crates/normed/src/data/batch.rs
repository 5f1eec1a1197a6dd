//! A batch: the tensors that a model reads, padded to the longest example.

use super::Images;
use crate::{Error, Result};

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

impl TokenRows {
    /// The real tokens of row `b`.
    pub fn row(&self, b: usize) -> &[u32] {
        &self.ids[b * self.width..][..self.lengths[b]]
    }
}

/// The token that stands for an image in a prompt. A language model replaces it by the image's features.
pub const IMAGE_TOKEN: u32 = u32::MAX - 1;

/// One batch of `B` examples.
///
/// An encoder-decoder model encodes the question and decodes the answer. A decoder-only language model
/// reads both as one row: `input_ids` is the prompt without its last token, [`IMAGE_TOKEN`] standing for
/// each image; `decoder_input_ids` is that last token, then the answer.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The `P` images of all examples, in the order of the examples.
    pub images: Images,
    /// `[B]`: the number of images of each example; their sum is `P`. A decoder-only model reads examples without any.
    pub views: Vec<usize>,
    /// `[B, T]`: questions; for a decoder-only model, prompts without their last token.
    pub input_ids: TokenRows,
    /// `[B, A]`: the start token, or the last token of the prompt, then the answer.
    pub decoder_input_ids: TokenRows,
    /// `[B * A]`: the token that each position should predict, already shifted; [`IGNORE_INDEX`] for padding.
    pub labels: Vec<u32>,
    /// The number of labels that are not [`IGNORE_INDEX`].
    pub target_count: usize,
    /// `[B]`: one key per example, which its dropout masks are derived from.
    pub keys: Vec<u64>,
}

impl Batch {
    /// `[P]`: one key per image. The first image of an example has the example's key.
    pub fn image_keys(&self) -> Vec<u64> {
        let of = |(&key, &views): (&u64, &usize)| {
            (0..views as u64).map(move |view| key.wrapping_add(view.wrapping_mul(GOLDEN)))
        };
        self.keys.iter().zip(&self.views).flat_map(of).collect()
    }

    /// Counts the images of the batch, `P`.
    ///
    /// # Errors
    ///
    /// If `views` does not hold a number of at least `least` for each example.
    pub(crate) fn count_images(&self, least: usize) -> Result<usize> {
        if self.views.len() == self.keys.len() && self.views.iter().all(|&views| views >= least) {
            return Ok(self.views.iter().sum());
        }
        let cause =
            format!("`views` must hold the number of images of each example, at least {least}");
        Err(Error::invalid("batch", cause))
    }
}

/// 2^64 over the golden ratio: its multiples are far apart.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
