//! Predictions in, numbers out. Nothing here knows of tensors or models.
//!
//! - [`protocol`]: when two answers are the same, and how much they share;
//! - [`Metric`]: what is counted, over which questions;
//! - [`Constants`]: the best that an answerer who never looks can do;
//! - [`Scores`]: every metric of a set of predictions, each with its interval and constant;
//! - [`Comparison`]: two sets of predictions of the same examples;
//! - [`mcnemar`], [`paired_bootstrap`], [`holm`]: whether two sets can be told apart.

mod bootstrap;
mod comparison;
mod constants;
mod metric;
mod paired;
mod predictions;
pub mod protocol;
mod scores;
#[cfg(test)]
pub(crate) mod toy;

pub use bootstrap::Interval;
pub use comparison::{Comparison, Difference, compare};
pub use constants::{Constant, Constants, ConstantsFrom};
pub use metric::Metric;
pub use paired::{holm, mcnemar, paired_bootstrap};
pub use predictions::{Prediction, read_predictions, write_predictions};
pub use scores::{Row, Score, Scores, score};
