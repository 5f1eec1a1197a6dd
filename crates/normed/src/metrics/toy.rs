//! Answers for tests.

use super::{About, Prediction};
use crate::data::AnswerType;

/// 200 closed answers about 100 images, of which those are right that `right` says.
pub(crate) fn answers(right: impl Fn(usize) -> bool) -> Vec<Prediction> {
    let prediction = |i: usize| Prediction {
        id: i.to_string(),
        question: String::new(),
        prediction: if right(i) { "yes" } else { "no" }.into(),
        target: "yes".into(),
        answer_type: AnswerType::Closed,
        nll: 1.0,
        num_target_tokens: 2,
        cluster: (i / 2).to_string(),
        run: 0,
        about: About::default(),
    };
    (0..200).map(prediction).collect()
}
