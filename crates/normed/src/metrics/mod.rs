//! Scores predictions. Nothing here depends on tensors or models.
//!
//! - [`NormalizedAnswer`]: when two answers match, and how many tokens they share;
//! - [`Metric`]: what is measured, and over which examples;
//! - [`MajorityBaseline`]: the answers that score highest if given to every question;
//! - [`score`]: every metric of a set of predictions, with its interval and its baseline;
//! - [`Calibration`]: how well the confidence in yes/no answers agrees with their accuracy;
//! - [`compare`]: the difference between two sets of predictions of the same examples;
//! - [`mcnemar`], [`paired_bootstrap`], [`holm`]: whether such a difference is significant;
//! - [`Finding`]: what the scores of a test mean, as numbers and in sentences;
//! - [`score_protocols`]: the same answers scored by the protocols of different papers;
//! - [`score_captions`]: generated texts scored against references as by the COCO caption tools.

mod answer;
mod bootstrap;
mod calibration;
mod captions;
mod comparison;
mod finding;
mod finding_text;
mod majority;
mod metric;
mod predictions;
mod protocols;
mod ptb;
mod ratio;
mod reports;
mod scores;
mod significance;
mod sums;
#[cfg(test)]
pub(crate) mod test_predictions;
mod text_field;

pub use answer::{NormalizedAnswer, STRICT_PROTOCOL};
pub use bootstrap::Interval;
pub use calibration::{BINS, Calibration, CalibrationScore};
pub use captions::{
    Caption, CaptionMetric, CaptionScore, CaptionScores, MeteorData, read_captions, score_captions,
};
pub use comparison::{Comparison, Difference, compare, compare_metric};
pub use finding::{ClusterKind, Finding, PartFinding, PredictionSets, Reference, Relation};
pub use finding_text::{TestGap, describe_finding, describe_gap, describe_use_of_images};
pub use majority::{BaselineSource, MajorityAnswer, MajorityBaseline};
pub use metric::Metric;
pub use predictions::{
    ExampleAttributes, Prediction, Target, UnscoredPrediction, read_predictions, write_predictions,
};
pub use protocols::{
    AnsweredQuestion, Group, Protocol, ProtocolScore, ProtocolScores, read_answers,
    score_calibration, score_groups, score_protocols,
};
pub use scores::{Row, Score, Scores, metric_values, score};
pub use significance::{holm, mcnemar, paired_bootstrap};
