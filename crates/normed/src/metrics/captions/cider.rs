//! CIDEr-D (Vedantam et al. 2015, arXiv 1411.5726, section 5) as the COCO caption tools compute it,
//! which call it CIDEr.

use std::collections::{BTreeMap, BTreeSet};

use super::{MOST_WORDS, Sentence};

/// The deviation, in words, of the penalty on a length other than the reference's.
const SIGMA: f64 = 6.0;

/// In how many images' references an n-gram stands.
pub(super) struct Frequencies<'a> {
    images: BTreeMap<&'a [u32], f64>,
    log_count: f64,
}

/// An n-gram's weights by their length, their norms, and the number of word pairs.
struct Weighted<'a> {
    grams: BTreeMap<&'a [u32], f64>,
    norms: [f64; MOST_WORDS],
    length: f64,
}

impl<'a> Frequencies<'a> {
    /// Those of the references of some images.
    pub fn new(references: impl IntoIterator<Item = &'a [Sentence]>) -> Self {
        let mut images: BTreeMap<&[u32], f64> = BTreeMap::new();
        let mut count = 0.0;
        for of_image in references {
            count += 1.0;
            let grams: BTreeSet<&[u32]> =
                of_image.iter().flat_map(|sentence| sentence.grams().into_keys()).collect();
            for gram in grams {
                *images.entry(gram).or_default() += 1.0;
            }
        }
        Self { images, log_count: f64::ln(count) }
    }

    /// The score of one text: 10 times the mean over n and over references.
    pub fn score(&self, text: &Sentence, references: &[Sentence]) -> f64 {
        let text = self.weighted(text);
        let sum: f64 = references.iter().map(|of| text.similarity(&self.weighted(of))).sum();
        10.0 * sum / (MOST_WORDS * references.len()) as f64
    }

    fn weighted<'s>(&self, sentence: &'s Sentence) -> Weighted<'s> {
        let (mut norms, mut length) = ([0.0; MOST_WORDS], 0.0);
        let mut grams = BTreeMap::new();
        for (gram, n) in sentence.grams() {
            let images = self.images.get(gram).copied().unwrap_or(0.0);
            let weight = f64::from(n) * (self.log_count - f64::ln(f64::max(1.0, images)));
            grams.insert(gram, weight);
            norms[gram.len() - 1] += weight * weight;
            // The tools count pairs of words, where the paper counts words.
            if gram.len() == 2 {
                length += f64::from(n);
            }
        }
        Weighted { grams, norms: norms.map(f64::sqrt), length }
    }
}

impl Weighted<'_> {
    /// Clipped cosines, summed over n.
    fn similarity(&self, reference: &Weighted<'_>) -> f64 {
        let mut by_n = [0.0; MOST_WORDS];
        for (gram, weight) in &self.grams {
            let other = reference.grams.get(gram).copied().unwrap_or(0.0);
            by_n[gram.len() - 1] += weight.min(other) * other;
        }
        let apart = self.length - reference.length;
        let penalty = f64::exp(-apart * apart / (2.0 * SIGMA * SIGMA));
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

    fn sentence(words: &[u32]) -> Sentence {
        Sentence { words: words.to_vec(), tokens: words.to_vec() }
    }

    #[test]
    fn the_same_text_scores_ten_and_length_is_paid_for() {
        let long: Vec<u32> = (10..23).collect();
        let references = [vec![sentence(&[1, 2, 3, 4])], vec![sentence(&long)]];
        let frequencies = Frequencies::new(references.iter().map(Vec::as_slice));
        let score = |text: &[u32]| frequencies.score(&sentence(text), &references[0]);
        assert!((score(&[1, 2, 3, 4]) - 10.0).abs() < 1e-12);
        // Three pairs of words too many: the cosine of single words times exp(-9 / 72).
        let twice = score(&[1, 2, 3, 4, 99, 99, 99]);
        assert!(twice < 10.0 * f64::exp(-9.0 / 72.0) && twice > 0.0, "{twice}");
        assert_eq!(score(&[77]), 0.0);
    }

    #[test]
    fn what_every_image_has_counts_for_nothing() {
        let references = [vec![sentence(&[1])], vec![sentence(&[1])]];
        let frequencies = Frequencies::new(references.iter().map(Vec::as_slice));
        assert_eq!(frequencies.score(&sentence(&[1]), &references[0]), 0.0);
    }
}
