//! 95 % intervals by the percentile bootstrap over clusters (Efron & Tibshirani 1993, An Introduction to
//! the Bootstrap, chapters 8.3 and 13): questions about one image (or one patient) are resampled together.

use std::collections::BTreeMap;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

/// The number of resamples.
const RESAMPLES: usize = 2000;

/// The seed of every interval: the same predictions give the same interval.
const SEED: [u8; 32] = *b"normed: percentile bootstrap, 95";

/// A 95 % interval: 95 % of the resampled values lie in it. Its width is zero where all clusters agree,
/// as when every answer is correct.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The 2.5th percentile.
    pub lo: f64,
    /// The 97.5th percentile.
    pub hi: f64,
}

/// The interval of `statistic`, a function of the sum over examples. `clusters` maps each cluster to the
/// sum over its own examples. `None` for fewer than two clusters.
pub(super) fn interval<T: Copy + Default + std::ops::AddAssign>(
    clusters: &BTreeMap<&str, T>,
    statistic: impl Fn(T) -> Option<f64>,
) -> Option<Interval> {
    let values = resample(clusters, statistic)?;
    Some(Interval { lo: quantile(&values, 0.025)?, hi: quantile(&values, 0.975)? })
}

/// The values of `statistic` over all resamples, sorted; `None` for fewer than two clusters.
pub(super) fn resample<T: Copy + Default + std::ops::AddAssign>(
    clusters: &BTreeMap<&str, T>,
    statistic: impl Fn(T) -> Option<f64>,
) -> Option<Vec<f64>> {
    let sums: Vec<T> = clusters.values().copied().collect();
    if sums.len() < 2 {
        return None;
    }
    let mut rng = ChaCha8Rng::from_seed(SEED);
    let mut values: Vec<f64> = (0..RESAMPLES)
        .filter_map(|_| {
            let mut total = T::default();
            for _ in 0..sums.len() {
                // The high half of a 32 x 32 bit product: uniform to one part in 2^32 / clusters.
                let index = (u64::from(rng.next_u32()) * sums.len() as u64) >> 32;
                total += sums[index as usize];
            }
            statistic(total)
        })
        .collect();
    values.sort_by(f64::total_cmp);
    Some(values)
}

/// The quantile of the sorted `values` at `level`, interpolated linearly as by default in NumPy.
fn quantile(values: &[f64], level: f64) -> Option<f64> {
    let place = level * values.len().checked_sub(1)? as f64;
    let (below, above) = (values[place.floor() as usize], values[place.ceil() as usize]);
    Some((above - below).mul_add(place.fract(), below))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_interpolated() {
        let values = [0.0, 10.0, 20.0, 30.0, 40.0];
        assert_eq!(quantile(&values, 0.5), Some(20.0));
        assert_eq!(quantile(&values, 0.025), Some(1.0));
        assert_eq!(quantile(&[7.0], 0.975), Some(7.0));
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn the_interval_agrees_with_the_normal_approximation() {
        // 400 clusters, half of them 1: the mean's standard error is 0.5 / sqrt(400) = 0.025.
        let names: Vec<String> = (0..400).map(|i| format!("{i:03}")).collect();
        let clusters =
            names.iter().enumerate().map(|(i, n)| (n.as_str(), (i % 2) as f64)).collect();
        let found = interval(&clusters, |sum: f64| Some(sum / 400.0)).expect("many clusters");
        assert!((found.lo - (0.5 - 1.96 * 0.025)).abs() < 0.004, "{found:?}");
        assert!((found.hi - (0.5 + 1.96 * 0.025)).abs() < 0.004, "{found:?}");
    }

    #[test]
    fn one_cluster_has_no_interval() {
        assert_eq!(interval(&BTreeMap::from([("a", 1.0)]), Some), None);
        assert_eq!(interval(&BTreeMap::<&str, f64>::new(), Some), None);
    }
}
