//! normed's own protocol: see [`NormalizedAnswer`](crate::metrics::NormalizedAnswer).

use super::metric::{AnswerTexts, ProtocolMetric};

pub(super) const METRICS: &[ProtocolMetric] = &[
    ProtocolMetric { name: "exact_match", counts: |_, _| true, credit: exact },
    ProtocolMetric { name: "open_exact_match", counts: |_, open| open, credit: exact },
    ProtocolMetric { name: "open_token_recall", counts: |_, open| open, credit: recall },
    ProtocolMetric { name: "open_token_f1", counts: |_, open| open, credit: f1 },
    ProtocolMetric { name: "closed_accuracy", counts: |_, open| !open, credit: exact },
    ProtocolMetric {
        name: "yes_no_accuracy",
        counts: |target, _| target.strict.yes_or_no().is_some(),
        credit: exact,
    },
];

fn exact(answer: &AnswerTexts, target: &AnswerTexts) -> f64 {
    answer.strict.exact_match(&target.strict)
}

fn recall(answer: &AnswerTexts, target: &AnswerTexts) -> f64 {
    answer.strict.token_recall(&target.strict)
}

fn f1(answer: &AnswerTexts, target: &AnswerTexts) -> f64 {
    answer.strict.token_f1(&target.strict)
}
