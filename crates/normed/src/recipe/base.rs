//! The base model of a recipe: loaded, or new.

use std::path::Path;

use super::{Base, InitSpec, LlavaInit, MissInit, Recipe, Vocab};
use crate::data::{Collator, Tokenizer, phantom};
use crate::files::{TOKENIZER_LIMIT, read_text};
use crate::hub::shared_name;
use crate::models::{
    self, ClipConfig, LanguageSizes, LoadOverrides, LoadedModel, ModelConfig, NewLlava, NewMiss,
    TextSizes, UnloadedModel, VitConfig,
};
use crate::tensor::Parameters;
use crate::{Error, Result};

impl Base {
    /// The name of the model without its place: the name on the hub, or the directory's. None of a new model.
    pub fn name(&self) -> Option<String> {
        match self {
            Self::Model(path) => Some(shared_name(path)),
            Self::Init(_) => None,
        }
    }
}

impl Recipe {
    /// Loads the base model in the precision that its weights are stored in, or makes a new one.
    ///
    /// # Errors
    /// If the model cannot be read, or a new model cannot be made of these sizes.
    pub fn open_base(&self) -> Result<LoadedModel> {
        match &self.base {
            Base::Model(dir) => models::load_as_stored(dir, self.load_overrides()),
            Base::Init(InitSpec::Miss(init)) => self.new_miss(init)?.create(),
            Base::Init(InitSpec::Llava(init)) => self.new_llava(init).create(),
            Base::Init(InitSpec::From(init)) => {
                let loaded = models::load_as_stored(&init.from, self.load_overrides())?;
                can_be_saved(&*loaded.config, &loaded.params, &init.from)?;
                Ok(loaded)
            }
        }
    }

    /// The collator of training batches. Their reports are truncated to the length of generated ones.
    pub fn training_collator(&self, loaded: &LoadedModel) -> Collator {
        loaded.collator().with_max_report_tokens(self.generate.max_new_tokens)
    }

    /// The recipe's settings that replace those of the checkpoint.
    pub fn load_overrides(&self) -> LoadOverrides {
        LoadOverrides { image_size: self.image_size, template: self.template }
    }

    /// Declares the base model without loading its weights.
    ///
    /// # Errors
    /// If its config or tokenizer cannot be read.
    pub fn declare_base(&self) -> Result<UnloadedModel> {
        match &self.base {
            Base::Model(dir) => models::load_without_weights(dir, self.load_overrides()),
            Base::Init(InitSpec::Miss(init)) => self.new_miss(init)?.declare(),
            Base::Init(InitSpec::Llava(init)) => self.new_llava(init).declare(),
            Base::Init(InitSpec::From(init)) => {
                let declared = models::load_without_weights(&init.from, self.load_overrides())?;
                can_be_saved(&*declared.config, &declared.params, &init.from)?;
                Ok(declared)
            }
        }
    }

    /// The new MISS that `[init]` describes. Settings without a key are those of BLIP's ViT and BERT.
    fn new_miss<'a>(&self, init: &'a MissInit) -> Result<NewMiss<'a>> {
        let (vision, text) = (&init.vision, &init.text);
        Ok(NewMiss {
            vision: VitConfig {
                hidden_size: vision.hidden_size,
                intermediate_size: vision.intermediate_size,
                num_hidden_layers: vision.num_hidden_layers,
                num_attention_heads: vision.num_attention_heads,
                patch_size: vision.patch_size,
                ..VitConfig::base(vision.image_size)
            },
            text: TextSizes {
                hidden_size: text.hidden_size,
                intermediate_size: text.intermediate_size,
                num_hidden_layers: text.num_hidden_layers,
                num_attention_heads: text.num_attention_heads,
                max_position_embeddings: text.max_position_embeddings,
            },
            tokenizer: tokenizer(&init.vocab)?,
            text_from: init.text_from.as_deref(),
            vision_from: init.vision_from.as_deref(),
            seed: self.seed,
        })
    }

    /// The new LLaVA that `[init]` describes. Settings without a key are those of LLaVA-Med 1.5.
    fn new_llava<'a>(&self, init: &'a LlavaInit) -> NewLlava<'a> {
        let (vision, language) = (&init.vision, &init.language);
        NewLlava {
            vision: ClipConfig {
                hidden_size: vision.hidden_size,
                intermediate_size: vision.intermediate_size,
                num_hidden_layers: vision.num_hidden_layers,
                num_attention_heads: vision.num_attention_heads,
                patch_size: vision.patch_size,
                ..ClipConfig::large(vision.image_size)
            },
            language: LanguageSizes {
                model_type: language.model_type,
                hidden_size: language.hidden_size,
                intermediate_size: language.intermediate_size,
                num_hidden_layers: language.num_hidden_layers,
                num_attention_heads: language.num_attention_heads,
                num_key_value_heads: language.num_key_value_heads,
                max_position_embeddings: language.max_position_embeddings,
                tie_word_embeddings: language.tie_word_embeddings,
            },
            tokenizer: &init.tokenizer,
            seed: self.seed,
        }
    }
}

/// Fails if a run could not save the whole model after training it.
fn can_be_saved(config: &dyn ModelConfig, params: &Parameters, dir: &Path) -> Result<()> {
    config.to_hugging_face()?;
    match params.iter().find_map(|(_, p)| p.quantization()) {
        None => Ok(()),
        Some(done) => Err(Error::invalid(dir.display(), format!("is quantized to {done}"))
            .with_remedy("train the model before quantization")),
    }
}

fn tokenizer(vocab: &Vocab) -> Result<Tokenizer> {
    match vocab {
        Vocab::Phantom => {
            let words = phantom::vocabulary().join("\n") + "\n";
            Tokenizer::from_words(Path::new("the vocabulary of the phantom data set"), &words)
        }
        Vocab::At(path) if path.is_dir() => Tokenizer::open(path),
        Vocab::At(path) => {
            let words = read_text(path, TOKENIZER_LIMIT)?;
            Tokenizer::from_words(path, &words)
        }
    }
}
