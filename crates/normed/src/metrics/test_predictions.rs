//! Predictions for tests.

use super::{ExampleAttributes, Prediction, Target};
use crate::data::AnswerType;

/// 200 answers to closed questions about 100 images; answer `i` is correct if `is_correct(i)`.
pub(crate) fn yes_no_predictions(is_correct: impl Fn(usize) -> bool) -> Vec<Prediction> {
    let prediction = |i: usize| Prediction {
        id: i.to_string(),
        image: None,
        question: String::new(),
        prediction: if is_correct(i) { "yes" } else { "no" }.into(),
        probability: None,
        target: Target {
            text: "yes".into(),
            answer_type: AnswerType::Closed,
            nll: 1.0,
            num_target_tokens: 2,
            target_cut: false,
        },
        question_cut: false,
        cluster: (i / 2).to_string(),
        run: 0,
        attributes: ExampleAttributes::default(),
    };
    (0..200).map(prediction).collect()
}
