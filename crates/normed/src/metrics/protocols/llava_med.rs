//! `run_eval.py` of LLaVA-Med v1.0.0, with its quirks:
//! - closed accuracy: an answer without "yes" or "no", even inside a word, is wrong. Otherwise it is correct
//!   if it contains the true answer. So "Left" for "Left" is wrong, and "The lungs are normal" for "No" is
//!   correct;
//! - exact match: the number of the true answer's words that occur in the answer, divided by the number of
//!   words in the answer;
//! - a shared word counts as often as it occurs in the answer, in precision and in recall.
//!
//! The script's open accuracy is left out: it needs a list of candidates that was not published.

use super::metric::{AnswerTexts, ProtocolMetric};

pub(super) const METRICS: &[ProtocolMetric] = &[
    ProtocolMetric {
        name: "open_recall",
        counts: |_, open| open,
        credit: |a, t| overlap(a, t).recall,
    },
    ProtocolMetric {
        name: "open_precision",
        counts: |_, open| open,
        credit: |a, t| overlap(a, t).precision,
    },
    ProtocolMetric { name: "open_f1", counts: |_, open| open, credit: |a, t| overlap(a, t).f1 },
    ProtocolMetric { name: "open_exact_match", counts: |_, open| open, credit: exact_match },
    ProtocolMetric { name: "closed_accuracy", counts: |_, open| !open, credit: closed },
];

#[derive(Default)]
struct Overlap {
    precision: f64,
    recall: f64,
    f1: f64,
}

fn overlap(answer: &AnswerTexts, target: &AnswerTexts) -> Overlap {
    let (answer, target) = (&answer.llava_med, &target.llava_med);
    let shared = answer.counts.iter().filter(|(word, _)| target.counts.contains_key(*word));
    let matched: usize = shared.map(|(_, n)| n).sum();
    if matched == 0 {
        return Overlap::default();
    }
    let missed = target.counts.iter().filter(|(word, _)| !answer.counts.contains_key(*word));
    let missed: usize = missed.map(|(_, n)| n).sum();
    let precision = matched as f64 / answer.len() as f64;
    let recall = matched as f64 / (matched + missed) as f64;
    Overlap { precision, recall, f1: 2.0 * precision * recall / (precision + recall) }
}

fn exact_match(answer: &AnswerTexts, target: &AnswerTexts) -> f64 {
    let (answer, target) = (&answer.llava_med, &target.llava_med);
    let found = target.counts.keys().filter(|word| answer.counts.contains_key(*word)).count();
    match answer.len() {
        0 => 0.0,
        len => found as f64 / len as f64,
    }
}

fn closed(answer: &AnswerTexts, target: &AnswerTexts) -> f64 {
    let (answer, target) = (&answer.llava_med.text, &target.llava_med.text);
    let says_yes_or_no = answer.contains("yes") || answer.contains("no");
    f64::from(u8::from(says_yes_or_no && answer.contains(target.as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quirks_are_reproduced() {
        let of = |answer: &str, target: &str, credit: fn(&AnswerTexts, &AnswerTexts) -> f64| {
            credit(&AnswerTexts::new(answer), &AnswerTexts::new(target))
        };
        assert_eq!(of("Left", "Left", closed), 0.0);
        assert_eq!(of("The lungs are normal", "No", closed), 1.0);
        assert_eq!(of("yes, left", "left", closed), 1.0);
        assert_eq!(of("lung lung lung", "lung mass", |a, t| overlap(a, t).recall), 0.75);
        assert_eq!(of("lung lung", "lung", exact_match), 0.5);
        assert_eq!(of("", "lung", exact_match), 0.0);
    }
}
