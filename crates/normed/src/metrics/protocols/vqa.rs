//! The soft accuracy of the VQA challenge (Antol et al. 2015, arXiv 1505.00468). With one reference answer,
//! as in medical data sets, an answer scores 1 or 0.

use super::metric::{AnswerTexts, ProtocolMetric};

pub(super) const METRICS: &[ProtocolMetric] = &[
    ProtocolMetric { name: "accuracy", counts: |_, _| true, credit },
    ProtocolMetric { name: "open_accuracy", counts: |_, open| open, credit },
    ProtocolMetric { name: "closed_accuracy", counts: |_, open| !open, credit },
];

fn credit(answer: &AnswerTexts, target: &AnswerTexts) -> f64 {
    f64::from(u8::from(answer.vqa == target.vqa))
}
