//! Predictions in, numbers out. Nothing here knows of tensors or models.
//!
//! - [`protocol`]: when two answers are the same, and how much they share;
//! - [`Metric`]: what is counted, over which questions;
//! - [`Constants`]: the best that an answerer who never looks can do;
//! - [`Scores`]: every metric of a set of predictions, each with its interval and constant;
//! - [`Calibration`]: how far certainty about yes and no can be trusted;
//! - [`Comparison`]: two sets of predictions of the same examples;
//! - [`score_protocols`]: the same answers under the rules of different papers;
//! - [`score_captions`]: generated texts against references, as the COCO caption tools; `reports` are scored
//!   by it wherever answers are by their own metrics;
//! - [`mcnemar`], [`paired_bootstrap`], [`holm`]: whether two sets can be told apart.

mod bootstrap;
mod calibration;
mod captions;
mod comparison;
mod constants;
mod metric;
mod paired;
mod predictions;
pub mod protocol;
mod protocols;
mod ptb;
mod reports;
mod scores;
#[cfg(test)]
pub(crate) mod toy;

pub use bootstrap::Interval;
pub use calibration::{Calibration, CalibrationScore};
pub use captions::{
    Caption, CaptionMetric, CaptionScore, CaptionScores, MeteorData, read_captions, score_captions,
};
pub use comparison::{Comparison, Difference, compare};
pub use constants::{Constant, Constants, ConstantsFrom};
pub use metric::Metric;
pub use paired::{holm, mcnemar, paired_bootstrap};
pub use predictions::{About, Prediction, read_predictions, write_predictions};
pub use protocols::{
    Answered, Group, Protocol, ProtocolScore, ProtocolScores, read_answers, score_calibration,
    score_groups, score_protocols,
};
pub use scores::{Row, Score, Scores, score, values_of};
