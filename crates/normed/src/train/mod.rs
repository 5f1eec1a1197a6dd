//! The step, the run, evaluation, checkpoints.

mod evaluate;
mod event;
mod run;

pub use evaluate::evaluate;
pub use event::{Event, Outcome, Subject, TestScores};
pub use run::{RunOptions, run};
