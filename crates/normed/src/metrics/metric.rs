//! The metrics: what each one measures, and over which examples.

use serde::{Deserialize, Serialize};

use super::Prediction;
use super::answer::NormalizedAnswer;
use super::captions::CaptionMetric;
use crate::data::AnswerType;

/// A metric of a set of predictions. The order of the variants is the order of columns in a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Metric {
    /// Exact match, all questions.
    ExactMatch,
    /// Exact match, open questions.
    OpenExactMatch,
    /// Token recall, open questions: what the LLaVA-Med papers report as "open".
    OpenTokenRecall,
    /// Token F1, open questions.
    OpenTokenF1,
    /// Exact match, questions that the data set labels as closed.
    ClosedAccuracy,
    /// Exact match, questions whose answer is yes or no: what MISS reports as "closed".
    YesNoAccuracy,
    /// A caption metric of generated reports.
    Report(CaptionMetric),
    /// Negative log-likelihood in nats per target token, all questions or reports. Lower is better.
    NllPerToken,
}

impl Metric {
    /// The metrics of answers to questions.
    pub const ANSWERS: [Self; 7] = [
        Self::ExactMatch,
        Self::OpenExactMatch,
        Self::OpenTokenRecall,
        Self::OpenTokenF1,
        Self::ClosedAccuracy,
        Self::YesNoAccuracy,
        Self::NllPerToken,
    ];

    /// The metrics of reports, or else of answers.
    pub fn all(reports: bool) -> Vec<Self> {
        match reports {
            false => Self::ANSWERS.to_vec(),
            true => {
                let captions = CaptionMetric::WITHOUT_TABLES.map(Self::Report).into_iter();
                captions.chain([Self::NllPerToken]).collect()
            }
        }
    }

    /// The metrics that apply to `predictions`, which are all answers or all reports.
    pub(super) fn applicable_to(predictions: &[Prediction]) -> Vec<Self> {
        Self::all(predictions.first().is_some_and(Prediction::is_report))
    }

    /// The metric to show where there is room for one: CIDEr of reports, exact match of answers.
    pub fn primary(reports: bool) -> Self {
        if reports { Self::Report(CaptionMetric::Cider) } else { Self::ExactMatch }
    }

    /// The factor by which the value is multiplied for display: 100 (papers on captions show CIDEr times
    /// 100 as well), but 1 for nats.
    pub fn scale(self) -> f64 {
        if self == Self::NllPerToken { 1.0 } else { 100.0 }
    }

    /// Its name in metrics.json.
    pub fn name(self) -> &'static str {
        match self {
            Self::ExactMatch => "exact_match",
            Self::OpenExactMatch => "open_exact_match",
            Self::OpenTokenRecall => "open_token_recall",
            Self::OpenTokenF1 => "open_token_f1",
            Self::ClosedAccuracy => "closed_accuracy",
            Self::YesNoAccuracy => "yes_no_accuracy",
            Self::Report(metric) => metric.name(),
            Self::NllPerToken => "nll_per_token",
        }
    }

    /// Whether an example with this true answer counts.
    pub(super) fn counts(self, target: &NormalizedAnswer, answer_type: AnswerType) -> bool {
        match self {
            Self::NllPerToken => true,
            Self::ExactMatch => answer_type != AnswerType::Report,
            Self::Report(_) => answer_type == AnswerType::Report,
            Self::OpenExactMatch | Self::OpenTokenRecall | Self::OpenTokenF1 => {
                answer_type == AnswerType::Open
            }
            Self::ClosedAccuracy => answer_type == AnswerType::Closed,
            Self::YesNoAccuracy => {
                answer_type != AnswerType::Report && target.yes_or_no().is_some()
            }
        }
    }

    /// The score of one answer, 0 to 1. `None` for a metric that does not score single answers.
    pub(super) fn credit(
        self,
        answer: &NormalizedAnswer,
        target: &NormalizedAnswer,
    ) -> Option<f64> {
        match self {
            Self::ExactMatch
            | Self::OpenExactMatch
            | Self::ClosedAccuracy
            | Self::YesNoAccuracy => Some(answer.exact_match(target)),
            Self::OpenTokenRecall => Some(answer.token_recall(target)),
            Self::OpenTokenF1 => Some(answer.token_f1(target)),
            Self::Report(_) | Self::NllPerToken => None,
        }
    }
}

impl From<Metric> for String {
    fn from(metric: Metric) -> Self {
        metric.name().to_owned()
    }
}

impl TryFrom<String> for Metric {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let mut known = Self::ANSWERS.into_iter().chain(Self::all(true));
        known
            .find(|metric| metric.name() == name)
            .ok_or_else(|| format!("there is no metric `{name}`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_json_keys() {
        for metric in [Metric::all(false), Metric::all(true)].concat() {
            let json = serde_json::json!({ metric.name(): 1 });
            let map = std::collections::BTreeMap::from([(metric, 1)]);
            assert_eq!(serde_json::json!(map), json);
            assert_eq!(serde_json::from_str(&json.to_string()).ok(), Some(map));
        }
    }
}
