//! BLEU (Papineni et al. 2002) as the COCO caption tools compute it: over the whole set, against the
//! reference closest in length.

use std::collections::BTreeMap;

use super::{MOST_WORDS, Sentence};

/// What BLEU of a set needs to know of a text; sums over texts.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Counts {
    length: f64,
    reference_length: f64,
    /// The n-grams of the text, n from 1.
    all: [f64; MOST_WORDS],
    /// Those of them that are in a reference, each at most as often as in the one that has it most.
    right: [f64; MOST_WORDS],
}

impl Counts {
    /// The counts of one text.
    pub fn new(text: &Sentence, references: &[Sentence]) -> Self {
        let length = text.words.len();
        // Of two that are as close, the shorter.
        let closest = |of: &Sentence| (of.words.len().abs_diff(length), of.words.len());
        let reference_length = references.iter().map(closest).min().map_or(0, |(_, length)| length);
        let mut counts = Self {
            length: length as f64,
            reference_length: reference_length as f64,
            ..Self::default()
        };
        let most: Vec<BTreeMap<&[u32], u32>> = references.iter().map(Sentence::grams).collect();
        for (gram, n) in text.grams() {
            let most = most.iter().filter_map(|of| of.get(gram)).max().copied().unwrap_or(0);
            counts.all[gram.len() - 1] += f64::from(n);
            counts.right[gram.len() - 1] += f64::from(n.min(most));
        }
        counts
    }

    /// BLEU up to n-grams of `n` words. The two small numbers are the tools' own: a text without
    /// words has a score.
    pub fn value(&self, n: usize) -> f64 {
        const SMALL: f64 = 1e-9;
        const TINY: f64 = 1e-15;
        let mut product = 1.0;
        for (right, all) in self.right.iter().zip(&self.all).take(n) {
            product *= (right + TINY) / (all + SMALL);
        }
        let ratio = (self.length + TINY) / (self.reference_length + SMALL);
        let brevity = if ratio < 1.0 { f64::exp(1.0 - 1.0 / ratio) } else { 1.0 };
        product.powf(1.0 / n as f64) * brevity
    }
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.length += other.length;
        self.reference_length += other.reference_length;
        for n in 0..MOST_WORDS {
            self.all[n] += other.all[n];
            self.right[n] += other.right[n];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentence(words: &[u32]) -> Sentence {
        Sentence { words: words.to_vec(), tokens: words.to_vec() }
    }

    #[test]
    fn the_closest_reference_counts_and_the_shorter_of_two() {
        let references = [sentence(&[1, 2, 3, 4, 5]), sentence(&[1, 2, 3]), sentence(&[9; 9])];
        let counts = Counts::new(&sentence(&[1, 2, 3, 9]), &references);
        assert_eq!(counts.reference_length, 3.0);
        assert_eq!((counts.all, counts.right), ([4.0, 3.0, 2.0, 1.0], [4.0, 2.0, 1.0, 0.0]));
        assert!((counts.value(1) - 1.0).abs() < 1e-8);
        assert!((counts.value(2) - f64::sqrt(2.0 / 3.0)).abs() < 1e-8);
    }

    #[test]
    fn short_texts_pay_and_empty_ones_have_a_score() {
        let counts = Counts::new(&sentence(&[1]), &[sentence(&[1, 2])]);
        assert!((counts.value(1) - f64::exp(-1.0)).abs() < 1e-8);
        assert!(Counts::new(&sentence(&[]), &[sentence(&[1])]).value(4).is_finite());
    }
}
