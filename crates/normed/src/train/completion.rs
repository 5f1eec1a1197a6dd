//! How a task ends that can be stopped on request.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::{Error, Result};

/// The end of a task that can be stopped on request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completion<T> {
    /// The task ran to its end, with this result.
    Finished(T),
    /// The task stopped on request before its end.
    Stopped,
}

impl<T> Completion<T> {
    /// The result, if the task ran to its end.
    pub fn finished(self) -> Option<T> {
        match self {
            Self::Finished(result) => Some(result),
            Self::Stopped => None,
        }
    }

    /// The result, or [`Interruption::Stopped`], which `?` hands to the caller.
    pub(super) fn or_interrupt(self) -> Result<T, Interruption> {
        self.finished().ok_or(Interruption::Stopped)
    }

    /// The completion of a task that ended with `result`.
    pub(super) fn of(result: Result<T, Interruption>) -> Result<Self> {
        match result {
            Ok(result) => Ok(Self::Finished(result)),
            Err(Interruption::Stopped) => Ok(Self::Stopped),
            Err(Interruption::Failed(error)) => Err(error),
        }
    }
}

/// Why a task did not run to its end. As the error of a `Result`, it lets `?` hand on both a request to
/// stop and a failure.
#[derive(Debug)]
pub(super) enum Interruption {
    /// The task was asked to stop.
    Stopped,
    /// The task failed.
    Failed(Error),
}

impl From<Error> for Interruption {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Whether a task goes on: [`ControlFlow::Break`] once `stop` is set.
pub(super) fn check_stop(stop: &AtomicBool) -> ControlFlow<()> {
    match stop.load(Ordering::Relaxed) {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    }
}

/// Ends a task with [`Interruption::Stopped`] once `stop` is set.
pub(super) fn interrupt_if(stop: &AtomicBool) -> Result<(), Interruption> {
    match check_stop(stop) {
        ControlFlow::Break(()) => Err(Interruption::Stopped),
        ControlFlow::Continue(()) => Ok(()),
    }
}
