//! Tokenizers: text to token ids, and back.

mod bert;
mod causal;
mod encode;
mod sentence_piece;

pub use encode::{SpecialTokenIds, Tokenizer};
