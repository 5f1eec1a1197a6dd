//! `ACC.py` of MISS. Closed questions are those whose true answer is written yes, Yes, no or No. Only these
//! four spellings count as answers to them. There is no score for open questions.

use super::metric::{AnswerTexts, ProtocolMetric};

pub(super) const METRICS: &[ProtocolMetric] = &[ProtocolMetric {
    name: "closed_accuracy",
    counts: |target, _| yes_or_no(target).is_some(),
    credit,
}];

fn yes_or_no(answer: &AnswerTexts) -> Option<bool> {
    match answer.written.as_str() {
        "yes" | "Yes" => Some(true),
        "no" | "No" => Some(false),
        _ => None,
    }
}

fn credit(answer: &AnswerTexts, target: &AnswerTexts) -> f64 {
    f64::from(u8::from(yes_or_no(answer).is_some() && yes_or_no(answer) == yes_or_no(target)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_spellings_count() {
        let of = |answer: &str, target: &str| {
            credit(&AnswerTexts::new(answer), &AnswerTexts::new(target))
        };
        assert_eq!(of("Yes", "yes"), 1.0);
        assert_eq!([of("YES", "yes"), of("yes.", "yes"), of("no", "yes")], [0.0; 3]);
        assert_eq!(yes_or_no(&AnswerTexts::new("NO")), None);
    }
}
