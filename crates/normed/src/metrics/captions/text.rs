//! Tokenized texts with numbers in place of words, and their n-grams.

use std::collections::{BTreeMap, HashMap};

/// The length of the longest n-grams, in words.
pub(super) const MAX_NGRAM: usize = 4;

/// A tokenized text, with each word as a number.
#[derive(Debug, Clone)]
pub(super) struct TokenizedText {
    /// As BLEU and CIDEr count them: split at every white space.
    pub words: Vec<u32>,
    /// As ROUGE counts them: `1 1/2` is one token, and an empty text has one empty token.
    pub tokens: Vec<u32>,
}

impl TokenizedText {
    /// The n-grams of one to [`MAX_NGRAM`] words, and how often each occurs.
    pub fn ngrams(&self) -> BTreeMap<&[u32], u32> {
        let mut ngrams = BTreeMap::new();
        for n in 1..=MAX_NGRAM {
            for ngram in self.words.windows(n) {
                *ngrams.entry(ngram).or_default() += 1;
            }
        }
        ngrams
    }
}

/// Assigns a number to each different word.
#[derive(Default)]
pub(super) struct Vocabulary(HashMap<String, u32>);

impl Vocabulary {
    /// The number of `word`, a new one if the word is new.
    pub fn number(&mut self, word: &str) -> u32 {
        let next = self.0.len() as u32;
        *self.0.entry(word.to_owned()).or_insert(next)
    }

    /// A text of these tokens.
    pub fn text(&mut self, tokens: &[String]) -> TokenizedText {
        let words = tokens.iter().flat_map(|token| token.split_whitespace());
        let words = words.map(|word| self.number(word)).collect();
        let mut numbers: Vec<u32> = tokens.iter().map(|token| self.number(token)).collect();
        if numbers.is_empty() {
            numbers.push(self.number(""));
        }
        TokenizedText { words, tokens: numbers }
    }

    /// All words, each at the index that is its number.
    pub fn words(self) -> Vec<String> {
        let mut words = vec![String::new(); self.0.len()];
        self.0.into_iter().for_each(|(word, i)| words[i as usize] = word);
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::ptb::tokenize;

    #[test]
    fn white_space_inside_a_token_splits_words_but_not_tokens() {
        let mut vocabulary = Vocabulary::default();
        let text = vocabulary.text(&tokenize(["1 1/2 cm"])[0]);
        assert_eq!((text.words.len(), text.tokens.len()), (3, 2));
        let empty = vocabulary.text(&tokenize(["."])[0]);
        assert_eq!((empty.words.len(), empty.tokens.len()), (0, 1));
    }
}
