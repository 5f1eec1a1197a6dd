//! Executes tasks, several at a time.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::rate_selection::{read_failure, write_failure};
use super::stored_builds::stored_by_line;
use super::{Experiment, Study, Task, TaskKind};
use crate::files::{create_private_directory, write_atomically};
use crate::train::is_running;
use crate::{Error, Result};

/// How the execution of a task ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskOutcome {
    /// The outcome is stored.
    Done,
    /// It was asked to stop, and can be continued.
    Stopped,
    /// Another process is executing the task.
    RunningElsewhere,
    /// It failed, for this reason.
    Failed(String),
}

/// An event of a study, for progress messages.
#[derive(Debug, Clone, PartialEq)]
pub enum StudyEvent<'a> {
    /// A stage starts.
    StageStarted {
        /// The name of the stage.
        name: &'static str,
        /// The number of its tasks.
        total: usize,
        /// The number of tasks that are not done.
        remaining: usize,
    },
    /// Other builds of normed stored outcomes of a stage that this build did not.
    OtherBuilds {
        /// The number of these outcomes.
        outcomes: usize,
        /// The versions of the builds.
        versions: Vec<String>,
        /// Whether the outcomes are used. Otherwise they are computed again.
        accepted: bool,
    },
    /// A task starts.
    TaskStarted {
        /// The task.
        task: &'a Task,
    },
    /// A task ended.
    TaskEnded {
        /// The task.
        task: &'a Task,
        /// How it ended.
        outcome: &'a TaskOutcome,
    },
    /// A learning rate was selected.
    RateSelected {
        /// The experiment.
        experiment: &'a Experiment,
        /// The learning rate.
        learning_rate: f32,
    },
}

/// What executes one task. It is called from [`Study::jobs`] threads at once.
pub(super) type Execute<'a> = &'a (dyn Fn(&Task) -> Result<TaskOutcome> + Sync);

/// Executes the tasks of a study.
pub(super) struct Executor<'a> {
    pub study: &'a Study,
    pub stop: &'a AtomicBool,
    pub execute: Execute<'a>,
    pub report: &'a (dyn Fn(StudyEvent<'_>) + Sync),
}

impl Executor<'_> {
    /// Executes the tasks of a stage that are not done. If `may_fail`, a failed task is recorded and not an
    /// error.
    pub fn run_stage(&self, name: &'static str, tasks: &[Task], may_fail: bool) -> Result<()> {
        let (mut remaining, mut addresses): (Vec<&Task>, _) = (Vec::new(), BTreeSet::new());
        for task in tasks {
            let failed = may_fail && read_failure(task)?.is_some();
            if !failed && !task.is_done()? && addresses.insert(&task.address) {
                remaining.push(task);
            }
        }
        if !tasks.is_empty() {
            let (total, remaining) = (tasks.len(), remaining.len());
            (self.report)(StudyEvent::StageStarted { name, total, remaining });
        }
        self.report_other_builds(tasks);
        for task in self.run_in_parallel(&remaining, may_fail)? {
            // Wait for the other process; if it gives up, the task is executed here.
            while is_running(&task.recipe().output)? && !self.is_stopped() {
                std::thread::sleep(Duration::from_millis(500));
            }
            if !task.is_done()? && !self.is_stopped() {
                self.run_task(task, may_fail)?;
            }
        }
        Ok(())
    }

    /// Whether the study was asked to stop.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn report_other_builds(&self, tasks: &[Task]) {
        let found =
            tasks.iter().filter_map(|task| Some((&task.address, task.other_build.as_ref()?)));
        let found: BTreeSet<_> = found.collect();
        if !found.is_empty() {
            let versions: BTreeSet<&String> = found.iter().map(|(_, version)| *version).collect();
            (self.report)(StudyEvent::OtherBuilds {
                outcomes: found.len(),
                versions: versions.into_iter().cloned().collect(),
                accepted: self.study.accept_other_builds,
            });
        }
    }

    /// Executes these tasks, [`Study::jobs`] at a time. It returns those that other processes are
    /// executing.
    fn run_in_parallel<'t>(&self, tasks: &[&'t Task], may_fail: bool) -> Result<Vec<&'t Task>> {
        let (next, error) = (AtomicUsize::new(0), Mutex::new(None));
        let elsewhere = Mutex::new(Vec::new());
        let work = || {
            while !self.is_stopped() {
                let Some(task) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
                match self.run_task(task, may_fail) {
                    Ok(TaskOutcome::RunningElsewhere) => lock(&elsewhere).push(*task),
                    Ok(_) => {}
                    Err(new) => {
                        // No further task starts.
                        next.store(tasks.len(), Ordering::Relaxed);
                        lock(&error).get_or_insert(new);
                    }
                }
            }
        };
        std::thread::scope(|scope| {
            let jobs = self.study.jobs.min(tasks.len());
            let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
            for worker in workers {
                if let Err(panic) = worker.join() {
                    std::panic::resume_unwind(panic);
                }
            }
        });
        match lock(&error).take() {
            Some(error) => Err(error),
            None => Ok(std::mem::take(&mut lock(&elsewhere))),
        }
    }

    fn run_task(&self, task: &Task, may_fail: bool) -> Result<TaskOutcome> {
        (self.report)(StudyEvent::TaskStarted { task });
        let outcome = match &task.kind {
            TaskKind::Run { recipe, .. } if is_running(&recipe.output)? => {
                TaskOutcome::RunningElsewhere
            }
            _ => {
                write_recipe(task)?;
                (self.execute)(task)?
            }
        };
        (self.report)(StudyEvent::TaskEnded { task, outcome: &outcome });
        match &outcome {
            TaskOutcome::Failed(cause) if may_fail => write_failure(task, cause)?,
            TaskOutcome::Failed(cause) => return Err(Error::failed(&task.label, cause)),
            TaskOutcome::Done if !task.is_done()? => {
                return Err(Error::failed(&task.label, "it ended without an error or an outcome"));
            }
            TaskOutcome::Done | TaskOutcome::Stopped | TaskOutcome::RunningElsewhere => {}
        }
        Ok(outcome)
    }
}

/// Locks a mutex. A poisoned one is fine: nothing here panics while it holds a lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes the recipe of `task` to [`Task::recipe_file`], with the build of normed in its first line.
fn write_recipe(task: &Task) -> Result<()> {
    let path = task.recipe_file();
    if let Some(directory) = path.parent() {
        create_private_directory(directory)?;
    }
    let text = stored_by_line() + &task.recipe().to_toml()?;
    write_atomically(&path, |out| out.write_all(text.as_bytes()))
}
