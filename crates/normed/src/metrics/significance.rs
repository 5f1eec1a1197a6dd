//! Tests of whether two sets of predictions of the same examples differ significantly.

use std::collections::BTreeMap;

use super::bootstrap::resample;
use super::comparison::{SumsPair, pair_predictions};
use super::sums::MetricSums;
use super::{Metric, Prediction};
use crate::Result;

/// The p-value of McNemar's exact test (McNemar 1947, Psychometrika 12).
///
/// Among the questions that only one set answers correctly, it is the two-sided binomial probability of a
/// split at least as uneven. Where a metric gives partial credit, the higher credit counts as correct. The
/// test treats questions as independent. Use [`paired_bootstrap`] for several seeds, or for several
/// questions about one image.
///
/// `None` if no question counts.
///
/// # Errors
/// If the two sets are not predictions of the same examples.
pub fn mcnemar(metric: Metric, first: &[Prediction], second: &[Prediction]) -> Result<Option<f64>> {
    let (mut n, mut better) = (0, [0usize; 2]);
    for (a, b) in &pair_predictions(first, second)? {
        let sums = MetricSums::of(metric, a).zip(MetricSums::of(metric, b));
        let Some((a, b)) = sums else { continue };
        n += 1;
        better[0] += usize::from(a.ratio.numerator > b.ratio.numerator);
        better[1] += usize::from(b.ratio.numerator > a.ratio.numerator);
    }
    Ok((n > 0).then(|| two_sided_binomial(better[0].min(better[1]), better[0] + better[1])))
}

/// Twice the probability of at most `few` heads in `n` tosses of a fair coin, but at most 1.
fn two_sided_binomial(few: usize, n: usize) -> f64 {
    // The logarithm of the binomial coefficient, updated from k to k + 1.
    let (mut choose, mut sum) = (0.0, 0.0);
    for k in 0..=few {
        sum += f64::exp(choose - n as f64 * f64::ln(2.0));
        choose += f64::ln((n - k) as f64) - f64::ln((k + 1) as f64);
    }
    f64::min(1.0, 2.0 * sum)
}

/// The two-sided p-value of the paired bootstrap over clusters (Efron & Tibshirani 1993, chapter 16).
///
/// It counts how often a resample of the images (or groups), the same for both sets, has a difference of
/// the opposite sign or of zero. It is below 0.05 where the interval of a
/// [`Difference`](super::Difference) excludes zero.
///
/// `None` if no example counts or all are in one cluster.
///
/// ```
/// use normed::data::AnswerType;
/// use normed::metrics::{ExampleAttributes, Metric, Prediction, Target};
/// use normed::metrics::{compare, holm, paired_bootstrap};
///
/// // 40 questions about 20 images, answered by a model that is right on all but every `wrong`-th.
/// let predictions = |wrong: usize| -> Vec<Prediction> {
///     let prediction = |i: usize| Prediction {
///         id: i.to_string(),
///         image: None,
///         question: "Is the heart enlarged?".to_owned(),
///         prediction: if i % wrong == 0 { "yes" } else { "no" }.to_owned(),
///         probability: None,
///         target: Target {
///             text: "no".to_owned(),
///             answer_type: AnswerType::Closed,
///             nll: 0.5,
///             num_target_tokens: 2,
///             target_cut: false,
///         },
///         question_cut: false,
///         cluster: format!("image {}", i / 2),
///         run: 0,
///         attributes: ExampleAttributes::default(),
///     };
///     (0..40).map(prediction).collect()
/// };
/// let (tuned, base) = (predictions(20), predictions(2));
///
/// let comparison = compare(&tuned, &base)?;
/// let difference = comparison.get(Metric::ExactMatch).unwrap();
/// assert!((difference.value - 0.45).abs() < 1e-12);
/// assert!(difference.excludes_zero());
///
/// let p = paired_bootstrap(Metric::ExactMatch, &tuned, &base)?.unwrap();
/// assert!(p < 0.05);
/// // The p-value of each of two tests, corrected for their number.
/// let corrected = holm(&[p, 0.04]);
/// assert_eq!(corrected, [2.0 * p, 0.04]);
/// # Ok::<(), normed::Error>(())
/// ```
///
/// # Errors
/// If the two sets are not predictions of the same examples.
pub fn paired_bootstrap(
    metric: Metric,
    first: &[Prediction],
    second: &[Prediction],
) -> Result<Option<f64>> {
    let pairs = pair_predictions(first, second)?;
    let mut clusters: BTreeMap<&str, SumsPair> = BTreeMap::new();
    for (a, b) in &pairs {
        let Some(pair) = SumsPair::of(metric, a, b) else { continue };
        *clusters.entry(&a.prediction.cluster).or_default() += pair;
    }
    Ok(resample(&clusters, |pair: SumsPair| pair.value(metric))
        .filter(|values| !values.is_empty())
        .map(|values| {
            let share = |n: usize| (n + 1) as f64 / (values.len() + 1) as f64;
            let below = share(values.iter().filter(|&&value| value <= 0.0).count());
            let above = share(values.iter().filter(|&&value| value >= 0.0).count());
            f64::min(1.0, 2.0 * below.min(above))
        }))
}

/// Corrects the p-values of a family of tests for their number by Holm's step-down procedure (Holm 1979,
/// Scandinavian Journal of Statistics 6): each result can be compared with the level of the whole family.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
    let (mut adjusted, mut largest) = (vec![1.0; p.len()], 0.0);
    for (rank, &i) in order.iter().enumerate() {
        largest = f64::max(largest, (p.len() - rank) as f64 * p[i]).min(1.0);
        adjusted[i] = largest;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::test_predictions::yes_no_predictions;

    #[test]
    fn mcnemar_is_the_binomial_test_of_those_that_differ() {
        // scipy.stats.binomtest(3, 15, 0.5).pvalue, and of 9 of 30 and 0 of 0.
        assert!((two_sided_binomial(3, 15) - 0.035_156_25).abs() < 1e-12);
        assert!((two_sided_binomial(9, 30) - 0.042_773_945_257_067_7).abs() < 1e-12);
        assert_eq!((two_sided_binomial(0, 0), two_sided_binomial(5, 10)), (1.0, 1.0));
        // 3 are right in the first set alone, 12 in the second.
        let (a, b) = (yes_no_predictions(|i| i < 50), yes_no_predictions(|i| (3..62).contains(&i)));
        let p = mcnemar(Metric::ClosedAccuracy, &a, &b).unwrap().unwrap();
        assert!((p - 0.035_156_25).abs() < 1e-12, "{p}");
        assert_eq!(mcnemar(Metric::OpenExactMatch, &a, &b).unwrap(), None);
        assert!(mcnemar(Metric::ExactMatch, &a, &b[1..]).is_err());
    }

    #[test]
    fn the_bootstrap_agrees_with_the_interval() {
        for (a, b) in [(40, 44), (40, 60), (40, 40), (40, 46), (40, 50)] {
            let (a, b) =
                (yes_no_predictions(|i| i * 7 % 200 < a), yes_no_predictions(|i| i * 11 % 200 < b));
            let p = paired_bootstrap(Metric::ExactMatch, &a, &b).unwrap().unwrap();
            let comparison = crate::metrics::compare(&a, &b).unwrap();
            let excludes = comparison.get(Metric::ExactMatch).unwrap().excludes_zero();
            assert_eq!(p < 0.05, excludes, "{p}");
        }
        let same = paired_bootstrap(
            Metric::ExactMatch,
            &yes_no_predictions(|i| i < 9),
            &yes_no_predictions(|i| i < 9),
        );
        assert_eq!(same.unwrap(), Some(1.0));
    }

    #[test]
    fn holm_s_example() {
        // statsmodels' multipletests(..., method="holm").
        let adjusted = holm(&[0.01, 0.04, 0.03, 0.005]);
        for (found, want) in adjusted.iter().zip([0.03, 0.06, 0.06, 0.02]) {
            assert!((found - want).abs() < 1e-12, "{adjusted:?}");
        }
        assert_eq!(holm(&[0.9, 0.8]), [1.0, 1.0]);
        assert!(holm(&[]).is_empty());
    }
}
