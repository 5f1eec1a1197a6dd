//! The sums over examples that a [`Metric`] is computed from: a set's metric, and that of any resample of
//! it, follow from the sums of its parts.

use super::answer::NormalizedAnswer;
use super::captions::CaptionSums;
use super::ratio::Ratio;
use super::reports::report_sums;
use super::{Metric, Prediction};

/// A prediction with its two texts normalized and, if it is a report, with its caption sums.
pub(super) struct NormalizedPrediction<'a> {
    pub prediction: &'a Prediction,
    pub answer: NormalizedAnswer,
    pub target: NormalizedAnswer,
    captions: Option<CaptionSums>,
}

/// Normalizes `predictions`. CIDEr weighs the n-grams of a report by how rare they are among all of
/// them, so that reports are prepared as one set.
pub(super) fn normalize_predictions<'a>(
    predictions: &[&'a Prediction],
) -> Vec<NormalizedPrediction<'a>> {
    let mut captions = report_sums(predictions).into_iter();
    let normalized = predictions.iter().map(|&prediction| NormalizedPrediction {
        prediction,
        answer: NormalizedAnswer::new(&prediction.prediction),
        target: NormalizedAnswer::new(&prediction.target.text),
        captions: if prediction.is_report() { captions.next() } else { None },
    });
    normalized.collect()
}

/// What a metric is computed from: a ratio of two sums, or the sums of the caption metrics.
#[derive(Clone, Copy, Default)]
pub(super) struct MetricSums {
    pub ratio: Ratio,
    captions: CaptionSums,
}

impl MetricSums {
    /// What one prediction contributes to `metric`; `None` if the metric does not count it.
    pub fn of(metric: Metric, example: &NormalizedPrediction<'_>) -> Option<Self> {
        let NormalizedPrediction { prediction, answer, target, captions } = example;
        if !metric.counts(target, prediction.target.answer_type) {
            return None;
        }
        if let Metric::Report(_) = metric {
            return Some(Self { captions: (*captions)?, ..Self::default() });
        }
        let ratio = match metric.credit(answer, target) {
            Some(credit) => Ratio::one(credit),
            None => Ratio {
                numerator: prediction.target.nll,
                denominator: prediction.target.num_target_tokens as f64,
            },
        };
        Some(Self { ratio, ..Self::default() })
    }

    /// The value of `metric` over the summed examples; `None` if there are none.
    pub fn value(self, metric: Metric) -> Option<f64> {
        match metric {
            Metric::Report(metric) => self.captions.value(metric),
            _ => self.ratio.value(),
        }
    }
}

impl std::ops::AddAssign for MetricSums {
    fn add_assign(&mut self, other: Self) {
        self.ratio += other.ratio;
        self.captions += other.captions;
    }
}
