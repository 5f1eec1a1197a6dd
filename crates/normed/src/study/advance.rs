//! Does what is left of a study to do: first the runs that judge rates, then those that are reported,
//! then what their outcomes are asked of other data. What is done is known by its address; what another
//! process is at is left to it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::select::{chosen, failure, tried, write_failure};
use super::{Addresses, Cell, Study, Task, Work};
use crate::files::write_atomically;
use crate::train::{is_running, read_outcome};
use crate::{Error, Result};

/// A part of a study's cells, for one of several processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// Which, counted from 1.
    pub number: usize,
    /// How many there are.
    pub of: usize,
}

impl Shard {
    /// All of it.
    pub const ALL: Self = Self { number: 1, of: 1 };

    /// The cells of `study` that are in it. A cell's rates and runs stay together.
    pub(super) fn cells(self, study: &Study) -> impl Iterator<Item = &Cell> {
        study.cells.iter().skip(self.number - 1).step_by(self.of)
    }
}

impl std::str::FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts =
            text.split_once('/').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
        match parts {
            Some((number, of)) if (1..=of).contains(&number) => Ok(Self { number, of }),
            _ => Err("is written 2/8: the second of eight".to_owned()),
        }
    }
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// Its outcome is there.
    Done,
    /// It was asked to stop, and can go on later.
    Stopped,
    /// Another process is at it.
    Elsewhere,
    /// It failed, for this reason.
    Failed(String),
}

/// What happens.
#[derive(Debug, Clone, PartialEq)]
pub enum Told<'a> {
    /// Of the tasks of this kind, so many are left.
    Stage {
        /// What they are for.
        name: &'static str,
        /// All of them.
        all: usize,
        /// Those not done.
        left: usize,
    },
    /// A task begins.
    Begun {
        /// Which.
        task: &'a Task,
    },
    /// A task is over.
    Ended {
        /// Which.
        task: &'a Task,
        /// How.
        how: &'a Ended,
    },
    /// A rate was chosen.
    Chosen {
        /// For these.
        cell: &'a Cell,
        /// The rate.
        rate: f32,
    },
}

/// Where a study stands after [`advance`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// All of this shard is done.
    Done,
    /// It was asked to stop.
    Stopped,
    /// The rest is other processes' work.
    Waiting,
}

/// What executes a task. The study's own processes call it from [`Study::jobs`] threads at once.
type Execute<'a> = &'a (dyn Fn(&Task) -> Result<Ended> + Sync);

/// Does what is left of `shard` to do. The first error ends it, once tasks under way are over; a run
/// that fails while a rate is judged is no error, but a rate that is not chosen.
pub fn advance(
    study: &Study,
    shard: Shard,
    stop: &AtomicBool,
    execute: Execute<'_>,
    tell: &(dyn Fn(Told<'_>) + Sync),
) -> Result<Standing> {
    let mut addresses = Addresses::default();
    let crew = Crew { jobs: study.jobs, stop, execute, tell };
    let cells: Vec<&Cell> = shard.cells(study).collect();

    let mut candidates = Vec::new();
    for cell in &cells {
        candidates.push(addresses.candidates(study, cell)?);
    }
    crew.perform("judging rates", &candidates.concat(), true)?;
    let stopped = || stop.load(Ordering::Relaxed);
    if stopped() {
        return Ok(Standing::Stopped);
    }

    let (mut runs, mut complete) = (Vec::new(), true);
    for (cell, candidates) in cells.iter().zip(&candidates) {
        let Some(tried) = tried(cell, candidates)? else {
            complete = false;
            continue;
        };
        let Some(rate) = chosen(&tried) else { continue };
        if !candidates.is_empty() {
            tell(Told::Chosen { cell, rate });
        }
        runs.extend(cell_runs(&mut addresses, study, cell, rate)?);
    }
    let tasks: Vec<Task> = runs.iter().map(|run| run.task.clone()).collect();
    crew.perform("runs", &tasks, false)?;
    if stopped() {
        return Ok(Standing::Stopped);
    }

    let mut answers = Vec::new();
    for run in runs.iter().filter(|run| run.fraction == 1.0) {
        if read_outcome(&run.task.recipe().output)?.is_none() {
            complete = false;
            continue;
        }
        for name in &run.cell.tested_on {
            answers.push(addresses.answer(study, &run.task, name)?);
        }
    }
    crew.perform("tests on other data", &answers, false)?;

    for task in tasks.iter().chain(&answers) {
        complete &= is_done(task)?;
    }
    Ok(match (complete, stopped()) {
        (true, _) => Standing::Done,
        (false, true) => Standing::Stopped,
        (false, false) => Standing::Waiting,
    })
}

/// A run that is reported.
pub(super) struct CellRun<'a> {
    pub cell: &'a Cell,
    pub seed: u64,
    pub fraction: f32,
    pub task: Task,
}

/// The runs of a cell that are reported: every seed, with every part of the examples.
pub(super) fn cell_runs<'a>(
    addresses: &mut Addresses,
    study: &Study,
    cell: &'a Cell,
    rate: f32,
) -> Result<Vec<CellRun<'a>>> {
    let seeds = if cell.trains() { &study.seeds[..] } else { &study.seeds[..1] };
    let parts = if cell.efficient && cell.trains() { &study.fractions[..] } else { &[] };
    let mut runs = Vec::new();
    for &fraction in [1.0].iter().chain(parts) {
        for &seed in seeds {
            let task = addresses.reported(study, cell, rate, (seed, fraction))?;
            runs.push(CellRun { cell, seed, fraction, task });
        }
    }
    Ok(runs)
}

/// Whether the outcome of `task` is there.
pub(super) fn is_done(task: &Task) -> Result<bool> {
    match &task.work {
        Work::Run { recipe, .. } => Ok(read_outcome(&recipe.output)?.is_some()),
        Work::Answer { out, .. } => Ok(out.exists()),
    }
}

/// Those who do the work.
struct Crew<'a> {
    jobs: usize,
    stop: &'a AtomicBool,
    execute: Execute<'a>,
    tell: &'a (dyn Fn(Told<'_>) + Sync),
}

impl Crew<'_> {
    /// Does the tasks that are not done, [`Study::jobs`] at a time.
    fn perform(&self, name: &'static str, tasks: &[Task], may_fail: bool) -> Result<()> {
        let mut left: Vec<&Task> = Vec::new();
        for task in tasks {
            let failed = may_fail && failure(task)?.is_some();
            let twice = left.iter().any(|other| other.address == task.address);
            if !failed && !twice && !is_done(task)? {
                left.push(task);
            }
        }
        if !tasks.is_empty() {
            (self.tell)(Told::Stage { name, all: tasks.len(), left: left.len() });
        }
        let elsewhere = self.side_by_side(&left, may_fail)?;
        // What others are at is waited for, and done here if they give up.
        for task in elsewhere {
            while is_running(&task.recipe().output)? && !self.stop.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(500));
            }
            if !is_done(task)? && !self.stop.load(Ordering::Relaxed) {
                self.one(task, may_fail)?;
            }
        }
        Ok(())
    }

    /// Does these tasks, all but those that other processes are at, which are given back.
    fn side_by_side<'t>(&self, left: &[&'t Task], may_fail: bool) -> Result<Vec<&'t Task>> {
        let (next, error) = (AtomicUsize::new(0), Mutex::new(None));
        let elsewhere = Mutex::new(Vec::new());
        let work = || {
            while !self.stop.load(Ordering::Relaxed) {
                let Some(task) = left.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
                match self.one(task, may_fail) {
                    Ok(Ended::Elsewhere) => lock(&elsewhere).push(*task),
                    Ok(_) => {}
                    Err(new) => {
                        // No other begins.
                        next.store(left.len(), Ordering::Relaxed);
                        lock(&error).get_or_insert(new);
                    }
                }
            }
        };
        std::thread::scope(|scope| {
            let jobs = self.jobs.min(left.len());
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

    fn one(&self, task: &Task, may_fail: bool) -> Result<Ended> {
        (self.tell)(Told::Begun { task });
        let how = match &task.work {
            Work::Run { recipe, .. } if is_running(&recipe.output)? => Ended::Elsewhere,
            _ => {
                let text = task.recipe().to_toml()?;
                write_new(task, &text)?;
                (self.execute)(task)?
            }
        };
        (self.tell)(Told::Ended { task, how: &how });
        match &how {
            Ended::Failed(cause) if may_fail => write_failure(task, cause)?,
            Ended::Failed(cause) => return Err(Error::failed(&task.label, cause)),
            Ended::Done if !is_done(task)? => {
                return Err(Error::failed(&task.label, "ended well, and left no outcome"));
            }
            Ended::Done | Ended::Stopped | Ended::Elsewhere => {}
        }
        Ok(how)
    }
}

/// What a mutex holds; nothing here panics while it does.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes the recipe of `task` where who executes it finds it.
fn write_new(task: &Task, text: &str) -> Result<()> {
    let path = task.recipe_file();
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(|e| Error::io(directory, &e))?;
    }
    write_atomically(&path, |out| out.write_all(text.as_bytes()))
}
