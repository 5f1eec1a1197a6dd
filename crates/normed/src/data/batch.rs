//! What a model sees: examples of about the same length, padded to the longest of them.

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

/// Stands in a row of tokens for a picture, of which a language model makes as many as it has states.
pub const IMAGE_TOKEN: u32 = u32::MAX - 1;

/// One batch of `B` examples.
///
/// A model with an encoder and a decoder reads the question in the former and goes on with the answer in
/// the latter. A language model reads one row: the prompt, with [`IMAGE_TOKEN`] in the picture's place and
/// without its last token, is its `input_ids`; that token and the answer are its `decoder_input_ids`.
#[derive(Debug, Clone)]
pub struct Batch {
    /// All pictures, those of an example one behind the other.
    pub images: Images,
    /// `[B]`: the pictures of each example, one at least; `P` in all.
    pub views: Vec<usize>,
    /// Questions `[B, T]`; for a causal language model prompts without their last token.
    pub input_ids: TokenRows,
    /// Decoder inputs `[B, A]`: the start token, or a prompt's last one, then the answer.
    pub decoder_input_ids: TokenRows,
    /// `[B * A]`: what position `a` should predict, already shifted; [`IGNORE_INDEX`] where it does not count.
    pub labels: Vec<u32>,
    /// The number of labels that count.
    pub target_count: usize,
    /// `[B]`: one key an example; dropout is a function of it.
    pub keys: Vec<u64>,
}

impl Batch {
    /// `[P]`: one key a picture. An example's first picture has the example's.
    pub fn image_keys(&self) -> Vec<u64> {
        let of = |(&key, &views): (&u64, &usize)| {
            (0..views as u64).map(move |view| key.wrapping_add(view.wrapping_mul(GOLDEN)))
        };
        self.keys.iter().zip(&self.views).flat_map(of).collect()
    }

    /// Fails unless every example has a picture. `P` is then their sum.
    pub(crate) fn count_images(&self) -> Result<usize> {
        if self.views.len() == self.keys.len() && !self.views.contains(&0) {
            return Ok(self.views.iter().sum());
        }
        Err(Error::invalid("batch", "views does not hold a number of pictures an example"))
    }
}

/// 2^64 over the golden ratio: its multiples are far apart.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
