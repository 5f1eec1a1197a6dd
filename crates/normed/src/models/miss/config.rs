//! The configuration of a MISS model.

use crate::Result;
use crate::data::QuestionRule;
use crate::models::towers::{BertConfig, VitConfig};

/// The configuration of a whole model. The text encoder cross-attends to states as wide as the vision
/// tower's, the decoder to states as wide as the text encoder's.
#[derive(Debug, Clone, PartialEq)]
pub struct MissConfig {
    /// The config of the image encoder.
    pub vision_config: VitConfig,
    /// The config that the text encoder and the decoder share.
    pub text_config: BertConfig,
}

impl MissConfig {
    /// Checks both parts; `place` names the config file in errors.
    pub(super) fn check_parts(&self, place: &str) -> Result<()> {
        self.vision_config.check(place)?;
        self.text_config.check(place)
    }

    /// How questions and answers become token ids.
    pub fn text_rule(&self) -> QuestionRule {
        let text = &self.text_config;
        QuestionRule {
            question_start: text.question_token_id,
            decoder_start: text.bos_token_id,
            end: text.sep_token_id,
            pad: text.pad_token_id,
            max_question_tokens: text.max_question_tokens,
            max_answer_tokens: text.max_position_embeddings,
        }
    }
}
