//! Every metric of a set of predictions, each with its interval and the best constant beside it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::bootstrap::{Interval, interval};
use super::calibration::{Calibration, calibration};
use super::metric::{Judged, Sum, judge};
use super::reports::constant_score;
use super::{Constant, Constants, ConstantsFrom, Metric, Prediction, protocol};

/// What metrics.json holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// The rules by which answers are compared: [`protocol::NAME`].
    pub protocol: String,
    /// The answers that the constants were chosen by.
    pub constants_from: ConstantsFrom,
    /// The number of predictions.
    pub n: usize,
    /// The number of images or groups.
    pub clusters: usize,
    /// Those of answers, or those of reports; null where there is no question of the metric's kind.
    pub scores: BTreeMap<Metric, Option<Score>>,
    /// Null where no answer is yes or no.
    #[serde(default)]
    pub calibration: Option<Calibration>,
}

/// One metric's value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// A fraction of 1, of CIDEr's of 10; nats for [`Metric::NllPerToken`].
    pub value: f64,
    /// Absent where all examples are of one cluster.
    pub interval: Option<Interval>,
    /// Absent where no constant can be chosen, and for [`Metric::NllPerToken`].
    pub constant: Option<Constant>,
    /// The number of examples counted.
    pub n: usize,
    /// The number of images or groups that they are of.
    pub clusters: usize,
}

/// A line of a table of scores.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The metric.
    pub metric: Metric,
    /// Its name.
    pub name: &'static str,
    /// The score; `None` if no example counts.
    pub value: Option<f64>,
    /// The interval's lower end.
    pub lo: Option<f64>,
    /// The interval's upper end.
    pub hi: Option<f64>,
    /// The best constant answerer's score.
    pub constant: Option<f64>,
    /// The number of examples counted.
    pub n: usize,
}

/// All metrics of `predictions`. Without `constants`, those are chosen by the predictions' own
/// targets.
pub fn score(predictions: &[Prediction], constants: Option<&Constants>) -> Scores {
    let own;
    let constants = match constants {
        Some(constants) => constants,
        None => {
            let targets = predictions.iter().map(|p| (p.target.as_str(), p.answer_type));
            own = Constants::choose(ConstantsFrom::Targets, targets);
            &own
        }
    };
    let judged = judge(&predictions.iter().collect::<Vec<_>>());
    let metrics = Metric::all_of(predictions).into_iter();
    let scores = metrics.map(|metric| (metric, score_one(metric, &judged, constants)));
    let clusters: BTreeSet<&str> = predictions.iter().map(|p| p.cluster.as_str()).collect();
    Scores {
        protocol: protocol::NAME.to_owned(),
        constants_from: constants.from,
        n: predictions.len(),
        clusters: clusters.len(),
        scores: scores.collect(),
        calibration: calibration(
            judged.iter().map(|j| (&j.target, j.prediction.nll, j.prediction.cluster.as_str())),
        ),
    }
}

/// Every metric's value, without intervals and constants.
pub fn values_of(predictions: &[Prediction]) -> BTreeMap<Metric, f64> {
    let judged = judge(&predictions.iter().collect::<Vec<_>>());
    let value = |metric: Metric| {
        let mut total = Sum::default();
        judged.iter().filter_map(|j| metric.part(j)).for_each(|part| total += part);
        Some((metric, total.value(metric)?))
    };
    Metric::all_of(predictions).into_iter().filter_map(value).collect()
}

fn score_one(metric: Metric, judged: &[Judged<'_>], constants: &Constants) -> Option<Score> {
    let mut clusters: BTreeMap<&str, Sum> = BTreeMap::new();
    let (mut counted, mut total) = (Vec::new(), Sum::default());
    for j in judged {
        let Some(part) = metric.part(j) else { continue };
        counted.push(j);
        total += part;
        *clusters.entry(&j.prediction.cluster).or_default() += part;
    }
    Some(Score {
        value: total.value(metric)?,
        interval: interval(&clusters, |sum: Sum| sum.value(metric)),
        constant: constant(metric, &counted, constants),
        n: counted.len(),
        clusters: clusters.len(),
    })
}

/// What is said to all of these, and what it earns.
fn constant(metric: Metric, judged: &[&Judged<'_>], constants: &Constants) -> Option<Constant> {
    if let Some(text) = constants.report(metric) {
        let targets = judged.iter().map(|j| j.prediction.target.as_str());
        let value = constant_score(metric, text, targets)?;
        return Some(Constant { answer: text.to_owned(), value });
    }
    let answer = constants.answer(metric)?;
    let earned: Option<Vec<f64>> =
        judged.iter().map(|j| metric.credit(answer, &j.target)).collect();
    let value = earned?.iter().sum::<f64>() / judged.len() as f64;
    Some(Constant { answer: answer.text().to_owned(), value })
}

impl Scores {
    /// The score of `metric`; `None` if no example counts.
    pub fn get(&self, metric: Metric) -> Option<&Score> {
        self.scores.get(&metric)?.as_ref()
    }

    /// One line a metric.
    pub fn rows(&self) -> Vec<Row> {
        let row = |(&metric, score): (&Metric, &Option<Score>)| {
            let score = score.as_ref();
            let interval = score.and_then(|s| s.interval);
            Row {
                metric,
                name: metric.name(),
                value: score.map(|s| s.value),
                lo: interval.map(|i| i.lo),
                hi: interval.map(|i| i.hi),
                constant: score.and_then(|s| s.constant.as_ref()).map(|c| c.value),
                n: score.map_or(0, |s| s.n),
            }
        };
        self.scores.iter().map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::About;
    use super::*;
    use crate::data::AnswerType;

    fn prediction(answer: &str, target: &str, kind: AnswerType, cluster: &str) -> Prediction {
        Prediction {
            id: format!("{answer}{target}{cluster}"),
            question: String::new(),
            prediction: answer.into(),
            target: target.into(),
            answer_type: kind,
            nll: 1.5,
            num_target_tokens: 2,
            cluster: cluster.into(),
            run: 0,
            about: About::default(),
        }
    }

    #[test]
    fn nothing_gives_no_score() {
        let scores = score(&[], None);
        assert!(scores.rows().iter().all(|r| r.value.is_none() && r.n == 0));
        assert!(serde_json::json!(scores)["scores"]["exact_match"].is_null());
    }

    #[test]
    fn both_definitions_of_closed_stand_side_by_side() {
        use AnswerType::{Closed, Open};
        let predictions = [
            prediction("Yes.", "yes", Closed, "a"),
            prediction("no", "yes", Closed, "b"),
            prediction("left", "Left", Closed, "b"),
            prediction("no", "No", Open, "c"),
        ];
        let scores = score(&predictions, None);
        let of = |metric| scores.get(metric).map(|s| (s.value, s.n, s.clusters));
        assert_eq!(of(Metric::ClosedAccuracy), Some((2.0 / 3.0, 3, 2)));
        assert_eq!(of(Metric::YesNoAccuracy), Some((2.0 / 3.0, 3, 3)));
        assert_eq!(of(Metric::ExactMatch), Some((0.75, 4, 3)));
        assert_eq!(of(Metric::NllPerToken), Some((0.75, 4, 3)));
        let open = scores.get(Metric::OpenExactMatch).expect("one open question");
        assert_eq!((open.value, open.interval), (1.0, None));
    }

    #[test]
    fn a_constant_is_judged_on_these_questions_not_on_those_it_was_chosen_by() {
        use AnswerType::Closed;
        let predictions =
            [prediction("yes", "yes", Closed, "a"), prediction("yes", "no", Closed, "b")];
        let training = Constants::of_training([("no", Closed), ("No", Closed), ("yes", Closed)]);
        let scores = score(&predictions, Some(&training));
        assert_eq!(scores.constants_from, ConstantsFrom::Training);
        let constant = scores.get(Metric::ClosedAccuracy).and_then(|s| s.constant.clone());
        assert_eq!(constant, Some(Constant { answer: "no".into(), value: 0.5 }));
    }

    #[test]
    fn the_order_of_the_predictions_changes_no_interval() {
        use AnswerType::Closed;
        let mut predictions: Vec<_> = (0..20)
            .map(|i| {
                let answer = if i % 3 == 0 { "yes" } else { "no" };
                prediction(answer, "yes", Closed, &format!("image {}", i / 2))
            })
            .collect();
        let forward = score(&predictions, None);
        predictions.reverse();
        assert_eq!(score(&predictions, None), forward);
    }
}
