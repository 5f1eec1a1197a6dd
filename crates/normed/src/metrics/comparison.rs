//! Two sets of predictions of the same examples: before and after, seeing and blind.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::bootstrap::{Interval, interval};
use super::metric::{Judged, Sum, judge};
use super::{Metric, Prediction, Row};
use crate::{Error, Result};

/// How two sets of predictions differ.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The number of examples.
    pub n: usize,
    /// Null where there is no question of the metric's kind.
    pub differences: BTreeMap<Metric, Option<Difference>>,
}

/// The first set's score less the second's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// As in [`super::Score::value`]; negative where the second is higher.
    pub value: f64,
    /// Both sets are drawn together, a cluster at a time. Absent where there is but one cluster.
    pub interval: Option<Interval>,
    /// The number of examples counted.
    pub n: usize,
}

impl Difference {
    /// Whether the whole interval is on one side of zero.
    pub fn excludes_zero(&self) -> bool {
        self.interval.is_some_and(|i| i.lo > 0.0 || i.hi < 0.0)
    }
}

impl Comparison {
    /// The difference in `metric`; `None` if no example counts.
    pub fn get(&self, metric: Metric) -> Option<&Difference> {
        self.differences.get(&metric)?.as_ref()
    }

    /// One line a metric; without constants.
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
                constant: None,
                n: difference.map_or(0, |d| d.n),
            }
        };
        self.differences.iter().map(row).collect()
    }
}

/// The scores of `first` less those of `second`, example by example. An error if they are not
/// predictions of the same examples.
pub fn compare(first: &[Prediction], second: &[Prediction]) -> Result<Comparison> {
    let pairs = pairs(first, second)?;
    let metrics = Metric::all_of(first).into_iter();
    let differences = metrics.map(|metric| (metric, difference(metric, &pairs))).collect();
    Ok(Comparison { n: pairs.len(), differences })
}

/// The answers of both sets to each question. An error if they are not of the same questions.
pub(super) fn pairs<'p>(
    first: &'p [Prediction],
    second: &'p [Prediction],
) -> Result<Vec<(Judged<'p>, Judged<'p>)>> {
    let others = by_id(second)?;
    if by_id(first)?.len() != others.len() {
        return Err(mismatch(format!("{} examples against {}", first.len(), second.len())));
    }
    let mut pairs = Vec::with_capacity(first.len());
    for a in first {
        let b = *others
            .get(&(a.run, a.id.as_str()))
            .ok_or_else(|| mismatch(format!("`{}` is in the first set only", a.id)))?;
        if (&a.target, a.answer_type, &a.cluster) != (&b.target, b.answer_type, &b.cluster) {
            return Err(mismatch(format!("`{}` has another target, type or cluster", a.id)));
        }
        pairs.push((a, b));
    }
    let (first, second): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
    Ok(judge(&first).into_iter().zip(judge(&second)).collect())
}

fn difference(metric: Metric, pairs: &[(Judged<'_>, Judged<'_>)]) -> Option<Difference> {
    let mut clusters: BTreeMap<&str, Pair> = BTreeMap::new();
    let (mut n, mut total) = (0, Pair::default());
    for (a, b) in pairs {
        // Both or neither count: they have the same target and type.
        let (Some(first), Some(second)) = (metric.part(a), metric.part(b)) else { continue };
        let pair = Pair { first, second };
        n += 1;
        total += pair;
        *clusters.entry(&a.prediction.cluster).or_default() += pair;
    }
    let interval = interval(&clusters, |pair: Pair| pair.value(metric));
    Some(Difference { value: total.value(metric)?, interval, n })
}

/// What both sets have earned.
#[derive(Clone, Copy, Default)]
pub(super) struct Pair {
    pub first: Sum,
    pub second: Sum,
}

impl Pair {
    /// The first set's score less the second's.
    pub fn value(self, metric: Metric) -> Option<f64> {
        Some(self.first.value(metric)? - self.second.value(metric)?)
    }
}

impl std::ops::AddAssign for Pair {
    fn add_assign(&mut self, other: Self) {
        self.first += other.first;
        self.second += other.second;
    }
}

fn by_id(predictions: &[Prediction]) -> Result<BTreeMap<(u64, &str), &Prediction>> {
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
        .with_remedy("both sets must be predictions of the same split of the same data")
}

#[cfg(test)]
mod tests {
    use super::super::About;
    use super::*;
    use crate::data::AnswerType;

    fn set(right: impl Fn(usize) -> bool) -> Vec<Prediction> {
        (0..60)
            .map(|i| Prediction {
                id: i.to_string(),
                question: String::new(),
                prediction: if right(i) { "yes" } else { "no" }.into(),
                target: "yes".into(),
                answer_type: AnswerType::Closed,
                nll: 1.0,
                num_target_tokens: 2,
                cluster: (i / 2).to_string(),
                run: 0,
                about: About::default(),
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
            (2, "60 examples against 59"),
            (3, "occurs twice"),
        ] {
            let mut b = a.clone();
            match change {
                0 => b[5].id = "other".into(),
                1 => b[5].target = "no".into(),
                2 => b.truncate(59),
                _ => b[5].id = "6".into(),
            }
            let error = compare(&a, &b).expect_err("not the same examples").to_string();
            assert!(error.contains(want), "{error}");
        }
    }
}
