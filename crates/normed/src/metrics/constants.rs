//! The best constant answerer: the score that can be had by saying the same thing every time.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::protocol::Answer;
use super::{Metric, reports};
use crate::data::AnswerType;

/// The answers that constants were chosen by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConstantsFrom {
    /// Those of the training split: what an answerer could know.
    Training,
    /// The predictions' own targets: an upper bound on what it could know.
    Targets,
}

/// The best constant answerer's score on the same questions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Constant {
    /// What it says: an answer normalised, a report as written.
    pub answer: String,
    /// What that earns.
    pub value: f64,
}

/// For every metric, the constant that earns most on some answers or reports.
#[derive(Debug, Clone, PartialEq)]
pub struct Constants {
    /// The answers they were chosen by.
    pub from: ConstantsFrom,
    /// Absent where no answer was of the metric's kind.
    answers: BTreeMap<Metric, Answer>,
    /// Absent where there was no report.
    reports: BTreeMap<Metric, String>,
}

impl Constants {
    /// Chooses among the answers of a training split: for each metric, among and by those of its
    /// own kind of question. Of reports, one of the most frequent is chosen.
    pub fn of_training<'a>(answers: impl IntoIterator<Item = (&'a str, AnswerType)>) -> Self {
        Self::choose(ConstantsFrom::Training, answers)
    }

    /// Where no constant is asked for.
    pub fn none() -> Self {
        Self::choose(ConstantsFrom::Targets, [])
    }

    pub(super) fn choose<'a>(
        from: ConstantsFrom,
        answers: impl IntoIterator<Item = (&'a str, AnswerType)>,
    ) -> Self {
        // Equal answers are judged once; the order makes ties fall the same way every time.
        let mut counts: BTreeMap<(Answer, bool), usize> = BTreeMap::new();
        let mut reports = Vec::new();
        for (text, kind) in answers {
            if kind == AnswerType::Report {
                reports.push(text);
                continue;
            }
            *counts.entry((Answer::new(text), kind == AnswerType::Open)).or_default() += 1;
        }
        let best = Metric::ANSWERS.into_iter().filter_map(|metric| {
            let mut of_kind: BTreeMap<&Answer, usize> = BTreeMap::new();
            for ((answer, open), n) in &counts {
                let kind = if *open { AnswerType::Open } else { AnswerType::Closed };
                if metric.counts(answer, kind) {
                    *of_kind.entry(answer).or_default() += n;
                }
            }
            Some((metric, best_constant(metric, &of_kind)?.clone()))
        });
        Self { from, answers: best.collect(), reports: reports::best_constants(&reports) }
    }

    /// What the best constant answerer for `metric` says.
    pub(super) fn answer(&self, metric: Metric) -> Option<&Answer> {
        self.answers.get(&metric)
    }

    /// The same of a metric of reports.
    pub(super) fn report(&self, metric: Metric) -> Option<&str> {
        self.reports.get(&metric).map(String::as_str)
    }
}

/// The answer that earns most over all of them; the first in alphabetical order among equals.
fn best_constant<'a>(metric: Metric, answers: &BTreeMap<&'a Answer, usize>) -> Option<&'a Answer> {
    let mut best: Option<(&Answer, f64)> = None;
    for &candidate in answers.keys() {
        let mut earned = 0.0;
        for (target, n) in answers {
            earned += *n as f64 * metric.credit(candidate, target)?;
        }
        if best.is_none_or(|(_, most)| earned > most) {
            best = Some((candidate, earned));
        }
    }
    best.map(|(answer, _)| answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use AnswerType::{Closed, Open};

    fn said(constants: &Constants, metric: Metric) -> Option<&str> {
        constants.answer(metric).map(Answer::text)
    }

    #[test]
    fn each_kind_of_question_has_its_own_constant() {
        let constants = Constants::of_training([
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
        assert_eq!(said(&constants, Metric::ExactMatch), Some("left"));
        assert_eq!(said(&constants, Metric::ClosedAccuracy), Some("left"));
        assert_eq!(said(&constants, Metric::YesNoAccuracy), Some("no"));
        assert_eq!(said(&constants, Metric::OpenExactMatch), Some("brain"));
        // "left lung" earns 1 + 1 + 1/2 in recall, where "brain" earns 2.
        assert_eq!(said(&constants, Metric::OpenTokenRecall), Some("left lung"));
        // "lung" earns 1 + 2/3 + 2/3 in F1.
        assert_eq!(said(&constants, Metric::OpenTokenF1), Some("lung"));
        assert_eq!(said(&constants, Metric::NllPerToken), None);
    }

    #[test]
    fn no_answers_of_a_kind_give_no_constant() {
        let constants = Constants::of_training([("liver", Open)]);
        assert_eq!(said(&constants, Metric::ClosedAccuracy), None);
        assert_eq!(said(&constants, Metric::ExactMatch), Some("liver"));
    }
}
