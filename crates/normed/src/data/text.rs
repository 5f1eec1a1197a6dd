//! Text: token ids in, token ids out.

use std::path::Path;

use crate::Result;

/// A BERT word-piece tokenizer, read from tokenizer.json or vocab.txt.
#[derive(Debug, Clone)]
pub struct Tokenizer {}

impl Tokenizer {
    /// Reads tokenizer.json, or else vocab.txt, in `dir`.
    pub fn open(dir: &Path) -> Result<Self> {
        todo!("{dir:?}")
    }

    /// Token ids of `text`, without special tokens.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        todo!("{text}")
    }

    /// The text of `ids`, special tokens skipped, as transformers' `decode(skip_special_tokens=True)`.
    pub fn decode(&self, ids: &[u32]) -> String {
        todo!("{ids:?}")
    }

    /// The id of a token, `[CLS]` say.
    pub fn id(&self, token: &str) -> Option<u32> {
        todo!("{token}")
    }

    /// The number of tokens.
    pub fn len(&self) -> usize {
        todo!()
    }

    /// Writes the files that [`Tokenizer::open`] reads.
    pub fn save(&self, dir: &Path) -> Result<()> {
        todo!("{dir:?}")
    }
}
