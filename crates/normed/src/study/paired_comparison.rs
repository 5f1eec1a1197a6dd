//! Which method has the highest score in a column of a table, and from which others it differs
//! significantly.

use crate::Result;
use crate::metrics::{Difference, Metric, Prediction, compare, holm, mcnemar, paired_bootstrap};

/// The level of a significant p-value.
const SIGNIFICANCE_LEVEL: f64 = 0.05;

/// The mark of a method in a column.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mark {
    /// Significantly lower than the highest, or not compared.
    #[default]
    None,
    /// The highest, and significantly different from every other.
    Best,
    /// Not significantly different from the highest; or the highest, if it has such a competitor.
    Tied,
}

/// The highest method of a column compared with another one.
#[derive(Debug, Clone, PartialEq)]
pub struct PairedComparison {
    /// The index of the highest method.
    pub best: usize,
    /// The index of the other method.
    pub other: usize,
    /// The score of the highest minus that of the other.
    pub difference: Difference,
    /// The p-value, corrected by Holm's procedure for the number of comparisons in the column.
    pub p: f64,
}

impl PairedComparison {
    /// Whether the two differ significantly (p < 0.05, Holm).
    pub fn is_significant(&self) -> bool {
        self.p < SIGNIFICANCE_LEVEL
    }
}

/// Compares the highest of several sets of predictions with every other one in `metric`. It returns the
/// mark of each set, and the comparisons. Each set has the predictions of `seeds` seeds.
///
/// Closed questions answered by one seed are compared by McNemar's test. Everything else is compared by the
/// paired bootstrap, which resamples all predictions about an image together.
///
/// # Errors
///
/// If the sets are not predictions of the same examples.
pub fn compare_with_best(
    metric: Metric,
    sets: &[&[Prediction]],
    seeds: usize,
) -> Result<(Vec<Mark>, Vec<PairedComparison>)> {
    let mut marks = vec![Mark::None; sets.len()];
    let Some(first) = sets.first() else { return Ok((marks, Vec::new())) };
    // The highest is the one with the largest difference from the first.
    let mut best = (0, 0.0);
    for (i, set) in sets.iter().enumerate().skip(1) {
        if let Some(difference) = compare(set, first)?.get(metric)
            && difference.value > best.1
        {
            best = (i, difference.value);
        }
    }
    let (best, _) = best;
    let closed = matches!(metric, Metric::ClosedAccuracy | Metric::YesNoAccuracy);
    let test = if closed && seeds == 1 { mcnemar } else { paired_bootstrap };
    let mut comparisons = Vec::new();
    for (other, set) in sets.iter().enumerate().filter(|(i, _)| *i != best) {
        let difference = compare(sets[best], set)?.get(metric).cloned();
        let p = test(metric, sets[best], set)?;
        if let Some((difference, p)) = difference.zip(p) {
            comparisons.push(PairedComparison { best, other, difference, p });
        }
    }
    let corrected = holm(&comparisons.iter().map(|comparison| comparison.p).collect::<Vec<_>>());
    comparisons.iter_mut().zip(corrected).for_each(|(comparison, p)| comparison.p = p);
    for comparison in comparisons.iter().filter(|c| !c.is_significant()) {
        (marks[best], marks[comparison.other]) = (Mark::Tied, Mark::Tied);
    }
    if !comparisons.is_empty() && marks[best] == Mark::None {
        marks[best] = Mark::Best;
    }
    Ok((marks, comparisons))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::test_predictions::yes_no_predictions;

    #[test]
    fn the_highest_is_marked_best_only_if_it_differs_significantly_from_all() {
        let [low, middle, high] =
            [60, 120, 126].map(|n| yes_no_predictions(move |i| i * 37 % 200 < n));
        for seeds in [1, 3] {
            let compare = |sets: &[&[Prediction]]| {
                compare_with_best(Metric::ClosedAccuracy, sets, seeds).unwrap()
            };
            let (marks, comparisons) = compare(&[&low, &high]);
            assert_eq!(marks, [Mark::None, Mark::Best]);
            assert!(
                comparisons[0].is_significant() && comparisons[0].difference.value == 0.33,
                "{comparisons:?}"
            );
            let shuffled = yes_no_predictions(|i| i * 53 % 200 < 120);
            let (marks, comparisons) = compare(&[&low, &shuffled, &high]);
            assert_eq!(marks, [Mark::None, Mark::Tied, Mark::Tied], "{comparisons:?}");
        }
        // The order of the predictions does not matter.
        let mut turned = middle.clone();
        turned.rotate_left(31);
        let (marks, _) = compare_with_best(Metric::ExactMatch, &[&middle, &turned], 1).unwrap();
        assert_eq!(marks, [Mark::Tied, Mark::Tied]);
    }

    #[test]
    fn predictions_of_other_examples_are_an_error() {
        let mut other = yes_no_predictions(|_| true);
        other[4].target.text = "no".into();
        let error =
            compare_with_best(Metric::ExactMatch, &[&yes_no_predictions(|_| true), &other], 1)
                .unwrap_err();
        assert!(error.to_string().contains("another target"), "{error}");
    }

    #[test]
    fn without_a_competitor_there_are_no_marks() {
        assert_eq!(compare_with_best(Metric::ExactMatch, &[], 1).unwrap(), (vec![], vec![]));
        let one = yes_no_predictions(|_| true);
        assert_eq!(
            compare_with_best(Metric::ExactMatch, &[&one], 1).unwrap(),
            (vec![Mark::None], vec![])
        );
    }
}
