//! The words of an answer as `run_eval.py` of LLaVA-Med v1.0.0 counts them.

use std::collections::BTreeMap;

use super::vqa_words;

/// An answer as the script normalizes it.
#[derive(Debug, Clone, Default)]
pub(super) struct LlavaMedWords {
    pub text: String,
    /// How often each word occurs, after a second normalization, as in the script.
    pub counts: BTreeMap<String, usize>,
}

impl LlavaMedWords {
    /// Normalizes an answer as written.
    pub fn new(written: &str) -> Self {
        let normalize = |text: &str| vqa_words::normalize_words(text).replace(',', "");
        let text = normalize(&written.to_lowercase());
        let mut counts = BTreeMap::new();
        for word in normalize(&text).split_whitespace() {
            *counts.entry(word.to_owned()).or_default() += 1;
        }
        Self { text, counts }
    }

    /// The number of words.
    pub fn len(&self) -> usize {
        self.counts.values().sum()
    }
}
