//! Executes what is left of a study, in three stages: the runs that select learning rates, the reported
//! runs, and their evaluations on other data. Finished tasks are recognized by their addresses. Tasks that
//! another process is executing are left to it.

use std::sync::atomic::AtomicBool;

use super::executor::{Execute, Executor};
use super::plan::{PlannedRun, plan_runs};
use super::rate_selection::{read_trials, selected_rate};
use super::{Addresses, Experiment, Shard, Study, StudyEvent, Task};
use crate::Result;

/// The state of a study, or of a part of it, after [`advance`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StudyStatus {
    /// Every task is done.
    Done,
    /// It was asked to stop.
    Stopped,
    /// The remaining tasks are being executed by other processes.
    Waiting,
}

/// Executes the tasks of `shard` that are not done, by calling `execute` for each.
///
/// # Errors
///
/// If a task fails, a base model or data set cannot be read, or no learning rate can be selected. Tasks
/// that are running are finished first. A run that fails during rate selection is no error: its learning
/// rate is not selected.
pub fn advance(
    study: &Study,
    shard: Shard,
    stop: &AtomicBool,
    execute: Execute<'_>,
    report: &(dyn Fn(StudyEvent<'_>) + Sync),
) -> Result<StudyStatus> {
    let mut addresses = Addresses::new(study)?;
    let executor = Executor { study, stop, execute, report };
    let experiments: Vec<&Experiment> = shard.experiments(study).collect();

    let mut candidates = Vec::new();
    for experiment in &experiments {
        candidates.push(addresses.candidate_runs(experiment)?);
    }
    executor.run_stage("learning-rate selection", &candidates.concat(), true)?;
    if executor.is_stopped() {
        return Ok(StudyStatus::Stopped);
    }

    let (mut runs, mut complete) = (Vec::new(), true);
    for (experiment, candidates) in experiments.iter().zip(&candidates) {
        let Some(trials) = read_trials(experiment, candidates)? else {
            complete = false;
            continue;
        };
        let Some(learning_rate) = selected_rate(&trials) else { continue };
        if !candidates.is_empty() {
            report(StudyEvent::RateSelected { experiment, learning_rate });
        }
        runs.extend(plan_runs(&mut addresses, study, experiment, learning_rate)?);
    }
    let tasks: Vec<Task> = runs.iter().map(|run| run.task.clone()).collect();
    executor.run_stage("runs", &tasks, false)?;
    if executor.is_stopped() {
        return Ok(StudyStatus::Stopped);
    }

    let evaluations = plan_evaluations(&mut addresses, &runs)?;
    executor.run_stage("tests on other data", &evaluations, false)?;

    // An evaluation that is not planned yet belongs to a run that is not done.
    for task in tasks.iter().chain(&evaluations) {
        complete &= task.is_done()?;
    }
    Ok(match (complete, executor.is_stopped()) {
        (true, _) => StudyStatus::Done,
        (false, true) => StudyStatus::Stopped,
        (false, false) => StudyStatus::Waiting,
    })
}

/// The evaluations on other data, of the finished runs with all examples.
fn plan_evaluations(addresses: &mut Addresses<'_>, runs: &[PlannedRun<'_>]) -> Result<Vec<Task>> {
    let mut evaluations = Vec::new();
    for run in runs.iter().filter(|run| run.fraction == 1.0) {
        if run.task.is_done()? {
            for name in &run.experiment.other_test_sets {
                evaluations.push(addresses.evaluation(&run.task, name)?);
            }
        }
    }
    Ok(evaluations)
}
