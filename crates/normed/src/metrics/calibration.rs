//! How far a model's certainty about yes and no can be trusted.
//!
//! The forecast is the probability `p = exp(-nll)` that the model gives the true answer, its closing
//! token included; the other answer gets `1 - p`, and with it all that is neither yes nor no. A prediction
//! needs no likelihood but the one that it carries.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::bootstrap::{Interval, interval};
use super::protocol::Answer;

/// Bins of certainty, of equal width from 0.5 to 1.
pub const BINS: usize = 10;

/// Of questions whose true answer is yes or no.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// The number of such questions.
    pub n: usize,
    /// The number of images or groups that they are of.
    pub clusters: usize,
    /// [`BINS`].
    pub bins: usize,
    /// Brier's score (1950): the mean of `(1 - p)^2`; 0 at the best, 0.25 of one who always says 0.5.
    pub brier: CalibrationScore,
    /// What Brier's score is of one who always forecasts the part of the answers that are yes.
    pub brier_constant: f64,
    /// Expected calibration error (Guo et al. 2017, arXiv 1706.04599): the certainty `max(p, 1 - p)`
    /// less the part that is right (`p > 0.5`), bin by bin without sign, weighted by the questions in it.
    pub ece: CalibrationScore,
}

/// A number, and between which it lies. Less is better.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CalibrationScore {
    /// From 0 to 1.
    pub value: f64,
    /// Absent where all questions are of one cluster. That of the ECE lies high: resampling adds noise
    /// to every bin, and no noise makes it smaller.
    pub interval: Option<Interval>,
}

/// The calibration of some answers: the true answer, its negative log-likelihood in nats, and what
/// intervals cluster by. None where no answer is yes or no.
pub(super) fn calibration<'a>(
    answers: impl Iterator<Item = (&'a Answer, f64, &'a str)>,
) -> Option<Calibration> {
    let mut clusters: BTreeMap<&str, Sums> = BTreeMap::new();
    let mut total = Sums::default();
    for (target, nll, cluster) in answers.filter(|(target, ..)| target.is_yes_no()) {
        let sums = Sums::new((-nll).exp().min(1.0), target.text() == "yes");
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
        brier_constant: yes * (1.0 - yes),
        ece: score(Sums::ece)?,
    })
}

#[derive(Clone, Copy, Default)]
struct Sums {
    n: f64,
    yes: f64,
    squares: f64,
    /// Certainty less what is right, by bins.
    excess: [f64; BINS],
}

impl Sums {
    fn new(p: f64, yes: bool) -> Self {
        let certainty = p.max(1.0 - p);
        let bin = ((2.0 * certainty - 1.0) * BINS as f64) as usize;
        let mut excess = [0.0; BINS];
        excess[bin.min(BINS - 1)] = certainty - f64::from(u8::from(p > 0.5));
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
        let read: Vec<_> = answers.iter().map(|(text, p)| (Answer::new(text), -p.ln())).collect();
        let names: Vec<String> = (0..read.len()).map(|i| i.to_string()).collect();
        calibration(read.iter().zip(&names).map(|((a, nll), name)| (a, *nll, name.as_str())))
    }

    #[test]
    fn certainty_that_is_right_as_often_as_it_says_has_no_error() {
        let mut answers = vec![("Yes", 0.8); 80];
        answers.extend([("no.", 0.2); 20]);
        answers.push(("left", 0.9));
        let found = of(&answers).expect("yes and no");
        assert_eq!((found.n, found.clusters), (100, 100));
        assert!(found.ece.value < 1e-9, "{found:?}");
        assert!(
            (found.brier.value - 0.16).abs() < 1e-9 && (found.brier_constant - 0.16).abs() < 1e-9
        );
        let interval = found.brier.interval.expect("many images");
        assert!(interval.lo < 0.16 && interval.hi > 0.16);
    }

    #[test]
    fn certainty_that_is_wrong_has() {
        // Certain at 0.9, right in half; and bins do not make up for one another.
        let found =
            of(&[("yes", 0.9), ("no", 0.1), ("yes", 0.6), ("no", 0.55)]).expect("yes and no");
        let want = ((0.9 - 1.0) + (0.9_f64)).abs() / 4.0 + (0.4 + 0.45) / 4.0;
        assert!((found.ece.value - want).abs() < 1e-9, "{found:?}");
        assert!(of(&[("left", 0.5)]).is_none());
    }
}
