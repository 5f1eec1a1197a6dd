//! Every metric of a set of predictions, with its 95 % interval and the majority-answer baseline.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::answer::STRICT_PROTOCOL;
use super::bootstrap::{Interval, interval};
use super::calibration::{Calibration, calibration};
use super::reports::score_of_one_report;
use super::sums::{MetricSums, NormalizedPrediction, normalize_predictions};
use super::{BaselineSource, MajorityAnswer, MajorityBaseline, Metric, Prediction};

/// The scores of a set of predictions: the content of metrics.json.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// The protocol by which answers are compared: [`STRICT_PROTOCOL`].
    pub protocol: String,
    /// The answers from which the majority answers were chosen.
    #[serde(rename = "constants_from")]
    pub baseline_source: BaselineSource,
    /// The number of predictions.
    pub n: usize,
    /// The number of clusters: images or groups.
    pub clusters: usize,
    /// One score per metric of answers, or of reports; null in JSON where no example counts.
    pub scores: BTreeMap<Metric, Option<Score>>,
    /// Null in JSON where no true answer is yes or no.
    #[serde(default)]
    pub calibration: Option<Calibration>,
}

/// The value of one metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// From 0 to 1; CIDEr from 0 to 10; [`Metric::NllPerToken`] in nats.
    pub value: f64,
    /// The 95 % interval; absent where all examples are in one cluster.
    pub interval: Option<Interval>,
    /// The baseline; absent where none can be chosen, and for [`Metric::NllPerToken`].
    #[serde(rename = "constant")]
    pub majority: Option<MajorityAnswer>,
    /// The number of examples counted.
    pub n: usize,
    /// The number of their clusters: images or groups.
    pub clusters: usize,
}

/// A row of a table of scores.
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
    /// The score of the majority answer.
    pub majority: Option<f64>,
    /// The number of examples counted.
    pub n: usize,
}

/// Scores `predictions` by every metric that applies. Without a `baseline`, the majority answers are
/// chosen from the predictions' own targets.
///
/// ```
/// use normed::data::{Answer, AnswerType};
/// use normed::metrics::{ExampleAttributes, MajorityBaseline, Metric, Prediction, Target, score};
///
/// let prediction = |id: &str, prediction: &str, target: &str| Prediction {
///     id: id.to_owned(),
///     image: Some(format!("image {id}")),
///     question: "Is the heart enlarged?".to_owned(),
///     prediction: prediction.to_owned(),
///     probability: Some(0.6),
///     target: Target {
///         text: target.to_owned(),
///         answer_type: AnswerType::Closed,
///         nll: 0.5,
///         num_target_tokens: 2,
///         target_cut: false,
///     },
///     question_cut: false,
///     cluster: format!("image {id}"),
///     run: 0,
///     attributes: ExampleAttributes::default(),
/// };
/// let predictions = [
///     prediction("1", "Yes.", "yes"),
///     prediction("2", "no", "no"),
///     prediction("3", "yes", "no"),
///     prediction("4", "no", "no"),
/// ];
/// let training = [Answer::new("no", AnswerType::Closed), Answer::new("no", AnswerType::Closed)];
/// let scores = score(&predictions, Some(&MajorityBaseline::from_training(&training)));
///
/// let exact_match = scores.get(Metric::ExactMatch).unwrap();
/// assert_eq!(exact_match.value, 0.75);
/// let majority = exact_match.majority.as_ref().unwrap();
/// assert_eq!((majority.answer.as_str(), majority.value), ("no", 0.75));
/// ```
pub fn score(predictions: &[Prediction], baseline: Option<&MajorityBaseline>) -> Scores {
    let own;
    let baseline = match baseline {
        Some(baseline) => baseline,
        None => {
            let targets =
                predictions.iter().map(|p| (p.target.text.as_str(), p.target.answer_type));
            own = MajorityBaseline::choose(BaselineSource::Targets, targets);
            &own
        }
    };
    let examples = normalize_predictions(&predictions.iter().collect::<Vec<_>>());
    let metrics = Metric::applicable_to(predictions).into_iter();
    let scores = metrics.map(|metric| (metric, score_metric(metric, &examples, baseline)));
    let clusters: BTreeSet<&str> = predictions.iter().map(|p| p.cluster.as_str()).collect();
    Scores {
        protocol: STRICT_PROTOCOL.to_owned(),
        baseline_source: baseline.from,
        n: predictions.len(),
        clusters: clusters.len(),
        scores: scores.collect(),
        calibration: calibration(
            examples
                .iter()
                .map(|e| (&e.target, e.prediction.target.nll, e.prediction.cluster.as_str())),
        ),
    }
}

/// The value of every metric, without intervals and baselines.
pub fn metric_values(predictions: &[Prediction]) -> BTreeMap<Metric, f64> {
    let examples = normalize_predictions(&predictions.iter().collect::<Vec<_>>());
    let value = |metric: Metric| {
        let mut total = MetricSums::default();
        examples.iter().filter_map(|e| MetricSums::of(metric, e)).for_each(|sums| total += sums);
        Some((metric, total.value(metric)?))
    };
    Metric::applicable_to(predictions).into_iter().filter_map(value).collect()
}

fn score_metric(
    metric: Metric,
    examples: &[NormalizedPrediction<'_>],
    baseline: &MajorityBaseline,
) -> Option<Score> {
    let mut clusters: BTreeMap<&str, MetricSums> = BTreeMap::new();
    let (mut counted, mut total) = (Vec::new(), MetricSums::default());
    for example in examples {
        let Some(sums) = MetricSums::of(metric, example) else { continue };
        counted.push(example);
        total += sums;
        *clusters.entry(&example.prediction.cluster).or_default() += sums;
    }
    Some(Score {
        value: total.value(metric)?,
        interval: interval(&clusters, |sums: MetricSums| sums.value(metric)),
        majority: majority_answer(metric, &counted, baseline),
        n: counted.len(),
        clusters: clusters.len(),
    })
}

/// The majority answer for `metric`, with its score on these examples.
fn majority_answer(
    metric: Metric,
    examples: &[&NormalizedPrediction<'_>],
    baseline: &MajorityBaseline,
) -> Option<MajorityAnswer> {
    if let Some(text) = baseline.report(metric) {
        let targets = examples.iter().map(|e| e.prediction.target.text.as_str());
        let value = score_of_one_report(metric, text, targets)?;
        return Some(MajorityAnswer { answer: text.to_owned(), value });
    }
    let answer = baseline.answer(metric)?;
    let credits: Option<Vec<f64>> =
        examples.iter().map(|e| metric.credit(answer, &e.target)).collect();
    let value = credits?.iter().sum::<f64>() / examples.len() as f64;
    Some(MajorityAnswer { answer: answer.text().to_owned(), value })
}

impl Scores {
    /// The score of `metric`; `None` if no example counts.
    pub fn get(&self, metric: Metric) -> Option<&Score> {
        self.scores.get(&metric)?.as_ref()
    }

    /// One row per metric.
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
                majority: score.and_then(|s| s.majority.as_ref()).map(|m| m.value),
                n: score.map_or(0, |s| s.n),
            }
        };
        self.scores.iter().map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ExampleAttributes, Target};
    use super::*;
    use crate::data::{Answer, AnswerType};

    fn prediction(answer: &str, target: &str, kind: AnswerType, cluster: &str) -> Prediction {
        Prediction {
            id: format!("{answer}{target}{cluster}"),
            image: None,
            question: String::new(),
            prediction: answer.into(),
            probability: None,
            target: Target {
                text: target.into(),
                answer_type: kind,
                nll: 1.5,
                num_target_tokens: 2,
                target_cut: false,
            },
            question_cut: false,
            cluster: cluster.into(),
            run: 0,
            attributes: ExampleAttributes::default(),
        }
    }

    #[test]
    fn no_predictions_have_no_scores() {
        let scores = score(&[], None);
        assert!(scores.rows().iter().all(|r| r.value.is_none() && r.n == 0));
        assert!(serde_json::json!(scores)["scores"]["exact_match"].is_null());
    }

    #[test]
    fn both_definitions_of_closed_are_scored() {
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
    fn a_majority_answer_is_scored_on_these_questions_not_on_those_it_was_chosen_from() {
        use AnswerType::Closed;
        let predictions =
            [prediction("yes", "yes", Closed, "a"), prediction("yes", "no", Closed, "b")];
        let training = ["no", "No", "yes"].map(|text| Answer::new(text, Closed));
        let training = MajorityBaseline::from_training(&training);
        let scores = score(&predictions, Some(&training));
        assert_eq!(scores.baseline_source, BaselineSource::Training);
        let majority = scores.get(Metric::ClosedAccuracy).and_then(|s| s.majority.clone());
        assert_eq!(majority, Some(MajorityAnswer { answer: "no".into(), value: 0.5 }));
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
