//! The model that a run starts from: read, or made.

use std::path::Path;

use super::{Base, InitSpec, LlavaInit, MissInit, Recipe, Vocab};
use crate::data::{Collator, Tokenizer, phantom};
use crate::files::{TOKENIZER_LIMIT, read_text};
use crate::models::{
    self, ClipConfig, LlamaConfig, LlavaConfig, LoadOverrides, LoadedModel, MissConfig,
    ModelConfig, NewMiss, ProjectorKind, RopeConfig, RopeScaling, TextConfig, UnloadedModel,
    VisionConfig,
};
use crate::tensor::Parameters;
use crate::{Error, Result};

impl Recipe {
    /// Reads the base model, its weights in the precision that they are stored in, or makes it.
    pub fn open_base(&self) -> Result<LoadedModel> {
        match &self.base {
            Base::Model(dir) => models::load_as_stored(dir, self.load_overrides()),
            Base::Init(InitSpec::Miss(init)) => models::create(NewMiss {
                config: miss(init),
                tokenizer: tokenizer(&init.vocab)?,
                text_from: init.text_from.as_deref(),
                vision_from: init.vision_from.as_deref(),
                seed: self.seed,
            }),
            Base::Init(InitSpec::Llava(init)) => {
                models::create_llava(llava(init), &init.tokenizer, self.seed)
            }
            Base::Init(InitSpec::From(init)) => {
                let loaded = models::load_as_stored(&init.from, self.load_overrides())?;
                can_be_saved(&*loaded.config, &loaded.params, &init.from)?;
                Ok(loaded)
            }
        }
    }

    /// What makes batches for the model, its reports as long as they are generated.
    pub fn collator(&self, loaded: &LoadedModel) -> Collator {
        loaded.collator().with_longest_report(self.generate.max_new_tokens)
    }

    /// What the recipe overrides of the base model's own settings.
    pub fn load_overrides(&self) -> LoadOverrides {
        LoadOverrides { image_size: self.image_size, template: self.template }
    }

    /// The base model without its weights.
    pub fn declare_base(&self) -> Result<UnloadedModel> {
        match &self.base {
            Base::Model(dir) => models::load_without_weights(dir, self.load_overrides()),
            Base::Init(InitSpec::Miss(init)) => {
                models::declare_new(miss(init), tokenizer(&init.vocab)?)
            }
            Base::Init(InitSpec::Llava(init)) => {
                models::declare_new_llava(llava(init), &init.tokenizer)
            }
            Base::Init(InitSpec::From(init)) => {
                let declared = models::load_without_weights(&init.from, self.load_overrides())?;
                can_be_saved(&*declared.config, &declared.params, &init.from)?;
                Ok(declared)
            }
        }
    }
}

/// Fails where a run that trains this model could not save it whole.
fn can_be_saved(config: &dyn ModelConfig, params: &Parameters, dir: &Path) -> Result<()> {
    config.to_hugging_face()?;
    match params.iter().find_map(|(_, p)| p.quantization()) {
        None => Ok(()),
        Some(done) => Err(Error::invalid(dir.display(), format!("is quantised, to {done}"))
            .with_remedy("train the model that it was made of")),
    }
}

fn tokenizer(vocab: &Vocab) -> Result<Tokenizer> {
    match vocab {
        Vocab::Phantom => {
            let words = phantom::vocabulary().join("\n") + "\n";
            Tokenizer::from_words(Path::new("the phantom's vocabulary"), &words)
        }
        Vocab::At(path) if path.is_dir() => Tokenizer::open(path),
        Vocab::At(path) => {
            let words = read_text(path, TOKENIZER_LIMIT)?;
            Tokenizer::from_words(path, &words)
        }
    }
}

/// What a recipe does not say is as in BLIP's ViT and BERT.
fn miss(init: &MissInit) -> MissConfig {
    let (vision, text) = (&init.vision, &init.text);
    MissConfig {
        vision: VisionConfig {
            hidden_size: vision.hidden_size,
            intermediate_size: vision.intermediate_size,
            num_hidden_layers: vision.num_hidden_layers,
            num_attention_heads: vision.num_attention_heads,
            image_size: vision.image_size,
            patch_size: vision.patch_size,
            layer_norm_eps: 1e-6,
            attention_dropout: 0.0,
        },
        text: TextConfig {
            hidden_size: text.hidden_size,
            intermediate_size: text.intermediate_size,
            num_hidden_layers: text.num_hidden_layers,
            num_attention_heads: text.num_attention_heads,
            max_position_embeddings: text.max_position_embeddings,
            layer_norm_eps: 1e-12,
            hidden_dropout_prob: 0.1,
            attention_probs_dropout_prob: 0.1,
            // The tokenizer has the say.
            vocab_size: 0,
            bos_token_id: 0,
            sep_token_id: 0,
            pad_token_id: 0,
            question_token_id: 0,
            max_question_tokens: 0,
        },
    }
}

/// What a recipe does not say is as in LLaVA-Med 1.5.
fn llava(init: &LlavaInit) -> LlavaConfig {
    let (vision, language) = (&init.vision, &init.language);
    LlavaConfig {
        vision: ClipConfig {
            hidden_size: vision.hidden_size,
            intermediate_size: vision.intermediate_size,
            num_hidden_layers: vision.num_hidden_layers,
            num_attention_heads: vision.num_attention_heads,
            patch_size: vision.patch_size,
            ..ClipConfig::large(vision.image_size)
        },
        text: LlamaConfig {
            kind: language.model_type,
            hidden_size: language.hidden_size,
            intermediate_size: language.intermediate_size,
            num_hidden_layers: language.num_hidden_layers,
            num_attention_heads: language.num_attention_heads,
            num_key_value_heads: language.num_key_value_heads,
            head_dim: language.hidden_size / language.num_attention_heads,
            max_position_embeddings: language.max_position_embeddings,
            rms_norm_eps: 1e-5,
            rope: RopeConfig { rope_theta: 10_000.0, scaling: RopeScaling::Default },
            sliding_window: None,
            tie_word_embeddings: language.tie_word_embeddings,
            attention_bias: false,
            mlp_bias: false,
            attention_dropout: 0.0,
            // The tokenizer has the say.
            vocab_size: 0,
            bos_token_id: None,
            eos_token_ids: Vec::new(),
            pad_token_id: None,
        },
        projector: ProjectorKind::Mlp2xGelu,
        projector_bias: true,
        feature_layers: vision.num_hidden_layers - 1,
        with_class: false,
        // The tokenizer's.
        image_token_index: None,
        vision_tower: None,
    }
}
