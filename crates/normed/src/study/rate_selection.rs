//! The selection of a learning rate by the validation split alone. Of a candidate run, only the validation
//! value of its best checkpoint is read. Candidate runs never read the test split.

use std::path::PathBuf;

use super::{Experiment, Task};
use crate::files::{CONFIG_LIMIT, read_text, write_atomically};
use crate::recipe::BestBy;
use crate::train::read_outcome;
use crate::{Error, Result};

/// A candidate learning rate and the result of its run.
#[derive(Debug, Clone, PartialEq)]
pub struct RateTrial {
    /// The learning rate.
    pub learning_rate: f32,
    /// The validation value of `train.metric`; absent if the run failed or there was only one candidate.
    pub value: Option<f64>,
    /// Why the run failed, if it did.
    pub failure: Option<String>,
    /// Whether this learning rate was selected.
    pub selected: bool,
}

/// Reads the results of the candidate runs and selects one. `None` if a candidate run is not finished.
pub(super) fn read_trials(
    experiment: &Experiment,
    candidates: &[Task],
) -> Result<Option<Vec<RateTrial>>> {
    let rates = &experiment.learning_rates;
    if candidates.is_empty() {
        let only = |&learning_rate: &f32| RateTrial {
            learning_rate,
            value: None,
            failure: None,
            selected: true,
        };
        return Ok(Some(rates.iter().map(only).collect()));
    }
    let mut trials = Vec::new();
    for (&learning_rate, task) in rates.iter().zip(candidates) {
        let failure = read_failure(task)?;
        let value = match read_outcome(&task.recipe().output)? {
            Some(outcome) => outcome.best_value,
            None if failure.is_some() => None,
            None => return Ok(None),
        };
        trials.push(RateTrial { learning_rate, value, failure, selected: false });
    }
    let lower_is_better = experiment.selection_recipe.train.metric == BestBy::Loss;
    // Of equal ones the first: the study lists learning rates in the order of preference.
    let mut best: Option<(usize, f64)> = None;
    for (i, trial) in trials.iter().enumerate() {
        let quality = trial.value.map(|value| if lower_is_better { -value } else { value });
        if let Some(quality) = quality.filter(|&q| best.is_none_or(|(_, highest)| q > highest)) {
            best = Some((i, quality));
        }
    }
    let Some((best, _)) = best else {
        let causes: Vec<_> = trials.iter().filter_map(|trial| trial.failure.clone()).collect();
        let cause = format!("no learning rate can be selected: {}", causes.join("; "));
        return Err(
            Error::failed(experiment.label(), cause).with_remedy("try lower learning rates")
        );
    };
    trials[best].selected = true;
    Ok(Some(trials))
}

/// The selected learning rate.
pub(super) fn selected_rate(trials: &[RateTrial]) -> Option<f32> {
    trials.iter().find(|trial| trial.selected).map(|trial| trial.learning_rate)
}

/// Whether the selected learning rate is the lowest or the highest of several: a better one may lie
/// outside the range.
pub(super) fn is_at_edge(trials: &[RateTrial]) -> bool {
    let Some(selected) = selected_rate(trials) else { return false };
    let any = |is: fn(f32, f32) -> bool| trials.iter().any(|t| is(t.learning_rate, selected));
    trials.len() > 1 && !(any(|a, b| a < b) && any(|a, b| a > b))
}

fn failure_file(task: &Task) -> PathBuf {
    task.recipe().output.with_extension("failed")
}

/// Reads why a run failed; `None` if no failure is recorded.
pub(super) fn read_failure(task: &Task) -> Result<Option<String>> {
    let path = failure_file(task);
    path.exists().then(|| read_text(&path, CONFIG_LIMIT)).transpose()
}

/// Records that a run failed, so that it is not tried again. The file can be deleted to retry.
pub(super) fn write_failure(task: &Task, cause: &str) -> Result<()> {
    write_atomically(&failure_file(task), |out| out.write_all(cause.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_and_the_highest_rate_are_at_an_edge() {
        let is_selected_at_edge = |rates: &[f32], selected: usize| {
            let trial = |(i, &learning_rate)| RateTrial {
                learning_rate,
                value: None,
                failure: None,
                selected: i == selected,
            };
            is_at_edge(&rates.iter().enumerate().map(trial).collect::<Vec<_>>())
        };
        let rates = [3e-3, 1e-3, 1e-2];
        let found = [0, 1, 2].map(|selected| is_selected_at_edge(&rates, selected));
        assert_eq!(found, [false, true, true]);
        assert!(is_selected_at_edge(&rates[..2], 0) && is_selected_at_edge(&rates[..2], 1));
        assert!(!is_selected_at_edge(&rates[..1], 0));
    }
}
