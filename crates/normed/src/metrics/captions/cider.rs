//! CIDEr-D (Vedantam et al. 2015, arXiv 1411.5726, section 5) as the COCO caption tools compute it under
//! the name CIDEr.

use std::collections::{BTreeMap, BTreeSet};

use super::text::{MAX_NGRAM, TokenizedText};

/// Standard deviation, in words, of the Gaussian penalty for a length that differs from the reference's.
const SIGMA: f64 = 6.0;

/// The number of images whose references contain an n-gram.
pub(super) struct DocumentFrequencies<'a> {
    images: BTreeMap<&'a [u32], f64>,
    log_count: f64,
}

/// A text as TF-IDF weights of its n-grams, with a norm for each n, and its length in bigrams.
struct TfIdf<'a> {
    ngrams: BTreeMap<&'a [u32], f64>,
    norms: [f64; MAX_NGRAM],
    length: f64,
}

impl<'a> DocumentFrequencies<'a> {
    /// Counts the n-grams in the references of each image.
    pub fn new(references: impl IntoIterator<Item = &'a [TokenizedText]>) -> Self {
        let mut images: BTreeMap<&[u32], f64> = BTreeMap::new();
        let mut count = 0.0;
        for references in references {
            count += 1.0;
            let ngrams: BTreeSet<&[u32]> =
                references.iter().flat_map(|sentence| sentence.ngrams().into_keys()).collect();
            for ngram in ngrams {
                *images.entry(ngram).or_default() += 1.0;
            }
        }
        Self { images, log_count: f64::ln(count) }
    }

    /// CIDEr-D of one text, 0 to 10: ten times the mean over n and over references.
    pub fn score(&self, text: &TokenizedText, references: &[TokenizedText]) -> f64 {
        let text = self.tf_idf(text);
        let sum: f64 = references.iter().map(|of| text.similarity(&self.tf_idf(of))).sum();
        10.0 * sum / (MAX_NGRAM * references.len()) as f64
    }

    fn tf_idf<'s>(&self, sentence: &'s TokenizedText) -> TfIdf<'s> {
        let (mut norms, mut length) = ([0.0; MAX_NGRAM], 0.0);
        let mut ngrams = BTreeMap::new();
        for (ngram, n) in sentence.ngrams() {
            let images = self.images.get(ngram).copied().unwrap_or(0.0);
            let weight = f64::from(n) * (self.log_count - f64::ln(f64::max(1.0, images)));
            ngrams.insert(ngram, weight);
            norms[ngram.len() - 1] += weight * weight;
            // The tools measure the length in bigrams, the paper in words.
            if ngram.len() == 2 {
                length += f64::from(n);
            }
        }
        TfIdf { ngrams, norms: norms.map(f64::sqrt), length }
    }
}

impl TfIdf<'_> {
    /// The clipped cosine similarities, summed over n and multiplied by the length penalty.
    fn similarity(&self, reference: &TfIdf<'_>) -> f64 {
        let mut by_n = [0.0; MAX_NGRAM];
        for (ngram, weight) in &self.ngrams {
            let other = reference.ngrams.get(ngram).copied().unwrap_or(0.0);
            by_n[ngram.len() - 1] += weight.min(other) * other;
        }
        let excess = self.length - reference.length;
        let penalty = f64::exp(-excess * excess / (2.0 * SIGMA * SIGMA));
        let norms = self.norms.iter().zip(&reference.norms);
        let cosine = |(value, (a, b)): (&f64, (&f64, &f64))| {
            if *a != 0.0 && *b != 0.0 { value / (a * b) } else { *value }
        };
        penalty * by_n.iter().zip(norms).map(cosine).sum::<f64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokenized(words: &[u32]) -> TokenizedText {
        TokenizedText { words: words.to_vec(), tokens: words.to_vec() }
    }

    #[test]
    fn an_equal_text_scores_ten_and_a_longer_one_less() {
        let long: Vec<u32> = (10..23).collect();
        let references = [vec![tokenized(&[1, 2, 3, 4])], vec![tokenized(&long)]];
        let frequencies = DocumentFrequencies::new(references.iter().map(Vec::as_slice));
        let score = |text: &[u32]| frequencies.score(&tokenized(text), &references[0]);
        assert!((score(&[1, 2, 3, 4]) - 10.0).abs() < 1e-12);
        // Three bigrams too many: the cosine of unigrams times exp(-9 / 72).
        let twice = score(&[1, 2, 3, 4, 99, 99, 99]);
        assert!(twice < 10.0 * f64::exp(-9.0 / 72.0) && twice > 0.0, "{twice}");
        assert_eq!(score(&[77]), 0.0);
    }

    #[test]
    fn an_ngram_of_every_image_has_no_weight() {
        let references = [vec![tokenized(&[1])], vec![tokenized(&[1])]];
        let frequencies = DocumentFrequencies::new(references.iter().map(Vec::as_slice));
        assert_eq!(frequencies.score(&tokenized(&[1]), &references[0]), 0.0);
    }
}
