//! Scores answers by protocols, over all questions and by groups.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::answered::AnsweredQuestion;
use super::metric::{AnswerTexts, ProtocolMetric};
use super::protocol::Protocol;
use crate::data::AnswerType;
use crate::metrics::answer::NormalizedAnswer;
use crate::metrics::bootstrap::{Interval, interval};
use crate::metrics::calibration::{Calibration, calibration};
use crate::metrics::ratio::Ratio;
use crate::metrics::{BaselineSource, MajorityAnswer};

/// The score of one metric of a protocol.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProtocolScore {
    /// The name of the metric in the protocol.
    pub name: String,
    /// The score, 0 to 1.
    pub value: f64,
    /// The 95 % interval; absent where all questions are in one cluster.
    pub interval: Option<Interval>,
    /// The true answer that scores highest if it is given to every question.
    #[serde(rename = "constant")]
    pub majority: MajorityAnswer,
    /// The score of answers equal to the true ones.
    pub ceiling: f64,
    /// The number of questions counted.
    pub n: usize,
}

/// The scores of one protocol.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProtocolScores {
    /// The protocol.
    pub protocol: Protocol,
    /// The answers from which majority answers were chosen: here the true answers themselves.
    #[serde(rename = "constants_from")]
    pub baseline_source: BaselineSource,
    /// One score per metric, without metrics that count no question.
    pub scores: Vec<ProtocolScore>,
}

/// The questions with one value of an attribute.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// The attribute: `answer_type`, `question_type`, `modality` or `organ`.
    pub by: String,
    /// Its value.
    pub value: String,
    /// The number of questions.
    pub n: usize,
    /// The scores on these questions.
    pub scores: Vec<ProtocolScores>,
}

/// Scores all answers by `protocols`.
pub fn score_protocols(
    answers: &[AnsweredQuestion],
    protocols: &[Protocol],
) -> Vec<ProtocolScores> {
    let questions: Vec<PreparedQuestion<'_>> = answers.iter().map(PreparedQuestion::new).collect();
    let all: Vec<&PreparedQuestion<'_>> = questions.iter().collect();
    score_all(&all, protocols)
}

/// Scores each group of questions by `protocols`. Attributes with fewer than two values are left out.
pub fn score_groups(answers: &[AnsweredQuestion], protocols: &[Protocol]) -> Vec<Group> {
    type Key = fn(&AnsweredQuestion) -> Option<&str>;
    const KEYS: [(&str, Key); 4] = [
        ("answer_type", |a| {
            Some(if a.answer_type == AnswerType::Open { "OPEN" } else { "CLOSED" })
        }),
        ("question_type", |a| a.attributes.question_type.as_deref()),
        ("modality", |a| a.attributes.modality.as_deref()),
        ("organ", |a| a.attributes.organ.as_deref()),
    ];
    let questions: Vec<PreparedQuestion<'_>> = answers.iter().map(PreparedQuestion::new).collect();
    let mut groups = Vec::new();
    for (by, key) in KEYS {
        let mut parts: BTreeMap<&str, Vec<&PreparedQuestion<'_>>> = BTreeMap::new();
        for one in &questions {
            if let Some(value) = key(one.answered) {
                parts.entry(value).or_default().push(one);
            }
        }
        if parts.len() < 2 {
            continue;
        }
        groups.extend(parts.into_iter().map(|(value, part)| Group {
            by: by.to_owned(),
            value: value.to_owned(),
            n: part.len(),
            scores: score_all(&part, protocols),
        }));
    }
    groups
}

/// Computes the calibration of the answers that have a likelihood. `None` if none of their true answers is
/// yes or no.
pub fn score_calibration(answers: &[AnsweredQuestion]) -> Option<Calibration> {
    let answered =
        answers.iter().filter_map(|a| Some((NormalizedAnswer::new(&a.target), a.nll?, &a.cluster)));
    let answered: Vec<(NormalizedAnswer, f64, &String)> = answered.collect();
    calibration(answered.iter().map(|(target, nll, cluster)| (target, *nll, cluster.as_str())))
}

/// A question with the texts of both its answers.
struct PreparedQuestion<'a> {
    answered: &'a AnsweredQuestion,
    answer: AnswerTexts,
    target: AnswerTexts,
}

impl<'a> PreparedQuestion<'a> {
    fn new(answered: &'a AnsweredQuestion) -> Self {
        let (answer, target) =
            (AnswerTexts::new(&answered.prediction), AnswerTexts::new(&answered.target));
        Self { answered, answer, target }
    }
}

fn score_all(questions: &[&PreparedQuestion<'_>], protocols: &[Protocol]) -> Vec<ProtocolScores> {
    let score = |&protocol: &Protocol| ProtocolScores {
        protocol,
        baseline_source: BaselineSource::Targets,
        scores: protocol.metrics().iter().filter_map(|m| m.score(questions)).collect(),
    };
    protocols.iter().map(score).collect()
}

impl ProtocolMetric {
    fn score(&self, questions: &[&PreparedQuestion<'_>]) -> Option<ProtocolScore> {
        let counts = |one: &&&PreparedQuestion<'_>| {
            (self.counts)(&one.target, one.answered.answer_type == AnswerType::Open)
        };
        let counted: Vec<&PreparedQuestion<'_>> =
            questions.iter().filter(counts).copied().collect();
        let mut clusters: BTreeMap<&str, Ratio> = BTreeMap::new();
        let (mut total, mut ceiling) = (Ratio::default(), Ratio::default());
        // Equal true answers are scored once.
        let mut targets: BTreeMap<&str, (&AnswerTexts, f64)> = BTreeMap::new();
        for one in &counted {
            let ratio = Ratio::one((self.credit)(&one.answer, &one.target));
            total += ratio;
            *clusters.entry(&one.answered.cluster).or_default() += ratio;
            ceiling += Ratio::one((self.credit)(&one.target, &one.target));
            targets.entry(&one.target.written).or_insert((&one.target, 0.0)).1 += 1.0;
        }
        let mut best: Option<(&str, f64)> = None;
        for (written, (candidate, _)) in &targets {
            let credit = |(target, n): &(&AnswerTexts, f64)| n * (self.credit)(candidate, target);
            let credits: f64 = targets.values().map(credit).sum();
            if best.is_none_or(|(_, most)| credits > most) {
                best = Some((written, credits));
            }
        }
        let (answer, credits) = best?;
        Some(ProtocolScore {
            name: self.name.to_owned(),
            value: total.value()?,
            interval: interval(&clusters, Ratio::value),
            majority: MajorityAnswer {
                answer: answer.to_owned(),
                value: credits / counted.len() as f64,
            },
            ceiling: ceiling.value()?,
            n: counted.len(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::ExampleAttributes;

    fn answered(id: usize, prediction: &str, target: &str, open: bool) -> AnsweredQuestion {
        AnsweredQuestion {
            id: id.to_string(),
            prediction: prediction.into(),
            target: target.into(),
            answer_type: if open { AnswerType::Open } else { AnswerType::Closed },
            cluster: (id / 2).to_string(),
            nll: None,
            attributes: ExampleAttributes {
                question_type: None,
                modality: (id > 0).then(|| if id.is_multiple_of(2) { "CT" } else { "MRI" }.into()),
                organ: Some("Lung".into()),
            },
        }
    }

    fn example_set() -> Vec<AnsweredQuestion> {
        vec![
            answered(0, "Left", "Left", false),
            answered(1, "The lungs are normal", "No", false),
            answered(2, "no", "No", false),
            answered(3, "yes.", "Yes", false),
            answered(4, "the left lung", "left lung", true),
        ]
    }

    #[test]
    fn one_file_has_four_closed_accuracies() {
        let scores = score_protocols(&example_set(), &Protocol::ALL);
        let closed = |protocol: usize| {
            let found = scores[protocol].scores.iter().find(|s| s.name == "closed_accuracy");
            let found = found.expect("closed questions");
            (found.value, found.ceiling, found.n, found.majority.answer.as_str())
        };
        assert_eq!(closed(0), (0.75, 1.0, 4, "No"));
        assert_eq!(closed(1), (1.0 / 3.0, 1.0, 3, "No"));
        assert_eq!(closed(2), (0.75, 0.75, 4, "No"));
        assert_eq!(closed(3), (0.75, 1.0, 4, "No"));
    }

    #[test]
    fn groups_are_the_values_of_the_attributes() {
        let groups = score_groups(&example_set(), &[Protocol::Strict]);
        let names: Vec<_> = groups.iter().map(|g| (g.by.as_str(), g.value.as_str(), g.n)).collect();
        let want = [
            ("answer_type", "CLOSED", 4),
            ("answer_type", "OPEN", 1),
            ("modality", "CT", 2),
            ("modality", "MRI", 2),
        ];
        assert_eq!(names, want);
    }
}
