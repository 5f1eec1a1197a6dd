//! The majority-answer baseline: the score of one and the same answer to every question.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::answer::NormalizedAnswer;
use super::{Metric, reports};
use crate::data::{Answer, AnswerType};

/// The answers from which a [`MajorityBaseline`] was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BaselineSource {
    /// The answers of the training split.
    Training,
    /// The targets of the predictions themselves: an upper bound on the baseline.
    Targets,
}

/// The majority answer for a metric, and its score on the same examples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MajorityAnswer {
    /// The answer, normalized; or the report, as written.
    pub answer: String,
    /// Its score as the answer to every question.
    pub value: f64,
}

/// For every metric, the answer that scores highest if it is given to every question.
///
/// For exact match that is the most frequent answer; for other metrics it may be another one.
#[derive(Debug, Clone, PartialEq)]
pub struct MajorityBaseline {
    /// The answers from which they were chosen.
    pub from: BaselineSource,
    /// Without the metrics for which there was no answer.
    answers: BTreeMap<Metric, NormalizedAnswer>,
    /// Empty if there was no report.
    reports: BTreeMap<Metric, String>,
}

impl MajorityBaseline {
    /// Chooses from the answers of a training split. For each metric, the candidates are the answers to
    /// the questions that it counts, and they are scored on these. Of reports, the candidates are the
    /// most frequent ones.
    pub fn from_training<'a>(answers: impl IntoIterator<Item = &'a Answer>) -> Self {
        let answers = answers.into_iter().map(|answer| (answer.text.as_str(), answer.answer_type));
        Self::choose(BaselineSource::Training, answers)
    }

    /// A baseline without any answer: scores get no [`MajorityAnswer`].
    pub fn none() -> Self {
        Self::choose(BaselineSource::Targets, [])
    }

    pub(super) fn choose<'a>(
        from: BaselineSource,
        answers: impl IntoIterator<Item = (&'a str, AnswerType)>,
    ) -> Self {
        // Equal answers are scored once; the map's order makes the choice among ties reproducible.
        let mut counts: BTreeMap<(NormalizedAnswer, bool), usize> = BTreeMap::new();
        let mut reports = Vec::new();
        for (text, kind) in answers {
            if kind == AnswerType::Report {
                reports.push(text);
                continue;
            }
            *counts.entry((NormalizedAnswer::new(text), kind == AnswerType::Open)).or_default() +=
                1;
        }
        let best = Metric::ANSWERS.into_iter().filter_map(|metric| {
            let mut counted: BTreeMap<&NormalizedAnswer, usize> = BTreeMap::new();
            for ((answer, open), n) in &counts {
                let kind = if *open { AnswerType::Open } else { AnswerType::Closed };
                if metric.counts(answer, kind) {
                    *counted.entry(answer).or_default() += n;
                }
            }
            Some((metric, majority_answer(metric, &counted)?.clone()))
        });
        Self { from, answers: best.collect(), reports: reports::majority_reports(&reports) }
    }

    /// The majority answer for a metric of answers.
    pub(super) fn answer(&self, metric: Metric) -> Option<&NormalizedAnswer> {
        self.answers.get(&metric)
    }

    /// The majority report for a metric of reports.
    pub(super) fn report(&self, metric: Metric) -> Option<&str> {
        self.reports.get(&metric).map(String::as_str)
    }
}

/// The answer with the highest total score over `answers`; of equals, the first in alphabetical order.
fn majority_answer<'a>(
    metric: Metric,
    answers: &BTreeMap<&'a NormalizedAnswer, usize>,
) -> Option<&'a NormalizedAnswer> {
    let mut best: Option<(&NormalizedAnswer, f64)> = None;
    for &candidate in answers.keys() {
        let mut total = 0.0;
        for (target, n) in answers {
            total += *n as f64 * metric.credit(candidate, target)?;
        }
        if best.is_none_or(|(_, most)| total > most) {
            best = Some((candidate, total));
        }
    }
    best.map(|(answer, _)| answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use AnswerType::{Closed, Open};

    fn chosen(baseline: &MajorityBaseline, metric: Metric) -> Option<&str> {
        baseline.answer(metric).map(NormalizedAnswer::text)
    }

    fn from_training(answers: &[(&str, AnswerType)]) -> MajorityBaseline {
        let answers: Vec<_> = answers.iter().map(|&(text, kind)| Answer::new(text, kind)).collect();
        MajorityBaseline::from_training(&answers)
    }

    #[test]
    fn each_metric_has_its_own_majority_answer() {
        let baseline = from_training(&[
            ("Yes", Closed),
            ("no.", Closed),
            ("No", Closed),
            ("left", Closed),
            ("left", Closed),
            ("left", Closed),
            ("brain", Open),
            ("Brain", Open),
            ("right lung", Open),
            ("lung", Open),
            ("left lung", Open),
        ]);
        assert_eq!(chosen(&baseline, Metric::ExactMatch), Some("left"));
        assert_eq!(chosen(&baseline, Metric::ClosedAccuracy), Some("left"));
        assert_eq!(chosen(&baseline, Metric::YesNoAccuracy), Some("no"));
        assert_eq!(chosen(&baseline, Metric::OpenExactMatch), Some("brain"));
        // "left lung" scores 1 + 1 + 1/2 in recall, "brain" scores 2.
        assert_eq!(chosen(&baseline, Metric::OpenTokenRecall), Some("left lung"));
        // "lung" scores 1 + 2/3 + 2/3 in F1.
        assert_eq!(chosen(&baseline, Metric::OpenTokenF1), Some("lung"));
        assert_eq!(chosen(&baseline, Metric::NllPerToken), None);
    }

    #[test]
    fn a_metric_without_answers_has_no_majority_answer() {
        let baseline = from_training(&[("liver", Open)]);
        assert_eq!(chosen(&baseline, Metric::ClosedAccuracy), None);
        assert_eq!(chosen(&baseline, Metric::ExactMatch), Some("liver"));
    }
}
