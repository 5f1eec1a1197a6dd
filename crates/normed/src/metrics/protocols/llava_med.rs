//! LLaVA-Med's `run_eval.py`, v1.0.0, with its quirks:
//! - closed: what names neither yes nor no, even inside a word, is wrong; else right if the true answer
//!   stands anywhere in it. "Left" for "Left" is wrong; "The lungs are normal" for "No" is right;
//! - "exact match" is the number of the true answer's words that were said, over the number of words
//!   said;
//! - a word that both have counts as often as it was said, in precision and in recall.
//!
//! Its open accuracy needs a list of candidates that was not published.

use std::collections::BTreeMap;

use super::{Measure, Said, vqa};

pub(super) const MEASURES: &[Measure] = &[
    Measure { name: "open_recall", of: |_, open| open, credit: |a, t| overlap(a, t).recall },
    Measure { name: "open_precision", of: |_, open| open, credit: |a, t| overlap(a, t).precision },
    Measure { name: "open_f1", of: |_, open| open, credit: |a, t| overlap(a, t).f1 },
    Measure { name: "open_exact_match", of: |_, open| open, credit: exact_match },
    Measure { name: "closed_accuracy", of: |_, open| !open, credit: closed },
];

/// An answer as the script reads it.
#[derive(Debug, Clone, Default)]
pub(super) struct Words {
    text: String,
    /// Normalised a second time, as the script does before it counts words.
    counts: BTreeMap<String, usize>,
}

impl Words {
    pub fn new(written: &str) -> Self {
        let once = |text: &str| vqa::words_of(text).replace(',', "");
        let text = once(&written.to_lowercase());
        let mut counts = BTreeMap::new();
        for word in once(&text).split_whitespace() {
            *counts.entry(word.to_owned()).or_default() += 1;
        }
        Self { text, counts }
    }

    fn said(&self) -> usize {
        self.counts.values().sum()
    }
}

#[derive(Default)]
struct Overlap {
    precision: f64,
    recall: f64,
    f1: f64,
}

fn overlap(answer: &Said, target: &Said) -> Overlap {
    let (answer, target) = (&answer.llava_med, &target.llava_med);
    let shared = answer.counts.iter().filter(|(word, _)| target.counts.contains_key(*word));
    let right: usize = shared.map(|(_, n)| n).sum();
    if right == 0 {
        return Overlap::default();
    }
    let missed = target.counts.iter().filter(|(word, _)| !answer.counts.contains_key(*word));
    let missed: usize = missed.map(|(_, n)| n).sum();
    let precision = right as f64 / answer.said() as f64;
    let recall = right as f64 / (right + missed) as f64;
    Overlap { precision, recall, f1: 2.0 * precision * recall / (precision + recall) }
}

fn exact_match(answer: &Said, target: &Said) -> f64 {
    let (answer, target) = (&answer.llava_med, &target.llava_med);
    let found = target.counts.keys().filter(|word| answer.counts.contains_key(*word)).count();
    match answer.said() {
        0 => 0.0,
        said => found as f64 / said as f64,
    }
}

fn closed(answer: &Said, target: &Said) -> f64 {
    let (answer, target) = (&answer.llava_med.text, &target.llava_med.text);
    let decided = answer.contains("yes") || answer.contains("no");
    f64::from(u8::from(decided && answer.contains(target.as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quirks_are_kept() {
        let of = |answer: &str, target: &str, credit: fn(&Said, &Said) -> f64| {
            credit(&Said::new(answer), &Said::new(target))
        };
        assert_eq!(of("Left", "Left", closed), 0.0);
        assert_eq!(of("The lungs are normal", "No", closed), 1.0);
        assert_eq!(of("yes, left", "left", closed), 1.0);
        assert_eq!(of("lung lung lung", "lung mass", |a, t| overlap(a, t).recall), 0.75);
        assert_eq!(of("lung lung", "lung", exact_match), 0.5);
        assert_eq!(of("", "lung", exact_match), 0.0);
    }
}
