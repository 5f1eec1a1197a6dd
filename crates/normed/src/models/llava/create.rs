//! A new LLaVA, with weights drawn from a seed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::config::{FeatureSelect, LlavaConfig};
use crate::data::{ImagePlaceholder, PromptRule, PromptSpec, Tokenizer};
use crate::models::init::{hash_parameters, initialize};
use crate::models::load::{LoadedModel, UnloadedModel};
use crate::models::model::Layout;
use crate::models::model_config::ModelConfig;
use crate::models::square_processor::{Fit, SquareProcessor};
use crate::models::towers::{
    ClipConfig, LlamaConfig, LlamaKind, ProjectorKind, RopeConfig, RopeScaling,
};
use crate::ops::Activation;
use crate::tensor::Parameters;
use crate::{Error, Result};

/// The token that stands for an image, and the tokens at the ends of a text if no file names them.
const IMAGE: &str = "<image>";
const BEGIN: &str = "<s>";
const END: &str = "</s>";

/// What a new LLaVA is made of.
pub struct NewLlava<'a> {
    /// The image encoder's config. The language model reads the states before its last block, without the
    /// class token's.
    pub vision: ClipConfig,
    /// The language model's sizes.
    pub language: LanguageSizes,
    /// A directory with a tokenizer, to which `<image>` is appended if it lacks it. It says the size of the
    /// vocabulary and the ids of special tokens; prompts are made with its chat template, or else with the
    /// usual one of the language model's kind.
    pub tokenizer: &'a Path,
    /// The seed of the weights.
    pub seed: u64,
}

/// The sizes of the language model of a new LLaVA, under Hugging Face's names. Everything else is as in
/// LLaVA-Med 1.5.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LanguageSizes {
    /// LLaMA or Mistral.
    pub model_type: LlamaKind,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width inside the feed-forward networks.
    pub intermediate_size: usize,
    /// Number of blocks.
    pub num_hidden_layers: usize,
    /// Query heads of each block.
    pub num_attention_heads: usize,
    /// Key and value heads of each block.
    pub num_key_value_heads: usize,
    /// Positions of the longest sequence.
    pub max_position_embeddings: usize,
    /// Whether the prediction head is the embedding table.
    pub tie_word_embeddings: bool,
}

impl NewLlava<'_> {
    /// Makes the model, in Hugging Face's layout, every weight drawn as [`initialize`] does it. Images that
    /// are not square are padded, as by LLaVA-Med 1.5.
    ///
    /// # Errors
    /// If no model can have these sizes, or if the tokenizer cannot be read or names no end of a text.
    pub fn create(self) -> Result<LoadedModel> {
        let seed = self.seed;
        let mut model = self.declare()?;
        initialize(&mut model.params, seed);
        let hash = hash_parameters(&model.params);
        Ok(model.into_loaded(PathBuf::new(), hash.into()))
    }

    /// The model without weights.
    ///
    /// # Errors
    /// As [`NewLlava::create`].
    pub fn declare(self) -> Result<UnloadedModel> {
        let dir = self.tokenizer;
        let mut tokenizer = Tokenizer::open_causal(dir)?;
        let image = match tokenizer.id(IMAGE) {
            Some(id) => id,
            None => u32::try_from(tokenizer.len()).map_err(|e| Error::invalid(IMAGE, e))?,
        };
        tokenizer.add_special(IMAGE, image)?;
        let config = self.complete_config(&tokenizer, image)?;
        let text = &config.text_config;
        let spec = PromptSpec {
            template: None,
            language_model: text.model_type.name().to_owned(),
            image: ImagePlaceholder::Token(image),
            context: text.positions(),
            eos_token_ids: text.eos_token_id.clone(),
            pad_token_id: text.pad_token_id,
        };
        let text_rule = PromptRule::open(dir, &tokenizer, spec)?.into();
        let mut params = Parameters::new();
        let model = ModelConfig::declare(&config, &mut params);
        Ok(UnloadedModel {
            model,
            params,
            tokenizer: Arc::new(tokenizer),
            image_processor: Arc::new(SquareProcessor {
                size: config.vision_config.image_size,
                num_tokens: config.image_tokens(),
                fit: Fit::Pad,
                ..SquareProcessor::clip()
            }),
            text_rule,
            config: Box::new(config),
            layout: Layout::HuggingFace,
        })
    }

    /// The config of a model of these sizes for this tokenizer, in which `image` stands for an image.
    fn complete_config(self, tokenizer: &Tokenizer, image: u32) -> Result<LlavaConfig> {
        let (sizes, named) = (self.language, tokenizer.special_token_ids().clone());
        let end = named.eos.or_else(|| tokenizer.id(END)).ok_or_else(|| {
            let cause = format!("names no eos_token, and has no `{END}`");
            Error::invalid(self.tokenizer.display(), cause)
        })?;
        let text_config = LlamaConfig {
            model_type: sizes.model_type,
            vocab_size: tokenizer.len(),
            hidden_size: sizes.hidden_size,
            intermediate_size: sizes.intermediate_size,
            num_hidden_layers: sizes.num_hidden_layers,
            num_attention_heads: sizes.num_attention_heads,
            num_key_value_heads: sizes.num_key_value_heads,
            head_dim: sizes.hidden_size / sizes.num_attention_heads.max(1),
            max_position_embeddings: sizes.max_position_embeddings,
            rms_norm_eps: 1e-5,
            rope_parameters: RopeConfig { rope_theta: 10_000.0, scaling: RopeScaling::Default },
            sliding_window: None,
            tie_word_embeddings: sizes.tie_word_embeddings,
            attention_bias: false,
            mlp_bias: false,
            hidden_act: Activation::Silu,
            attention_dropout: 0.0,
            bos_token_id: named.bos.or_else(|| tokenizer.id(BEGIN)),
            eos_token_id: vec![end],
            pad_token_id: named.pad,
        };
        let config = LlavaConfig {
            vision_feature_layers: vec![self.vision.num_hidden_layers.saturating_sub(1)],
            vision_config: self.vision,
            text_config,
            mm_projector_type: ProjectorKind::Mlp2xGelu,
            projector_hidden_act: Activation::Gelu,
            multimodal_projector_bias: true,
            vision_feature_select_strategy: FeatureSelect::Default,
            image_token_index: Some(image),
            mm_vision_tower: None,
        };
        config.check("init")?;
        Ok(config)
    }
}
