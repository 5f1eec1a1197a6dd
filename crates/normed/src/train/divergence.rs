//! Warns once when the training loss or the validation loss rises instead of falling. The run goes on.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// The number of steps whose mean loss is compared: the first ones and the last ones.
const STEPS: usize = 10;

/// How often in a row the validation loss must rise.
const RISES: usize = 3;

/// How far the validation loss must rise: to this multiple of the loss before it rose, and by so many nats more. Less
/// can be chance.
const MIN_RISE: f64 = 1.1;
const MIN_NATS: f64 = 0.02;

/// The losses of a run, as far as their course matters.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Divergence {
    /// The losses of the first steps.
    first: Vec<f64>,
    /// The losses of the last steps.
    last: VecDeque<f64>,
    /// Whether the training loss was warned about.
    warned_of_training: bool,
    /// The validation losses since the last one that did not rise, with their epochs.
    rising: Vec<(usize, f64)>,
    /// Whether the validation loss was warned about.
    warned_of_validation: bool,
}

impl Divergence {
    /// Records the loss of a step at the rate `lr`. Returns the warning if the loss is far above that of the first
    /// steps, the first time that it is.
    pub fn observe_step(&mut self, loss: f64, lr: f32) -> Option<String> {
        if self.first.len() < STEPS {
            self.first.push(loss);
            return None;
        }
        self.last.push_back(loss);
        if self.last.len() > STEPS {
            self.last.pop_front();
        }
        let mean = |sum: f64| sum / STEPS as f64;
        let (start, now) = (mean(self.first.iter().sum()), mean(self.last.iter().sum()));
        // The losses of batches differ: half as much again, and a tenth of a nat.
        let has_diverged = self.last.len() == STEPS && now > 1.5 * start + 0.1;
        if !has_diverged || self.warned_of_training {
            return None;
        }
        self.warned_of_training = true;
        Some(format!(
            "The training loss rises: {start:.2} in the first {STEPS} steps, {now:.2} in the last {STEPS}. The \
             learning rate is too high: stop the run and lower train.lr (this step's rate is {lr:.1e}). `normed \
             train --find-lr` suggests one."
        ))
    }

    /// Records the validation loss after `epoch`. Returns the warning if it has risen several times in a row, the
    /// first time that it has.
    pub fn observe_validation(&mut self, epoch: usize, loss: f64) -> Option<String> {
        if self.rising.last().is_some_and(|(_, before)| loss <= *before) {
            self.rising.clear();
        }
        self.rising.push((epoch, loss));
        let (since, lowest) = self.rising[0];
        let is_far = loss > MIN_RISE * lowest + MIN_NATS;
        if self.rising.len() <= RISES || !is_far || self.warned_of_validation {
            return None;
        }
        self.warned_of_validation = true;
        Some(format!(
            "The validation loss has risen since epoch {since}, from {lowest:.3} to {loss:.3}: since then the model \
             improves on the training examples alone (overfitting). Lower train.lr, train fewer epochs, or stop early \
             with train.patience."
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_training_loss_far_above_the_start_is_warned_about_once() {
        let mut divergence = Divergence::default();
        let mut warnings = Vec::new();
        let losses = [vec![2.0; 15], vec![1.0; 10], vec![6.0; 30]].concat();
        for (step, &loss) in losses.iter().enumerate() {
            warnings.extend(divergence.observe_step(loss, 1e-2).map(|text| (step, text)));
        }
        let [(step, text)] = warnings.as_slice() else { panic!("{warnings:?}") };
        // 5 of 10 losses of 6.0 make 3.5 with 1.0 for the others; the bound is 3.1.
        assert_eq!(*step, 29);
        assert!(text.contains("2.00 in the first 10 steps, 3.50 in the last 10"), "{text}");
        assert!(text.contains("lower train.lr") && text.contains("1.0e-2"), "{text}");
    }

    #[test]
    fn falling_and_noisy_losses_are_fine() {
        let mut divergence = Divergence::default();
        for step in 0..500 {
            let noise = f64::from(step * 37 % 20) / 20.0;
            let loss = 2.0 / (1.0 + f64::from(step) / 100.0) + noise;
            assert_eq!(divergence.observe_step(loss, 1e-3), None);
        }
        // A model that is good already.
        let mut divergence = Divergence::default();
        for step in 0..500 {
            assert_eq!(divergence.observe_step(0.01 + 0.08 * f64::from(step % 2), 1e-3), None);
        }
    }

    #[test]
    fn a_validation_loss_that_rises_three_times_in_a_row_is_warned_about_once() {
        let mut divergence = Divergence::default();
        let mut warnings = Vec::new();
        for (i, &loss) in [0.9, 0.5, 0.6, 0.7, 0.65, 0.7, 0.75, 0.8, 0.9, 1.0].iter().enumerate() {
            warnings.extend(divergence.observe_validation(i + 1, loss).map(|text| (i + 1, text)));
        }
        let [(epoch, text)] = warnings.as_slice() else { panic!("{warnings:?}") };
        assert_eq!(*epoch, 8);
        assert!(text.contains("since epoch 5, from 0.650 to 0.800"), "{text}");
        assert!(text.contains("Lower train.lr"), "{text}");
        // Small rises are none, however many there are.
        let mut divergence = Divergence::default();
        for (i, loss) in [0.439, 0.442, 0.446, 0.449, 0.451, 0.46, 0.48].into_iter().enumerate() {
            assert_eq!(divergence.observe_validation(i + 1, loss), None);
        }
        assert!(divergence.observe_validation(8, 0.51).is_some());
    }
}
