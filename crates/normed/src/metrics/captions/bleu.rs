//! BLEU (Papineni et al. 2002, ACL, sections 2.1 to 2.3) as the COCO caption tools compute it: over the
//! whole set, with the length of the reference that is closest in length.

use std::collections::BTreeMap;

use super::text::{MAX_NGRAM, TokenizedText};

/// What BLEU is computed from, summed over texts.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct BleuCounts {
    length: f64,
    reference_length: f64,
    /// The number of n-grams of the text; index 0 holds n = 1.
    total: [f64; MAX_NGRAM],
    /// How many of them are in a reference, each counted at most as often as in the reference that has it
    /// most often (clipped counts).
    matched: [f64; MAX_NGRAM],
}

impl BleuCounts {
    /// The counts of one text.
    pub fn new(text: &TokenizedText, references: &[TokenizedText]) -> Self {
        let length = text.words.len();
        // Of two that are equally close, the shorter.
        let closest = |of: &TokenizedText| (of.words.len().abs_diff(length), of.words.len());
        let reference_length = references.iter().map(closest).min().map_or(0, |(_, length)| length);
        let mut counts = Self {
            length: length as f64,
            reference_length: reference_length as f64,
            ..Self::default()
        };
        let most: Vec<BTreeMap<&[u32], u32>> =
            references.iter().map(TokenizedText::ngrams).collect();
        for (ngram, n) in text.ngrams() {
            let most = most.iter().filter_map(|of| of.get(ngram)).max().copied().unwrap_or(0);
            counts.total[ngram.len() - 1] += f64::from(n);
            counts.matched[ngram.len() - 1] += f64::from(n.min(most));
        }
        counts
    }

    /// BLEU with n-grams of up to `n` words, 0 to 1. The two small constants are those of the tools; they
    /// give a score to a text without words.
    pub fn value(&self, n: usize) -> f64 {
        const SMALL: f64 = 1e-9;
        const TINY: f64 = 1e-15;
        let mut product = 1.0;
        for (matched, total) in self.matched.iter().zip(&self.total).take(n) {
            product *= (matched + TINY) / (total + SMALL);
        }
        let length_ratio = (self.length + TINY) / (self.reference_length + SMALL);
        let brevity = if length_ratio < 1.0 { f64::exp(1.0 - 1.0 / length_ratio) } else { 1.0 };
        product.powf(1.0 / n as f64) * brevity
    }
}

impl std::ops::AddAssign for BleuCounts {
    fn add_assign(&mut self, other: Self) {
        self.length += other.length;
        self.reference_length += other.reference_length;
        for n in 0..MAX_NGRAM {
            self.total[n] += other.total[n];
            self.matched[n] += other.matched[n];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokenized(words: &[u32]) -> TokenizedText {
        TokenizedText { words: words.to_vec(), tokens: words.to_vec() }
    }

    #[test]
    fn the_reference_closest_in_length_counts_and_the_shorter_of_two() {
        let references = [tokenized(&[1, 2, 3, 4, 5]), tokenized(&[1, 2, 3]), tokenized(&[9; 9])];
        let counts = BleuCounts::new(&tokenized(&[1, 2, 3, 9]), &references);
        assert_eq!(counts.reference_length, 3.0);
        assert_eq!((counts.total, counts.matched), ([4.0, 3.0, 2.0, 1.0], [4.0, 2.0, 1.0, 0.0]));
        assert!((counts.value(1) - 1.0).abs() < 1e-8);
        assert!((counts.value(2) - f64::sqrt(2.0 / 3.0)).abs() < 1e-8);
    }

    #[test]
    fn short_texts_are_penalized_and_empty_ones_have_a_score() {
        let counts = BleuCounts::new(&tokenized(&[1]), &[tokenized(&[1, 2])]);
        assert!((counts.value(1) - f64::exp(-1.0)).abs() < 1e-8);
        assert!(BleuCounts::new(&tokenized(&[]), &[tokenized(&[1])]).value(4).is_finite());
    }
}
