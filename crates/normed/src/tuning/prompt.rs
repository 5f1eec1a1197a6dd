//! Prompt tuning (Lester et al. 2021, arXiv 2104.08691): learned embeddings before those of a tower's tokens.

use serde::Serialize;

use crate::tensor::{Parameters, Tensor, random_uniform};

/// What `method = "prompt"` can be told.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PromptOptions {
    /// Virtual tokens.
    pub length: usize,
}

impl Default for PromptOptions {
    /// As many as gain something in the paper (section 3.2).
    fn default() -> Self {
        Self { length: 20 }
    }
}

/// Each virtual token starts as a token of the vocabulary (section 2.1), drawn from all of it (as PEFT's
/// `SAMPLE_VOCAB`).
pub(super) fn initialize(params: &mut Parameters, seed: u64) {
    let prompts: Vec<_> = params.soft_prompts().collect();
    for (table, tokens) in prompts {
        let (words, prompt) = (params.get(table), params.get(tokens));
        let (vocab_size, width) = (words.shape[0], words.shape[1]);
        let drawn = random_uniform(prompt.shape[0], 0.5, seed, &prompt.name);
        let mut values = vec![0.0; prompt.len()];
        for (row, x) in values.chunks_exact_mut(width).zip(drawn) {
            let token = ((x + 0.5) * vocab_size as f32) as usize;
            words.value().factor().widen(token.min(vocab_size - 1) * width, row);
        }
        let value = Tensor::new(&prompt.shape, values);
        params.get_mut(tokens).set(value);
    }
}
