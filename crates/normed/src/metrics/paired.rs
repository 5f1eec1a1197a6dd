//! Whether two sets of answers to the same questions can be told apart.

use std::collections::BTreeMap;

use super::bootstrap::resampled;
use super::comparison::{Pair, pairs};
use super::{Metric, Prediction};
use crate::Result;

/// McNemar's test (McNemar 1947), exact: the two-sided binomial probability of as uneven a split of the
/// questions that one set alone has right. Each counts as one of its own: for sets of several seeds, or
/// questions that hang together by their images, [`paired_bootstrap`] is the test. Of a metric that gives
/// parts of a credit, whoever has more is right.
///
/// None where no question counts.
pub fn mcnemar(metric: Metric, first: &[Prediction], second: &[Prediction]) -> Result<Option<f64>> {
    let (mut n, mut only) = (0, [0usize; 2]);
    for (a, b) in &pairs(first, second)? {
        let (Some(a), Some(b)) = (metric.part(a), metric.part(b)) else { continue };
        n += 1;
        only[0] += usize::from(a.ratio.above > b.ratio.above);
        only[1] += usize::from(b.ratio.above > a.ratio.above);
    }
    Ok((n > 0).then(|| binomial(only[0].min(only[1]), only[0] + only[1])))
}

/// Twice the probability of at most `few` heads in `n` throws of a coin; 1 at the most.
fn binomial(few: usize, n: usize) -> f64 {
    // ln of n over k, from k to k + 1 by what it is multiplied with.
    let (mut choose, mut sum) = (0.0, 0.0);
    for k in 0..=few {
        sum += f64::exp(choose - n as f64 * f64::ln(2.0));
        choose += f64::ln((n - k) as f64) - f64::ln((k + 1) as f64);
    }
    f64::min(1.0, 2.0 * sum)
}

/// The paired bootstrap: how often a resample of the images (or groups), drawn for both sets together,
/// has the other sign or none, two-sided. It agrees with the interval of a
/// [`Difference`](super::Difference): it is below 5 % where that excludes zero.
///
/// None where no question counts or all are of one image.
pub fn paired_bootstrap(
    metric: Metric,
    first: &[Prediction],
    second: &[Prediction],
) -> Result<Option<f64>> {
    let pairs = pairs(first, second)?;
    let mut clusters: BTreeMap<&str, Pair> = BTreeMap::new();
    for (a, b) in &pairs {
        let (Some(first), Some(second)) = (metric.part(a), metric.part(b)) else { continue };
        *clusters.entry(&a.prediction.cluster).or_default() += Pair { first, second };
    }
    Ok(resampled(&clusters, |pair: Pair| pair.value(metric))
        .filter(|values| !values.is_empty())
        .map(|values| {
            let part = |n: usize| (n + 1) as f64 / (values.len() + 1) as f64;
            let below = part(values.iter().filter(|&&value| value <= 0.0).count());
            let above = part(values.iter().filter(|&&value| value >= 0.0).count());
            f64::min(1.0, 2.0 * below.min(above))
        }))
}

/// Holm's correction (Holm 1979): the probabilities of a family of tests as they are to be held against
/// the level that all of them together keep.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
    let (mut adjusted, mut least) = (vec![1.0; p.len()], 0.0);
    for (rank, &i) in order.iter().enumerate() {
        least = f64::max(least, (p.len() - rank) as f64 * p[i]).min(1.0);
        adjusted[i] = least;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::toy::answers as set;

    #[test]
    fn mcnemar_is_the_binomial_test_of_those_that_differ() {
        // scipy.stats.binomtest(3, 15, 0.5).pvalue, and of 9 of 30 and 0 of 0.
        assert!((binomial(3, 15) - 0.035_156_25).abs() < 1e-12);
        assert!((binomial(9, 30) - 0.042_773_945_257_067_7).abs() < 1e-12);
        assert_eq!((binomial(0, 0), binomial(5, 10)), (1.0, 1.0));
        // 3 are right in the first set alone, 12 in the second.
        let (a, b) = (set(|i| i < 50), set(|i| (3..62).contains(&i)));
        let p = mcnemar(Metric::ClosedAccuracy, &a, &b).unwrap().unwrap();
        assert!((p - 0.035_156_25).abs() < 1e-12, "{p}");
        assert_eq!(mcnemar(Metric::OpenExactMatch, &a, &b).unwrap(), None);
        assert!(mcnemar(Metric::ExactMatch, &a, &b[1..]).is_err());
    }

    #[test]
    fn the_bootstrap_agrees_with_the_interval() {
        for (a, b) in [(40, 44), (40, 60), (40, 40), (40, 46), (40, 50)] {
            let (a, b) = (set(|i| i * 7 % 200 < a), set(|i| i * 11 % 200 < b));
            let p = paired_bootstrap(Metric::ExactMatch, &a, &b).unwrap().unwrap();
            let comparison = crate::metrics::compare(&a, &b).unwrap();
            let excludes = comparison.get(Metric::ExactMatch).unwrap().excludes_zero();
            assert_eq!(p < 0.05, excludes, "{p}");
        }
        let same = paired_bootstrap(Metric::ExactMatch, &set(|i| i < 9), &set(|i| i < 9));
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
