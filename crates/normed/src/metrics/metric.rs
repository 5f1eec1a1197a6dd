//! What is counted, over which questions.

use serde::{Deserialize, Serialize};

use super::Prediction;
use super::protocol::Answer;
use crate::data::AnswerType;

/// One number about a set of predictions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Exact match, all questions.
    ExactMatch,
    /// Exact match, open questions.
    OpenExactMatch,
    /// Token recall, open questions: what the LLaVA-Med papers report as "open".
    OpenTokenRecall,
    /// Token F1, open questions.
    OpenTokenF1,
    /// Exact match, questions that the data set calls closed.
    ClosedAccuracy,
    /// Exact match, questions whose answer is yes or no: what MISS reports as "closed".
    YesNoAccuracy,
    /// Negative log-likelihood in nats a target token, all questions. Less is better.
    NllPerToken,
}

impl Metric {
    /// All of them, in the order of a table.
    pub const ALL: [Self; 7] = [
        Self::ExactMatch,
        Self::OpenExactMatch,
        Self::OpenTokenRecall,
        Self::OpenTokenF1,
        Self::ClosedAccuracy,
        Self::YesNoAccuracy,
        Self::NllPerToken,
    ];

    /// As it stands in metrics.json.
    pub fn name(self) -> &'static str {
        match self {
            Self::ExactMatch => "exact_match",
            Self::OpenExactMatch => "open_exact_match",
            Self::OpenTokenRecall => "open_token_recall",
            Self::OpenTokenF1 => "open_token_f1",
            Self::ClosedAccuracy => "closed_accuracy",
            Self::YesNoAccuracy => "yes_no_accuracy",
            Self::NllPerToken => "nll_per_token",
        }
    }

    /// Whether it counts a question with this answer.
    pub(super) fn counts(self, target: &Answer, answer_type: AnswerType) -> bool {
        match self {
            Self::ExactMatch | Self::NllPerToken => true,
            Self::OpenExactMatch | Self::OpenTokenRecall | Self::OpenTokenF1 => {
                answer_type == AnswerType::Open
            }
            Self::ClosedAccuracy => answer_type == AnswerType::Closed,
            Self::YesNoAccuracy => target.is_yes_no(),
        }
    }

    /// What `answer` earns, 0 to 1. `None` for a metric that does not judge the text.
    pub(super) fn credit(self, answer: &Answer, target: &Answer) -> Option<f64> {
        match self {
            Self::ExactMatch
            | Self::OpenExactMatch
            | Self::ClosedAccuracy
            | Self::YesNoAccuracy => Some(answer.exact_match(target)),
            Self::OpenTokenRecall => Some(answer.token_recall(target)),
            Self::OpenTokenF1 => Some(answer.token_f1(target)),
            Self::NllPerToken => None,
        }
    }

    /// What a prediction adds above and below the fraction bar.
    pub(super) fn ratio(self, judged: &Judged<'_>) -> Option<Ratio> {
        if !self.counts(&judged.target, judged.prediction.answer_type) {
            return None;
        }
        Some(match self.credit(&judged.answer, &judged.target) {
            Some(credit) => Ratio { above: credit, below: 1.0 },
            None => Ratio {
                above: judged.prediction.nll,
                below: judged.prediction.num_target_tokens as f64,
            },
        })
    }
}

/// A prediction with both its texts normalised.
pub(super) struct Judged<'a> {
    pub prediction: &'a Prediction,
    pub answer: Answer,
    pub target: Answer,
}

impl<'a> Judged<'a> {
    pub fn new(prediction: &'a Prediction) -> Self {
        Self {
            prediction,
            answer: Answer::new(&prediction.prediction),
            target: Answer::new(&prediction.target),
        }
    }
}

/// A sum over examples, and what it is divided by.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Ratio {
    pub above: f64,
    pub below: f64,
}

impl Ratio {
    /// `None` if there is nothing to divide by.
    pub fn value(self) -> Option<f64> {
        (self.below > 0.0).then(|| self.above / self.below)
    }
}

impl std::ops::AddAssign for Ratio {
    fn add_assign(&mut self, other: Self) {
        self.above += other.above;
        self.below += other.below;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_json() {
        for metric in Metric::ALL {
            assert_eq!(serde_json::json!(metric), metric.name());
        }
    }
}
