//! The reported runs of an experiment.

use super::{Addresses, Experiment, Study, Task};
use crate::Result;

/// A reported run.
pub(super) struct PlannedRun<'a> {
    pub experiment: &'a Experiment,
    pub seed: u64,
    /// The fraction of the training examples.
    pub fraction: f32,
    pub task: Task,
}

/// Plans the reported runs of an experiment: every seed, with all examples and with every fraction.
pub(super) fn plan_runs<'a>(
    addresses: &mut Addresses<'_>,
    study: &Study,
    experiment: &'a Experiment,
    learning_rate: f32,
) -> Result<Vec<PlannedRun<'a>>> {
    let mut runs = Vec::new();
    for &fraction in [1.0].iter().chain(fractions(study, experiment)) {
        for &seed in seeds(study, experiment) {
            let task = addresses.reported_run(experiment, learning_rate, seed, fraction)?;
            runs.push(PlannedRun { experiment, seed, fraction, task });
        }
    }
    Ok(runs)
}

/// The seeds of an experiment: only the first if nothing is trained.
pub(super) fn seeds<'s>(study: &'s Study, experiment: &Experiment) -> &'s [u64] {
    if experiment.trains() { &study.seeds } else { &study.seeds[..1] }
}

/// The fractions of the examples, other than all, on which an experiment is trained.
pub(super) fn fractions<'s>(study: &'s Study, experiment: &Experiment) -> &'s [f32] {
    if experiment.uses_fractions && experiment.trains() { &study.fractions } else { &[] }
}
