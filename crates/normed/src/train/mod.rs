//! The step, the run, evaluation, checkpoints.
//!
//! - [`run()`]: a [`Recipe`](crate::recipe::Recipe) becomes a run directory;
//! - [`step()`]: one optimizer step, with [`AdamW`], the `schedule` and the `alarm` over it;
//! - `groups`: parameters with a rate of their own; [`find_lr()`]: which rate to take;
//! - `fisher`: which norms matter most, where a run trains a part of them;
//! - [`plan()`]: what a run will take, with `rehearsal` that makes its steps without their elements,
//!   and `rates` that says how fast this machine makes them;
//! - `judge`, [`Evaluation`]: how good the parameters are, and which were the best;
//! - `prefix`, `states`: what a frozen prefix makes of pictures, computed once;
//! - `checkpoint`, `journal`, `directory`: what a killed run goes on from;
//! - [`Event`]: what happened, with `log`, `tensorboard`, `curve` and `card` to show it.

mod adamw;
mod alarm;
mod card;
mod checkpoint;
mod curve;
mod directory;
mod evaluate;
mod event;
mod find_lr;
mod finish;
mod fisher;
mod groups;
mod journal;
mod judge;
mod log;
mod memory;
mod plan;
mod prefix;
mod rates;
mod rehearsal;
mod run;
mod schedule;
mod splits;
mod states;
mod step;
mod tables;
mod tensorboard;
#[cfg(test)]
mod toy;

pub use adamw::AdamW;
pub use directory::{outcome_of, under_way};
pub use evaluate::{Evaluation, Likelihood};
pub use event::{Event, Outcome, Subject, TestScores};
pub use find_lr::{RateSweep, SweptStep, find_lr};
pub use memory::peak_memory_bytes;
pub use plan::{Choice, Plan, Way, plan};
pub use rehearsal::Needs;
pub use run::{RunOptions, run};
pub use splits::data_fingerprint;
pub use step::{StepOptions, Stepped, step};
