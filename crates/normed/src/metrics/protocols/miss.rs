//! MISS's `ACC.py`: closed questions are those whose true answer is written yes, Yes, no or No, and
//! only these four are answers to them. It has no score for open questions.

use super::{Measure, Said};

pub(super) const MEASURES: &[Measure] =
    &[Measure { name: "closed_accuracy", of: |target, _| class(target).is_some(), credit }];

fn class(said: &Said) -> Option<bool> {
    match said.written.as_str() {
        "yes" | "Yes" => Some(true),
        "no" | "No" => Some(false),
        _ => None,
    }
}

fn credit(answer: &Said, target: &Said) -> f64 {
    f64::from(u8::from(class(answer).is_some() && class(answer) == class(target)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_spellings_count() {
        let of = |answer: &str, target: &str| credit(&Said::new(answer), &Said::new(target));
        assert_eq!(of("Yes", "yes"), 1.0);
        assert_eq!([of("YES", "yes"), of("yes.", "yes"), of("no", "yes")], [0.0; 3]);
        assert_eq!(class(&Said::new("NO")), None);
    }
}
