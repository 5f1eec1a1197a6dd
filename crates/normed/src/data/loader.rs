//! From examples to batches, on a thread of its own.

use std::sync::Arc;

use super::{Batch, Dataset, Example, ImageRule, TextRule, Tokenizer};
use crate::Result;

/// An example in the model's terms.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// What it was made from.
    pub example: Example,
    /// `[3, size, size]`.
    pub pixels: Arc<[f32]>,
    /// The question with its special tokens.
    pub question: Vec<u32>,
    /// The answer without special tokens.
    pub answer: Vec<u32>,
}

/// Makes batches by a model's rules. Decoded pictures are cached.
pub struct Collator {
    /// For questions and answers.
    pub tokenizer: Arc<Tokenizer>,
    /// For pictures.
    pub image_rule: ImageRule,
    /// For questions and answers.
    pub text_rule: TextRule,
}

impl Collator {
    /// One example in the model's terms.
    pub fn prepare(&self, example: &Example) -> Result<Prepared> {
        todo!("{example:?}")
    }

    /// A padded batch. `epoch` enters the dropout keys, with the examples' ids.
    pub fn batch(&self, examples: &[Prepared], epoch: u64) -> Batch {
        todo!("{examples:?} {epoch}")
    }

    /// Token counts of example `i`'s question and answer, for sorting; no picture is touched.
    pub fn length(&self, example: &Example) -> usize {
        todo!("{example:?}")
    }
}

/// Batches in the order of `plan`, made ahead on another thread.
pub struct Loader {}

impl Loader {
    /// `plan` lists the examples of each batch.
    pub fn new(
        dataset: Arc<dyn Dataset>,
        collator: Arc<Collator>,
        plan: Vec<Vec<usize>>,
        epoch: u64,
    ) -> Self {
        let _ = (dataset, collator, plan, epoch);
        todo!()
    }
}

impl Iterator for Loader {
    /// A batch and the examples in it.
    type Item = Result<(Batch, Vec<Prepared>)>;

    fn next(&mut self) -> Option<Self::Item> {
        todo!()
    }
}
