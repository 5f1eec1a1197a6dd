//! What a metric of a protocol is, and the texts that it compares.

use super::llava_med_words::LlavaMedWords;
use super::vqa_words;
use crate::metrics::answer::NormalizedAnswer;

/// A metric of a protocol.
pub(super) struct ProtocolMetric {
    pub name: &'static str,
    /// Whether it counts a question with this true answer; the second argument says whether the question
    /// is open.
    pub counts: fn(&AnswerTexts, bool) -> bool,
    /// The score of an answer given the true answer, 0 to 1.
    pub credit: fn(&AnswerTexts, &AnswerTexts) -> f64,
}

/// An answer as written, and as each protocol normalizes it.
#[derive(Debug, Clone)]
pub(super) struct AnswerTexts {
    pub written: String,
    pub strict: NormalizedAnswer,
    pub llava_med: LlavaMedWords,
    pub vqa: String,
}

impl AnswerTexts {
    pub fn new(written: &str) -> Self {
        Self {
            written: written.to_owned(),
            strict: NormalizedAnswer::new(written),
            llava_med: LlavaMedWords::new(written),
            vqa: vqa_words::normalize(written),
        }
    }
}
