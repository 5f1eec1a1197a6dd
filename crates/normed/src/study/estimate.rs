//! The cost of a study, estimated without reading weights.

use super::plan::{fractions, seeds};
use super::{Experiment, Shard, Study};
use crate::Result;
use crate::train::plan;

/// The cost of one experiment.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimate<'a> {
    /// The experiment.
    pub experiment: &'a Experiment,
    /// The number of runs that select the learning rate.
    pub selection_runs: usize,
    /// The number of reported runs, with all training examples and with fractions.
    pub reported_runs: usize,
    /// The number of evaluations on other test splits.
    pub evaluations: usize,
    /// The number of trained parameters.
    pub trained: usize,
    /// Peak memory of one run in bytes, where it is known.
    pub peak_bytes: Option<usize>,
    /// Seconds of all runs, one after another on all threads, without evaluations; where it is known.
    pub seconds: Option<f64>,
}

/// Estimates the cost of every experiment of `study` in `shard`.
///
/// # Errors
///
/// If a base model or data set cannot be read, or a recipe does not fit its model.
pub fn estimate(study: &Study, shard: Shard) -> Result<Vec<Estimate<'_>>> {
    shard.experiments(study).map(|experiment| estimate_experiment(study, experiment)).collect()
}

fn estimate_experiment<'a>(study: &Study, experiment: &'a Experiment) -> Result<Estimate<'a>> {
    let full = plan(&experiment.recipe)?;
    let chosen = full.chosen.map(|chosen| full.estimates[chosen]);
    let rates = experiment.learning_rates.len();
    let selection_runs = if rates > 1 { rates } else { 0 };
    let (seeds, fractions) = (seeds(study, experiment).len(), fractions(study, experiment));
    let mut seconds = chosen.and_then(|chosen| chosen.run_seconds).map(|one_run| {
        let share: f64 = fractions.iter().map(|&fraction| f64::from(fraction)).sum();
        one_run * seeds as f64 * (1.0 + share)
    });
    if selection_runs > 0 {
        let plan = plan(&experiment.selection_recipe)?;
        let one_run = plan.chosen.and_then(|chosen| plan.estimates[chosen].run_seconds);
        let both = seconds.zip(one_run);
        seconds = both.map(|(seconds, one_run)| seconds + selection_runs as f64 * one_run);
    }
    Ok(Estimate {
        experiment,
        selection_runs,
        reported_runs: seeds * (1 + fractions.len()),
        evaluations: seeds * experiment.other_test_sets.len(),
        trained: full.trained,
        peak_bytes: chosen.map(|chosen| chosen.needs.peak),
        seconds,
    })
}
