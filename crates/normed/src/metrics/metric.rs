//! What is counted, over which questions.

use serde::{Deserialize, Serialize};

use super::captions::{CaptionMetric, Parts};
use super::protocol::Answer;
use super::{Prediction, reports};
use crate::data::AnswerType;

/// One number about a set of predictions, in the order of a table.
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
    /// Exact match, questions that the data set calls closed.
    ClosedAccuracy,
    /// Exact match, questions whose answer is yes or no: what MISS reports as "closed".
    YesNoAccuracy,
    /// Of generated reports.
    Report(CaptionMetric),
    /// Negative log-likelihood in nats a target token, all questions or reports. Less is better.
    NllPerToken,
}

impl Metric {
    /// Those of answers to questions.
    pub const ANSWERS: [Self; 7] = [
        Self::ExactMatch,
        Self::OpenExactMatch,
        Self::OpenTokenRecall,
        Self::OpenTokenF1,
        Self::ClosedAccuracy,
        Self::YesNoAccuracy,
        Self::NllPerToken,
    ];

    /// Those of reports, or of answers.
    pub fn all(reports: bool) -> Vec<Self> {
        match reports {
            false => Self::ANSWERS.to_vec(),
            true => {
                let of_texts = CaptionMetric::WITHOUT_TABLES.map(Self::Report).into_iter();
                of_texts.chain([Self::NllPerToken]).collect()
            }
        }
    }

    /// Those of `predictions`, which are of one kind.
    pub(super) fn all_of(predictions: &[Prediction]) -> Vec<Self> {
        Self::all(predictions.first().is_some_and(Prediction::is_report))
    }

    /// The one that stands for the others where there is room for one.
    pub fn headline(reports: bool) -> Self {
        if reports { Self::Report(CaptionMetric::Cider) } else { Self::ExactMatch }
    }

    /// What it is multiplied by where people read it: 100, as CIDEr is too in papers on captions; nats stay.
    pub fn scale(self) -> f64 {
        if self == Self::NllPerToken { 1.0 } else { 100.0 }
    }

    /// As it stands in metrics.json.
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

    /// Whether it counts a question with this answer.
    pub(super) fn counts(self, target: &Answer, answer_type: AnswerType) -> bool {
        match self {
            Self::NllPerToken => true,
            Self::ExactMatch => answer_type != AnswerType::Report,
            Self::Report(_) => answer_type == AnswerType::Report,
            Self::OpenExactMatch | Self::OpenTokenRecall | Self::OpenTokenF1 => {
                answer_type == AnswerType::Open
            }
            Self::ClosedAccuracy => answer_type == AnswerType::Closed,
            Self::YesNoAccuracy => answer_type != AnswerType::Report && target.is_yes_no(),
        }
    }

    /// What `answer` earns, 0 to 1. `None` for a metric that does not judge single answers.
    pub(super) fn credit(self, answer: &Answer, target: &Answer) -> Option<f64> {
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

    /// What a prediction adds to the sum that [`Sum::value`] makes the metric of.
    pub(super) fn part(self, judged: &Judged<'_>) -> Option<Sum> {
        let Judged { prediction, answer, target, parts } = judged;
        if !self.counts(target, prediction.answer_type) {
            return None;
        }
        if let Self::Report(_) = self {
            return Some(Sum { parts: (*parts)?, ..Sum::default() });
        }
        let ratio = match self.credit(answer, target) {
            Some(credit) => Ratio { above: credit, below: 1.0 },
            None => Ratio { above: prediction.nll, below: prediction.num_target_tokens as f64 },
        };
        Some(Sum { ratio, ..Sum::default() })
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
        known.find(|metric| metric.name() == name).ok_or_else(|| format!("no metric is `{name}`"))
    }
}

/// A prediction with both its texts normalised; of a report, with what it adds to the scores of texts.
pub(super) struct Judged<'a> {
    pub prediction: &'a Prediction,
    pub answer: Answer,
    pub target: Answer,
    parts: Option<Parts>,
}

/// Each of `predictions`, judged among the others.
pub(super) fn judge<'a>(predictions: &[&'a Prediction]) -> Vec<Judged<'a>> {
    let mut parts = reports::parts_of_reports(predictions).into_iter();
    let judged = predictions.iter().map(|&prediction| Judged {
        prediction,
        answer: Answer::new(&prediction.prediction),
        target: Answer::new(&prediction.target),
        parts: if prediction.is_report() { parts.next() } else { None },
    });
    judged.collect()
}

/// A sum over examples, of what a metric is made of.
#[derive(Clone, Copy, Default)]
pub(super) struct Sum {
    pub ratio: Ratio,
    parts: Parts,
}

impl Sum {
    /// The metric over those examples; `None` if there are none.
    pub fn value(self, metric: Metric) -> Option<f64> {
        match metric {
            Metric::Report(metric) => self.parts.value(metric),
            _ => self.ratio.value(),
        }
    }
}

impl std::ops::AddAssign for Sum {
    fn add_assign(&mut self, other: Self) {
        self.ratio += other.ratio;
        self.parts += other.parts;
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
        for metric in [Metric::all(false), Metric::all(true)].concat() {
            let json = serde_json::json!({ metric.name(): 1 });
            let map = std::collections::BTreeMap::from([(metric, 1)]);
            assert_eq!(serde_json::json!(map), json);
            assert_eq!(serde_json::from_str(&json.to_string()).ok(), Some(map));
        }
    }
}
