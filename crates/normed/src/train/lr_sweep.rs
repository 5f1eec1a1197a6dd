//! What a learning-rate sweep found: the mean curve of its seeds, where it first rises, and a suggestion.

use serde::Serialize;

use crate::plot::{Line, LineChart, LineStyle};
use crate::{Error, Result};

/// The loss has risen if it lies above the lowest before by more than this fraction of the base model's loss.
const SMALLEST_RISE: f64 = 0.03;

/// The loss has fallen if it lies below the base model's by at least this fraction of it.
const SMALLEST_FALL: f64 = 0.01;

/// A fall counts if it exceeds this multiple of its standard error over the seeds: Student's t with 2 degrees of
/// freedom, 98 % two-sided, since the lowest of many rates is compared. Simulated seeds without an effect get a
/// suggestion in 1 to 3 % of cases.
const T_98: f64 = 6.965;

/// The suggestion is the rate of the lowest loss divided by this, rounded: a run makes many more steps at its
/// rate than the sweep did.
const SAFETY_FACTOR: f64 = 3.0;

/// One learning rate of a sweep.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SweepStep {
    /// The learning rate.
    pub lr: f32,
    /// Loss of the probe after the step minus the untouched base model's, in nats per token, with label
    /// smoothing: the mean over the seeds.
    pub change: f64,
    /// Standard error of `change` over the seeds.
    pub standard_error: f64,
}

/// Why a sweep suggests no learning rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Withheld {
    /// The loss did not fall below the base model's by more than the seeds differ.
    Noise,
}

/// The result of a learning-rate sweep.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LrSweep {
    /// The rates up to the first rise, from the smallest.
    pub steps: Vec<SweepStep>,
    /// The suggested learning rate, or why there is none.
    pub suggestion: std::result::Result<f32, Withheld>,
    /// The rate at which the loss of a seed first rose or was not finite: this and all higher rates are too
    /// high. None if it never did.
    pub too_high: Option<f32>,
    /// The default learning rate of the recipe's tuning methods.
    pub default_lr: f32,
}

/// The sweep of one seed, which ends at the first rise.
#[derive(Debug, Clone)]
pub(super) struct SeedSweep {
    /// The untouched base model's loss on the probe.
    pub base_loss: f64,
    /// For each step: the loss of the probe after it, minus `base_loss`.
    pub changes: Vec<f64>,
}

impl SeedSweep {
    /// Whether the loss of the last step lies above the lowest before it.
    pub fn has_risen(&self) -> bool {
        let Some((last, before)) = self.changes.split_last() else { return false };
        let lowest = before.iter().copied().fold(0.0, f64::min);
        last - lowest > SMALLEST_RISE * self.base_loss
    }
}

impl LrSweep {
    /// Concludes from the sweeps of several seeds over `rates`.
    pub(super) fn from_seeds(rates: &[f32], seeds: &[SeedSweep], default_lr: f32) -> Self {
        let reached = seeds.iter().map(|seed| seed.changes.len()).min().unwrap_or(0);
        let steps: Vec<_> = (0..reached)
            .map(|i| {
                let changes: Vec<_> = seeds.iter().map(|seed| seed.changes[i]).collect();
                let (change, standard_error) = mean_and_error(&changes);
                SweepStep { lr: rates[i], change, standard_error }
            })
            .collect();
        // A seed that ended before the last rate without a rise had a loss that is not finite.
        let risen = seeds.iter().any(|seed| seed.changes.len() == reached && seed.has_risen());
        let rise = if risen { reached - 1 } else { reached };
        let bases: Vec<_> = seeds.iter().map(|seed| seed.base_loss).collect();
        let smallest = SMALLEST_FALL * mean_and_error(&bases).0;
        let lowest = steps[..rise].iter().min_by(|a, b| a.change.total_cmp(&b.change));
        let fallen = lowest.filter(|step| -step.change > smallest.max(T_98 * step.standard_error));
        let suggest = |step: &SweepStep| round_lr(f64::from(step.lr) / SAFETY_FACTOR);
        Self {
            suggestion: fallen.map(suggest).ok_or(Withheld::Noise),
            too_high: rates.get(rise).copied(),
            steps,
            default_lr,
        }
    }

    /// Plots the loss against the learning rate, as SVG text.
    ///
    /// # Errors
    ///
    /// If the plot cannot be drawn.
    pub fn to_svg(&self) -> Result<String> {
        let points = |value: fn(&SweepStep) -> f64| -> Vec<(f64, f64)> {
            self.steps.iter().map(|step| (f64::from(step.lr), value(step))).collect()
        };
        let mean = points(|step| step.change);
        let above = points(|step| step.change + step.standard_error);
        let below = points(|step| step.change - step.standard_error);
        let line = |name, points, style| Line { name, points, color: 0, style };
        LineChart {
            x_label: "learning rate",
            y_label: "loss minus the base model's loss, nats per token",
            log_x: true,
            from_zero: false,
            lines: vec![
                line("plus one standard error", &above[..], LineStyle::Faint),
                line("minus one standard error", &below[..], LineStyle::Faint),
                line("mean of the seeds", &mean[..], LineStyle::Marked),
            ],
            vertical_line: self
                .suggestion
                .ok()
                .map(|lr| (f64::from(lr), format!("suggestion {lr:e}"))),
        }
        .to_svg()
        .map_err(|e| Error::failed("the plot of the learning-rate sweep", e))
    }
}

/// The mean of `values`, and its standard error.
fn mean_and_error(values: &[f64]) -> (f64, f64) {
    let n = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|x| (x - mean) * (x - mean)).sum();
    (mean, (squares / (n - 1.0).max(1.0) / n).sqrt())
}

/// Rounds to 1 or 3 times a power of ten, the nearer in ratio.
fn round_lr(lr: f64) -> f32 {
    let unit = 10f64.powf(lr.log10().floor());
    let factor = match lr / unit {
        ratio if ratio < 3f64.sqrt() => 1.0,
        ratio if ratio < 30f64.sqrt() => 3.0,
        _ => 10.0,
    };
    ((factor * unit) as f32).max(f32::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates() -> Vec<f32> {
        (0..=40).map(|i| 10f32.powf(-4.0 + i as f32 / 10.0)).collect()
    }

    /// The sweep of a seed whose loss changes by `change` of the rate's logarithm.
    fn seed_of(change: impl Fn(f64) -> f64) -> SeedSweep {
        let mut seed = SeedSweep { base_loss: 2.0, changes: Vec::new() };
        for lr in rates() {
            seed.changes.push(change(f64::from(lr).log10()));
            if seed.has_risen() {
                break;
            }
        }
        seed
    }

    /// The sweeps of three seeds, whose loss changes by `change` of the rate's logarithm and the seed.
    fn sweep_of(change: impl Fn(f64, f64) -> f64) -> LrSweep {
        let seeds: Vec<_> = (0..3).map(|k| seed_of(|x| change(x, f64::from(k)))).collect();
        LrSweep::from_seeds(&rates(), &seeds, 3e-3)
    }

    /// A valley of this depth, one power of ten wide to either side.
    fn valley(x: f64, bottom: f64, depth: f64) -> f64 {
        depth * ((x - bottom).powi(2) - 1.0).min(0.0)
    }

    #[test]
    fn the_suggestion_is_a_third_of_the_rate_of_the_lowest_loss() {
        let found = sweep_of(|x, k| valley(x, -1.5, 1.0 + 0.05 * k));
        assert_eq!(found.suggestion, Ok(0.01));
        let high = found.too_high.unwrap();
        assert!((0.04..0.09).contains(&high), "{high}");
        assert_eq!(found.steps.last().unwrap().lr, high, "the sweep ends at the first rise");
        let svg = found.to_svg().unwrap();
        assert!(svg.contains("suggestion 1e-2"), "{svg}");
    }

    #[test]
    fn what_comes_after_the_first_rise_does_not_count() {
        // The loss is lowest at 10^-3, rises, and is even lower at 10^-0.5.
        let found = sweep_of(|x, k| valley(x, -3.0, 1.0 + 0.05 * k) + valley(x, -0.5, 2.0));
        assert_eq!(found.suggestion, Ok(3e-4));
        assert!((1e-3..3e-3).contains(&found.too_high.unwrap()), "{found:?}");
    }

    #[test]
    fn the_first_seed_that_rises_excludes_the_rates_beyond() {
        let fall = |x: f64| -0.1 * (x + 4.0);
        let found = sweep_of(|x, k| fall(x) + if k == 2.0 && x > -2.05 { 1.0 } else { 0.0 });
        assert!((found.too_high.unwrap() / 0.01 - 1.0).abs() < 1e-3, "{found:?}");
        assert_eq!(found.suggestion, Ok(3e-3), "the lowest loss before is at 8e-3");
        // A loss that is not finite ends a sweep, too.
        let mut seeds = vec![seed_of(fall); 3];
        seeds[1].changes.truncate(20);
        let found = LrSweep::from_seeds(&rates(), &seeds, 3e-3);
        assert_eq!((found.steps.len(), found.too_high), (20, Some(rates()[20])));
        seeds[1].changes.clear();
        let found = LrSweep::from_seeds(&rates(), &seeds, 3e-3);
        assert_eq!((found.suggestion, found.too_high), (Err(Withheld::Noise), Some(rates()[0])));
    }

    #[test]
    fn a_curve_that_is_noise_has_no_suggestion() {
        // The seeds differ more than their mean falls.
        let found = sweep_of(|x, k| 0.02 * (x + 4.0) * (k - 2.0));
        assert_eq!(found.suggestion, Err(Withheld::Noise));
        assert!(!found.to_svg().unwrap().contains("suggestion"));
        // A fall on which the seeds agree, but of less than one percent of the loss.
        let found = sweep_of(|x, _| -0.004 * (x + 4.0));
        assert_eq!((found.suggestion, found.too_high), (Err(Withheld::Noise), None));
    }

    #[test]
    fn a_rise_is_above_the_lowest_before_and_above_the_base() {
        let risen =
            |changes: &[f64]| SeedSweep { base_loss: 2.0, changes: changes.to_vec() }.has_risen();
        assert!(!risen(&[]) && !risen(&[-1.0]) && !risen(&[0.05]));
        assert!(risen(&[0.07]), "more than 3 % of 2");
        assert!(risen(&[-1.0, -0.9]) && !risen(&[-1.0, -0.95]) && risen(&[-1.0, -0.95, -0.92]));
    }

    #[test]
    fn suggestions_are_1_or_3_times_a_power_of_ten() {
        for (lr, rounded) in [
            (0.01, 0.01),
            (0.017, 0.01),
            (0.018, 0.03),
            (0.054, 0.03),
            (0.055, 0.1),
            (9.99e-6, 1e-5),
        ] {
            assert!((round_lr(lr) / rounded - 1.0).abs() < 1e-6, "{lr}");
        }
    }
}
