//! The model that a run starts from: read, or made.

use std::path::Path;

use super::{Base, InitSpec, Recipe, Vocab};
use crate::data::{Tokenizer, phantom};
use crate::models::{
    self, Asked, Beginning, Declared, Loaded, MissConfig, TextConfig, VisionConfig,
};
use crate::{Error, Result};

impl Recipe {
    /// Reads the base model, its weights in the precision that they are stored in, or makes it.
    pub fn open_base(&self) -> Result<Loaded> {
        match &self.base {
            Base::Model(dir) => models::load_as_stored(dir, self.asked()),
            Base::Init(init) => models::create(Beginning {
                config: config(init),
                tokenizer: tokenizer(&init.vocab)?,
                text_from: init.text_from.as_deref(),
                vision_from: init.vision_from.as_deref(),
                seed: self.seed,
            }),
        }
    }

    /// What is asked of the base model otherwise than its checkpoint says.
    pub fn asked(&self) -> Asked {
        Asked { image_size: self.image_size, template: self.template }
    }

    /// The base model without its weights.
    pub fn declare_base(&self) -> Result<Declared> {
        match &self.base {
            Base::Model(dir) => models::declare(dir, self.asked()),
            Base::Init(init) => models::declare_new(config(init), tokenizer(&init.vocab)?),
        }
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
            let words = std::fs::read_to_string(path).map_err(|e| Error::io(path, &e))?;
            Tokenizer::from_words(path, &words)
        }
    }
}

/// What a recipe does not say is as in BLIP's ViT and BERT.
fn config(init: &InitSpec) -> MissConfig {
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
