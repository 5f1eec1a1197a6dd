//! Generated texts scored against reference texts as the COCO caption tools (`pycocoevalcap` 1.2) do:
//! the same tokens and the same scores, without Java.

mod bleu;
mod caption;
mod cider;
mod meteor;
mod metric;
mod rouge;
mod score;
mod sums;
mod text;

pub use caption::{Caption, read_captions};
pub use meteor::MeteorData;
pub use metric::CaptionMetric;
pub use score::{CaptionScore, CaptionScores, score_captions};
pub(super) use sums::{CaptionSums, caption_sums};
