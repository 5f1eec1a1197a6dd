//! The same answers scored by the protocols of different papers. Each score comes with its interval, the
//! majority-answer baseline, and the ceiling: the score of answers equal to the true ones.
//! docs/protocols.md describes the protocols.

mod answered;
mod llava_med;
mod llava_med_words;
mod metric;
mod miss;
mod protocol;
mod score;
mod strict;
mod vqa;
mod vqa_words;

pub use answered::{AnsweredQuestion, read_answers};
pub use protocol::Protocol;
pub use score::{
    Group, ProtocolScore, ProtocolScores, score_calibration, score_groups, score_protocols,
};
