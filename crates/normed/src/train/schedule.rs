//! The learning-rate schedule.

use std::f64::consts::PI;

use crate::recipe::{Schedule, TrainSpec};

/// The learning rate of step `step`, counted from 0, of `steps`.
///
/// During the first `warmup_ratio` of the steps, the rate rises linearly and reaches `lr` at the last of
/// them; no step has rate 0. Then it falls from `lr` towards `min_lr`, which it would reach one step after
/// the last.
pub(super) fn learning_rate(spec: &TrainSpec, step: usize, steps: usize) -> f32 {
    // In f32, 0.1 of 100 is 10. In f64, the f32 nearest to 0.1 gives more than 10, that is 11 steps.
    let warmup = (spec.warmup_ratio * steps as f32).ceil() as usize;
    let (peak, floor) = (f64::from(spec.lr), f64::from(spec.min_lr));
    if step < warmup {
        return (peak * (step + 1) as f64 / warmup as f64) as f32;
    }
    let progress = (step - warmup) as f64 / steps.saturating_sub(warmup).max(1) as f64;
    let left = match spec.schedule {
        Schedule::Cosine => 0.5 * (1.0 + (PI * progress.min(1.0)).cos()),
        Schedule::Linear => 1.0 - progress.min(1.0),
        Schedule::Constant => 1.0,
    };
    (floor + (peak - floor) * left) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(schedule: Schedule) -> TrainSpec {
        TrainSpec { schedule, lr: 1.0, min_lr: 0.2, warmup_ratio: 0.1, ..TrainSpec::default() }
    }

    #[test]
    fn the_rate_rises_to_the_peak_and_falls_to_the_minimum() {
        for schedule in [Schedule::Cosine, Schedule::Linear] {
            let rate = |step| learning_rate(&spec(schedule), step, 100);
            assert_eq!(rate(0), 0.1);
            assert_eq!((rate(9), rate(10)), (1.0, 1.0));
            assert!((rate(55) - 0.6).abs() < 1e-6, "half way: {}", rate(55));
            assert!(rate(99) > 0.2 && rate(99) < 0.21, "{}", rate(99));
            assert_eq!(rate(100), 0.2);
            assert!((10..99).all(|step| rate(step + 1) < rate(step)));
        }
    }

    #[test]
    fn a_constant_schedule_is_constant_after_the_warmup() {
        let rate = |step| learning_rate(&spec(Schedule::Constant), step, 100);
        assert_eq!((rate(4), rate(9), rate(99)), (0.5, 1.0, 1.0));
    }

    #[test]
    fn the_shortest_runs_have_a_rate() {
        let without = TrainSpec { warmup_ratio: 0.0, ..spec(Schedule::Linear) };
        assert_eq!(learning_rate(&without, 0, 1), 1.0);
        let all = TrainSpec { warmup_ratio: 1.0, ..spec(Schedule::Cosine) };
        assert_eq!(learning_rate(&all, 0, 1), 1.0);
        assert_eq!(learning_rate(&all, 3, 4), 1.0);
    }
}
