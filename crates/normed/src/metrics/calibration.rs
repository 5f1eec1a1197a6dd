//! Calibration: how well a model's confidence in yes/no answers agrees with how often it is correct.
//!
//! The forecast is the probability `p = exp(-nll)` that the model gives to the true answer, including the
//! end token. The other answer gets `1 - p`, and with it everything that is neither yes nor no. So the
//! likelihood stored with each prediction suffices.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::answer::NormalizedAnswer;
use super::bootstrap::{Interval, interval};

/// The number of confidence bins, of equal width from 0.5 to 1.
pub const BINS: usize = 10;

/// The calibration on the questions whose true answer is yes or no.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// The number of such questions.
    pub n: usize,
    /// The number of their clusters: images or groups.
    pub clusters: usize,
    /// The number of confidence bins: [`BINS`].
    pub bins: usize,
    /// Brier score (Brier 1950, Monthly Weather Review 78): the mean of `(1 - p)^2`. 0 is perfect; a
    /// constant forecast of 0.5 gives 0.25.
    pub brier: CalibrationScore,
    /// Brier score of a forecaster who always forecasts the share of yes among the true answers.
    #[serde(rename = "brier_constant")]
    pub brier_baseline: f64,
    /// Expected calibration error (Guo et al. 2017, arXiv 1706.04599, equation 3): per bin, the absolute
    /// difference of the mean confidence `max(p, 1 - p)` and the accuracy (`p > 0.5`), weighted by the
    /// number of questions in the bin.
    pub ece: CalibrationScore,
}

/// A calibration score with its interval. Lower is better.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CalibrationScore {
    /// From 0 to 1.
    pub value: f64,
    /// The 95 % interval; absent where all questions are in one cluster. The ECE's is biased upwards:
    /// resampling adds noise to every bin, and noise can only increase an absolute difference.
    pub interval: Option<Interval>,
}

/// Computes the calibration of some answers: each item is the true answer, its negative log-likelihood in
/// nats, and its cluster. `None` where no true answer is yes or no.
pub(super) fn calibration<'a>(
    answers: impl Iterator<Item = (&'a NormalizedAnswer, f64, &'a str)>,
) -> Option<Calibration> {
    let mut clusters: BTreeMap<&str, Sums> = BTreeMap::new();
    let mut total = Sums::default();
    for (target, nll, cluster) in answers {
        let Some(is_yes) = target.yes_or_no() else { continue };
        let sums = Sums::new((-nll).exp().min(1.0), is_yes);
        total += sums;
        *clusters.entry(cluster).or_default() += sums;
    }
    let score = |of: fn(Sums) -> Option<f64>| {
        Some(CalibrationScore { value: of(total)?, interval: interval(&clusters, of) })
    };
    let yes = total.yes / total.n;
    Some(Calibration {
        n: total.n as usize,
        clusters: clusters.keys().collect::<BTreeSet<_>>().len(),
        bins: BINS,
        brier: score(Sums::brier)?,
        brier_baseline: yes * (1.0 - yes),
        ece: score(Sums::ece)?,
    })
}

#[derive(Clone, Copy, Default)]
struct Sums {
    n: f64,
    yes: f64,
    squares: f64,
    /// Confidence minus accuracy, summed per bin.
    excess: [f64; BINS],
}

impl Sums {
    fn new(p: f64, yes: bool) -> Self {
        let confidence = p.max(1.0 - p);
        let bin = ((2.0 * confidence - 1.0) * BINS as f64) as usize;
        let mut excess = [0.0; BINS];
        excess[bin.min(BINS - 1)] = confidence - f64::from(u8::from(p > 0.5));
        Self { n: 1.0, yes: f64::from(u8::from(yes)), squares: (1.0 - p).powi(2), excess }
    }

    fn brier(self) -> Option<f64> {
        (self.n > 0.0).then(|| self.squares / self.n)
    }

    fn ece(self) -> Option<f64> {
        (self.n > 0.0).then(|| self.excess.iter().map(|excess| excess.abs()).sum::<f64>() / self.n)
    }
}

impl std::ops::AddAssign for Sums {
    fn add_assign(&mut self, other: Self) {
        self.n += other.n;
        self.yes += other.yes;
        self.squares += other.squares;
        self.excess.iter_mut().zip(other.excess).for_each(|(mine, more)| *mine += more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(answers: &[(&str, f64)]) -> Option<Calibration> {
        let read: Vec<_> =
            answers.iter().map(|(text, p)| (NormalizedAnswer::new(text), -p.ln())).collect();
        let names: Vec<String> = (0..read.len()).map(|i| i.to_string()).collect();
        calibration(read.iter().zip(&names).map(|((a, nll), name)| (a, *nll, name.as_str())))
    }

    #[test]
    fn confidence_that_is_right_as_often_as_it_says_has_no_error() {
        let mut answers = vec![("Yes", 0.8); 80];
        answers.extend([("no.", 0.2); 20]);
        answers.push(("left", 0.9));
        let found = of(&answers).expect("yes and no");
        assert_eq!((found.n, found.clusters), (100, 100));
        assert!(found.ece.value < 1e-9, "{found:?}");
        assert!(
            (found.brier.value - 0.16).abs() < 1e-9 && (found.brier_baseline - 0.16).abs() < 1e-9
        );
        let interval = found.brier.interval.expect("many images");
        assert!(interval.lo < 0.16 && interval.hi > 0.16);
    }

    #[test]
    fn wrong_confidence_has_an_error() {
        // Certain at 0.9, right in half; and bins do not make up for one another.
        let found =
            of(&[("yes", 0.9), ("no", 0.1), ("yes", 0.6), ("no", 0.55)]).expect("yes and no");
        let want = ((0.9 - 1.0) + (0.9_f64)).abs() / 4.0 + (0.4 + 0.45) / 4.0;
        assert!((found.ece.value - want).abs() < 1e-9, "{found:?}");
        assert!(of(&[("left", 0.5)]).is_none());
    }
}
