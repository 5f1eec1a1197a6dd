//! The difference between two sets of predictions of the same examples, such as before and after tuning.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::bootstrap::{Interval, interval};
use super::sums::{MetricSums, NormalizedPrediction, normalize_predictions};
use super::{Metric, Prediction, Row};
use crate::{Error, Result};

/// The differences between two sets of predictions, per metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The number of examples.
    pub n: usize,
    /// Null in JSON where no example counts.
    pub differences: BTreeMap<Metric, Option<Difference>>,
}

/// The score of the first set minus that of the second.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// As in [`super::Score::value`]; negative where the second is higher.
    pub value: f64,
    /// The 95 % interval of the paired bootstrap, which resamples both sets together, cluster by cluster.
    /// Absent where there is only one cluster.
    pub interval: Option<Interval>,
    /// The number of examples counted.
    pub n: usize,
}

impl Difference {
    /// Whether the interval excludes zero.
    pub fn excludes_zero(&self) -> bool {
        self.interval.is_some_and(|i| i.lo > 0.0 || i.hi < 0.0)
    }
}

impl Comparison {
    /// The difference in `metric`; `None` if no example counts.
    pub fn get(&self, metric: Metric) -> Option<&Difference> {
        self.differences.get(&metric)?.as_ref()
    }

    /// One row per metric, without majority answers.
    pub fn rows(&self) -> Vec<Row> {
        let row = |(&metric, difference): (&Metric, &Option<Difference>)| {
            let difference = difference.as_ref();
            let interval = difference.and_then(|d| d.interval);
            Row {
                metric,
                name: metric.name(),
                value: difference.map(|d| d.value),
                lo: interval.map(|i| i.lo),
                hi: interval.map(|i| i.hi),
                majority: None,
                n: difference.map_or(0, |d| d.n),
            }
        };
        self.differences.iter().map(row).collect()
    }
}

/// Compares the scores of `first` with those of `second`, example by example.
///
/// # Errors
/// If the two sets are not predictions of the same examples.
pub fn compare(first: &[Prediction], second: &[Prediction]) -> Result<Comparison> {
    let pairs = pair_predictions(first, second)?;
    let metrics = Metric::applicable_to(first).into_iter();
    let differences = metrics.map(|metric| (metric, difference(metric, &pairs))).collect();
    Ok(Comparison { n: pairs.len(), differences })
}

/// The difference between the scores of `first` and of `second` in one `metric`, example by example; `None` if no
/// example counts.
///
/// # Errors
/// If the two sets are not predictions of the same examples.
pub fn compare_metric(
    metric: Metric,
    first: &[Prediction],
    second: &[Prediction],
) -> Result<Option<Difference>> {
    Ok(difference(metric, &pair_predictions(first, second)?))
}

/// The predictions of both sets for each example. An error if the examples differ.
pub(super) fn pair_predictions<'p>(
    first: &'p [Prediction],
    second: &'p [Prediction],
) -> Result<Vec<PredictionPair<'p>>> {
    let others = index_by_id(second)?;
    if index_by_id(first)?.len() != others.len() {
        return Err(mismatch(format!(
            "the first set has {} examples, the second {}",
            first.len(),
            second.len()
        )));
    }
    let mut pairs = Vec::with_capacity(first.len());
    for a in first {
        let b = *others
            .get(&(a.run, a.id.as_str()))
            .ok_or_else(|| mismatch(format!("`{}` is in the first set only", a.id)))?;
        if (&a.target.text, a.target.answer_type, &a.cluster)
            != (&b.target.text, b.target.answer_type, &b.cluster)
        {
            return Err(mismatch(format!(
                "`{}` has another target, type or cluster in the second set",
                a.id
            )));
        }
        pairs.push((a, b));
    }
    let (first, second): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
    Ok(normalize_predictions(&first).into_iter().zip(normalize_predictions(&second)).collect())
}

fn difference(metric: Metric, pairs: &[PredictionPair<'_>]) -> Option<Difference> {
    let mut clusters: BTreeMap<&str, SumsPair> = BTreeMap::new();
    let (mut n, mut total) = (0, SumsPair::default());
    for (a, b) in pairs {
        // Either both count or neither: they have the same target and type.
        let Some(pair) = SumsPair::of(metric, a, b) else { continue };
        n += 1;
        total += pair;
        *clusters.entry(&a.prediction.cluster).or_default() += pair;
    }
    let interval = interval(&clusters, |pair: SumsPair| pair.value(metric));
    Some(Difference { value: total.value(metric)?, interval, n })
}

/// One example, as both sets answer it.
pub(super) type PredictionPair<'p> = (NormalizedPrediction<'p>, NormalizedPrediction<'p>);

/// The sums of both sets over the same examples.
#[derive(Clone, Copy, Default)]
pub(super) struct SumsPair {
    first: MetricSums,
    second: MetricSums,
}

impl SumsPair {
    /// What one example contributes to `metric` on both sides; `None` if the metric does not count it.
    pub fn of(
        metric: Metric,
        first: &NormalizedPrediction<'_>,
        second: &NormalizedPrediction<'_>,
    ) -> Option<Self> {
        Some(Self {
            first: MetricSums::of(metric, first)?,
            second: MetricSums::of(metric, second)?,
        })
    }

    /// The score of the first set minus that of the second.
    pub fn value(self, metric: Metric) -> Option<f64> {
        Some(self.first.value(metric)? - self.second.value(metric)?)
    }
}

impl std::ops::AddAssign for SumsPair {
    fn add_assign(&mut self, other: Self) {
        self.first += other.first;
        self.second += other.second;
    }
}

fn index_by_id(predictions: &[Prediction]) -> Result<BTreeMap<(u64, &str), &Prediction>> {
    let mut by_id = BTreeMap::new();
    for p in predictions {
        if by_id.insert((p.run, p.id.as_str()), p).is_some() {
            return Err(mismatch(format!("`{}` occurs twice in one set", p.id)));
        }
    }
    Ok(by_id)
}

fn mismatch(cause: String) -> Error {
    Error::invalid("comparing predictions", cause)
        .with_remedy("compare predictions of the same split of the same data")
}

#[cfg(test)]
mod tests {
    use super::super::{ExampleAttributes, Target};
    use super::*;
    use crate::data::AnswerType;

    fn set(right: impl Fn(usize) -> bool) -> Vec<Prediction> {
        (0..60)
            .map(|i| Prediction {
                id: i.to_string(),
                image: None,
                question: String::new(),
                prediction: if right(i) { "yes" } else { "no" }.into(),
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
            })
            .collect()
    }

    #[test]
    fn examples_are_paired_by_id_not_by_place() {
        // The same answers in another order: no difference, in any resample.
        let a = set(|i| i % 3 == 0);
        let mut b = a.clone();
        b.rotate_left(7);
        let same = compare(&a, &b).expect("the same examples");
        let d = same.get(Metric::ExactMatch).expect("60 examples");
        assert_eq!((d.value, d.interval), (0.0, Some(Interval { lo: 0.0, hi: 0.0 })));
        assert!(!d.excludes_zero());
    }

    #[test]
    fn a_clear_gain_excludes_zero() {
        let gain = compare(&set(|i| i % 4 > 0), &set(|i| i % 4 > 2)).expect("the same examples");
        let d = gain.get(Metric::ClosedAccuracy).expect("60 examples");
        assert_eq!(d.value, 0.5);
        assert!(d.excludes_zero());
        assert_eq!(gain.get(Metric::OpenExactMatch), None);
    }

    #[test]
    fn other_examples_are_an_error() {
        let a = set(|_| true);
        for (change, want) in [
            (0, "first set only"),
            (1, "another target"),
            (2, "the first set has 60 examples, the second 59"),
            (3, "occurs twice"),
        ] {
            let mut b = a.clone();
            match change {
                0 => b[5].id = "other".into(),
                1 => b[5].target.text = "no".into(),
                2 => b.truncate(59),
                _ => b[5].id = "6".into(),
            }
            let error = compare(&a, &b).expect_err("not the same examples").to_string();
            assert!(error.contains(want), "{error}");
        }
    }
}
