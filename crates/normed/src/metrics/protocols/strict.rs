//! normed's own rules, [`protocol`](super::super::protocol).

use super::{Measure, Said};

pub(super) const MEASURES: &[Measure] = &[
    Measure { name: "exact_match", of: |_, _| true, credit: exact },
    Measure { name: "open_exact_match", of: |_, open| open, credit: exact },
    Measure { name: "open_token_recall", of: |_, open| open, credit: recall },
    Measure { name: "open_token_f1", of: |_, open| open, credit: f1 },
    Measure { name: "closed_accuracy", of: |_, open| !open, credit: exact },
    Measure { name: "yes_no_accuracy", of: |target, _| target.strict.is_yes_no(), credit: exact },
];

fn exact(answer: &Said, target: &Said) -> f64 {
    answer.strict.exact_match(&target.strict)
}

fn recall(answer: &Said, target: &Said) -> f64 {
    answer.strict.token_recall(&target.strict)
}

fn f1(answer: &Said, target: &Said) -> f64 {
    answer.strict.token_f1(&target.strict)
}
