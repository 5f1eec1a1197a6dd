//! The configuration of a LLaVA model.

use crate::models::towers::{ClipConfig, LlamaConfig, ProjectorKind};
use crate::ops::Activation;
use crate::{Error, Result};

/// The configuration of a whole model. Fields carry the names of transformers' `LlavaConfig`, or those of
/// LLaVA's own (`mm_..`) where transformers has none.
#[derive(Debug, Clone, PartialEq)]
pub struct LlavaConfig {
    /// The config of the image encoder.
    pub vision_config: ClipConfig,
    /// The config of the language model.
    pub text_config: LlamaConfig,
    /// The projector between them.
    pub mm_projector_type: ProjectorKind,
    /// The activation between the projector's layers.
    pub projector_hidden_act: Activation,
    /// Whether the projector's layers have biases.
    pub multimodal_projector_bias: bool,
    /// The numbers of the image encoder's blocks after which the language model reads states, side by side where
    /// there are several. (Files may count from the end; these are counted from the start.)
    pub vision_feature_layers: Vec<usize>,
    /// Which of those states the language model reads.
    pub vision_feature_select_strategy: FeatureSelect,
    /// The token that stands for an image in texts of Hugging Face's layout; LLaVA's own has none.
    pub image_token_index: Option<u32>,
    /// The name or directory of the image encoder, which LLaVA's own layout may keep apart.
    pub mm_vision_tower: Option<String>,
}

/// Which states of an image the language model reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeatureSelect {
    /// The states of the patches.
    Default,
    /// The states of the class token and of the patches.
    Full,
}

impl FeatureSelect {
    /// The value of `vision_feature_select_strategy`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Full => "full",
        }
    }
}

impl LlavaConfig {
    /// Whether the language model reads the class token's state.
    pub fn keeps_class_token(&self) -> bool {
        self.vision_feature_select_strategy == FeatureSelect::Full
    }

    /// The width of an image's states, which the projector reads.
    pub fn feature_width(&self) -> usize {
        self.vision_config.hidden_size * self.vision_feature_layers.len()
    }

    /// The number of states of an image. Each takes a position in the prompt.
    pub fn image_tokens(&self) -> usize {
        self.vision_config.num_patches() + usize::from(self.keeps_class_token())
    }

    /// Checks both parts, and that an image fits into the context; `place` names the config file in errors.
    pub(super) fn check_parts(&self, place: &str) -> Result<()> {
        self.vision_config.check(place)?;
        self.text_config.check(place)?;
        let (tokens, positions) = (self.image_tokens(), self.text_config.positions());
        if tokens >= positions {
            let cause =
                format!("an image takes {tokens} of the language model's {positions} positions");
            return Err(Error::invalid(place, cause).with_remedy(
                "max_position_embeddings must leave room for a question and its answer",
            ));
        }
        Ok(())
    }
}
