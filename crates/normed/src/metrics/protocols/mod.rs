//! The same answers under the rules by which different papers score them, side by side: each score
//! with its interval, the best constant answer, and what a model earns that gives every answer exactly
//! as the data set writes it. docs/protocols.md tells the rules.

mod llava_med;
mod miss;
mod strict;
mod vqa;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::bootstrap::{Interval, interval};
use super::calibration::{Calibration, calibration};
use super::metric::Ratio;
use super::predictions::{About, read_lines};
use super::protocol::Answer;
use super::{Constant, ConstantsFrom};
use crate::data::AnswerType;
use crate::{Error, Result};

/// Rules by which answers are scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// normed's own.
    Strict,
    /// MISS's `ACC.py`.
    Miss,
    /// LLaVA-Med's `run_eval.py`, v1.0.0.
    LlavaMed,
    /// The VQA challenge's.
    Vqa,
}

impl Protocol {
    /// All of them, in the order of a table.
    pub const ALL: [Self; 4] = [Self::Strict, Self::Miss, Self::LlavaMed, Self::Vqa];

    /// As it is named in files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Miss => "miss",
            Self::LlavaMed => "llava-med",
            Self::Vqa => "vqa",
        }
    }

    fn measures(self) -> &'static [Measure] {
        match self {
            Self::Strict => strict::MEASURES,
            Self::Miss => miss::MEASURES,
            Self::LlavaMed => llava_med::MEASURES,
            Self::Vqa => vqa::MEASURES,
        }
    }
}

/// One number of a protocol.
struct Measure {
    name: &'static str,
    /// Whether it counts a question with this true answer, which is open or is not.
    of: fn(&Said, bool) -> bool,
    /// What an answer earns, 0 to 1.
    credit: fn(&Said, &Said) -> f64,
}

/// An answer, as each protocol reads it.
#[derive(Debug, Clone)]
struct Said {
    written: String,
    strict: Answer,
    llava_med: llava_med::Words,
    vqa: String,
}

impl Said {
    fn new(written: &str) -> Self {
        Self {
            written: written.to_owned(),
            strict: Answer::new(written),
            llava_med: llava_med::Words::new(written),
            vqa: vqa::normalise(written),
        }
    }
}

/// A question's answers, and what kind of question it is: a line of predictions.jsonl, of which less is
/// asked than for likelihoods, and more may be said.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Answered {
    /// The question's id.
    pub id: String,
    /// What the model generated.
    pub prediction: String,
    /// The answer, as written.
    pub target: String,
    /// `OPEN` or `CLOSED`.
    pub answer_type: AnswerType,
    /// What intervals cluster by; lines without one are of one and the same cluster.
    #[serde(default)]
    pub cluster: String,
    /// Of the true answer, as in predictions.jsonl; where it is absent, nothing is said of calibration.
    pub nll: Option<f64>,
    /// By what scores are broken down.
    #[serde(flatten)]
    pub about: About,
}

/// Reads answers. An error if there are none or an id occurs twice.
pub fn read_answers(path: &Path) -> Result<Vec<Answered>> {
    let hint = "a line is {id, prediction, target, answer_type: OPEN or CLOSED, cluster} and, if \
                known, question_type, modality, organ";
    let answers: Vec<Answered> = read_lines(path, hint)?;
    if answers.is_empty() {
        return Err(Error::invalid(path.display(), "there are no lines").with_remedy(hint));
    }
    if let Some(report) = answers.iter().find(|answer| answer.answer_type == AnswerType::Report) {
        let place = format!("{}, `{}`", path.display(), report.id);
        return Err(Error::invalid(place, "is a report, and no answer to a question")
            .with_remedy("--protocol coco scores reports"));
    }
    let mut ids = BTreeSet::new();
    match answers.iter().find(|answer| !ids.insert(&answer.id)) {
        None => Ok(answers),
        Some(twice) => {
            let place = format!("{}, `{}`", path.display(), twice.id);
            Err(Error::invalid(place, "the id occurs twice")
                .with_remedy("a file holds the answers of one model, one to each question"))
        }
    }
}

/// A measure's value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProtocolScore {
    /// The protocol's name for it.
    pub name: String,
    /// A fraction of 1.
    pub value: f64,
    /// Absent where all questions are of one cluster.
    pub interval: Option<Interval>,
    /// The true answer that earns most where it is given to every question.
    pub constant: Constant,
    /// What the true answers earn.
    pub ceiling: f64,
    /// The number of questions counted.
    pub n: usize,
}

/// What metrics of one protocol there are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProtocolScores {
    /// Its rules.
    pub protocol: Protocol,
    /// The answers that constants were chosen by: the true ones, an upper bound on what could be known.
    pub constants_from: ConstantsFrom,
    /// Measures that count no question are left out.
    pub scores: Vec<ProtocolScore>,
}

/// A part of the questions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// `answer_type`, `question_type`, `modality` or `organ`.
    pub by: String,
    /// Its value.
    pub value: String,
    /// The number of questions.
    pub n: usize,
    /// Of these questions alone.
    pub scores: Vec<ProtocolScores>,
}

/// Scores by `protocols`, of all answers.
pub fn score_protocols(answers: &[Answered], protocols: &[Protocol]) -> Vec<ProtocolScores> {
    let read: Vec<Read<'_>> = answers.iter().map(Read::new).collect();
    let all: Vec<&Read<'_>> = read.iter().collect();
    scores(&all, protocols)
}

/// Scores by `protocols` of each kind of question, wherever the lines name more than one.
pub fn score_groups(answers: &[Answered], protocols: &[Protocol]) -> Vec<Group> {
    type Key = fn(&Answered) -> Option<&str>;
    const KEYS: [(&str, Key); 4] = [
        ("answer_type", |a| {
            Some(if a.answer_type == AnswerType::Open { "OPEN" } else { "CLOSED" })
        }),
        ("question_type", |a| a.about.question_type.as_deref()),
        ("modality", |a| a.about.modality.as_deref()),
        ("organ", |a| a.about.organ.as_deref()),
    ];
    let read: Vec<Read<'_>> = answers.iter().map(Read::new).collect();
    let mut groups = Vec::new();
    for (by, key) in KEYS {
        let mut parts: BTreeMap<&str, Vec<&Read<'_>>> = BTreeMap::new();
        for one in &read {
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
            scores: scores(&part, protocols),
        }));
    }
    groups
}

/// The calibration of the answers that carry a likelihood; none where of these no true answer is yes or no.
pub fn score_calibration(answers: &[Answered]) -> Option<Calibration> {
    let with = answers.iter().filter_map(|a| Some((Answer::new(&a.target), a.nll?, &a.cluster)));
    let with: Vec<(Answer, f64, &String)> = with.collect();
    calibration(with.iter().map(|(target, nll, cluster)| (target, *nll, cluster.as_str())))
}

/// A line with both its answers read.
struct Read<'a> {
    answered: &'a Answered,
    answer: Said,
    target: Said,
}

impl<'a> Read<'a> {
    fn new(answered: &'a Answered) -> Self {
        let (answer, target) = (Said::new(&answered.prediction), Said::new(&answered.target));
        Self { answered, answer, target }
    }
}

fn scores(read: &[&Read<'_>], protocols: &[Protocol]) -> Vec<ProtocolScores> {
    let of = |&protocol: &Protocol| ProtocolScores {
        protocol,
        constants_from: ConstantsFrom::Targets,
        scores: protocol.measures().iter().filter_map(|m| m.score(read)).collect(),
    };
    protocols.iter().map(of).collect()
}

impl Measure {
    fn score(&self, read: &[&Read<'_>]) -> Option<ProtocolScore> {
        let counts =
            |one: &&&Read<'_>| (self.of)(&one.target, one.answered.answer_type == AnswerType::Open);
        let counted: Vec<&Read<'_>> = read.iter().filter(counts).copied().collect();
        let mut clusters: BTreeMap<&str, Ratio> = BTreeMap::new();
        let (mut total, mut ceiling) = (Ratio::default(), Ratio::default());
        // Equal true answers are judged once.
        let mut targets: BTreeMap<&str, (&Said, f64)> = BTreeMap::new();
        for one in &counted {
            let ratio = Ratio { above: (self.credit)(&one.answer, &one.target), below: 1.0 };
            total += ratio;
            *clusters.entry(&one.answered.cluster).or_default() += ratio;
            ceiling += Ratio { above: (self.credit)(&one.target, &one.target), below: 1.0 };
            targets.entry(&one.target.written).or_insert((&one.target, 0.0)).1 += 1.0;
        }
        let mut best: Option<(&str, f64)> = None;
        for (written, (candidate, _)) in &targets {
            let credit = |(target, n): &(&Said, f64)| n * (self.credit)(candidate, target);
            let earned: f64 = targets.values().map(credit).sum();
            if best.is_none_or(|(_, most)| earned > most) {
                best = Some((written, earned));
            }
        }
        let (answer, earned) = best?;
        Some(ProtocolScore {
            name: self.name.to_owned(),
            value: total.value()?,
            interval: interval(&clusters, Ratio::value),
            constant: Constant { answer: answer.to_owned(), value: earned / counted.len() as f64 },
            ceiling: ceiling.value()?,
            n: counted.len(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(id: usize, prediction: &str, target: &str, open: bool) -> Answered {
        Answered {
            id: id.to_string(),
            prediction: prediction.into(),
            target: target.into(),
            answer_type: if open { AnswerType::Open } else { AnswerType::Closed },
            cluster: (id / 2).to_string(),
            nll: None,
            about: About {
                question_type: None,
                modality: (id > 0).then(|| if id.is_multiple_of(2) { "CT" } else { "MRI" }.into()),
                organ: Some("Lung".into()),
            },
        }
    }

    fn set() -> Vec<Answered> {
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
        let scores = score_protocols(&set(), &Protocol::ALL);
        let closed = |protocol: usize| {
            let found = scores[protocol].scores.iter().find(|s| s.name == "closed_accuracy");
            let found = found.expect("closed questions");
            (found.value, found.ceiling, found.n, found.constant.answer.as_str())
        };
        assert_eq!(closed(0), (0.75, 1.0, 4, "No"));
        assert_eq!(closed(1), (1.0 / 3.0, 1.0, 3, "No"));
        assert_eq!(closed(2), (0.75, 0.75, 4, "No"));
        assert_eq!(closed(3), (0.75, 1.0, 4, "No"));
    }

    #[test]
    fn groups_are_those_that_the_lines_name() {
        let groups = score_groups(&set(), &[Protocol::Strict]);
        let names: Vec<_> = groups.iter().map(|g| (g.by.as_str(), g.value.as_str(), g.n)).collect();
        let want = [
            ("answer_type", "CLOSED", 4),
            ("answer_type", "OPEN", 1),
            ("modality", "CT", 2),
            ("modality", "MRI", 2),
        ];
        assert_eq!(names, want);
    }

    #[test]
    fn names_are_those_of_the_json() {
        for protocol in Protocol::ALL {
            assert_eq!(serde_json::json!(protocol), protocol.name());
        }
    }
}
