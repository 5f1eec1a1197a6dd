//! A language model's configuration: the keys of transformers' `LlamaConfig` and `MistralConfig`.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::rope::RopeConfig;
use crate::models::activation_names::{activation_name, read_activation};
use crate::models::config_keys::{ConfigKeys, check_multiple, check_rates, check_sizes};
use crate::nn::{AttentionShape, LlamaBlockConfig};
use crate::ops::Activation;
use crate::{Error, Result};

/// The kind of a language model. Absent config keys have different defaults in each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LlamaKind {
    /// LLaMA.
    Llama,
    /// Mistral.
    Mistral,
}

impl LlamaKind {
    /// The value of `model_type`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Mistral => "mistral",
        }
    }
}

/// The configuration of a language model.
#[derive(Debug, Clone, PartialEq)]
pub struct LlamaConfig {
    /// LLaMA or Mistral, which decides the keys of the file and their defaults.
    pub model_type: LlamaKind,
    /// Rows of the embedding table; the tokenizer may have fewer tokens.
    pub vocab_size: usize,
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
    /// Width of a head.
    pub head_dim: usize,
    /// The context length that the file states. See [`LlamaConfig::positions`].
    pub max_position_embeddings: usize,
    /// Epsilon of the norms.
    pub rms_norm_eps: f64,
    /// The rotary embedding of positions.
    pub rope_parameters: RopeConfig,
    /// A token attends only to the last tokens, this many, itself included; to all if absent.
    pub sliding_window: Option<usize>,
    /// Whether the prediction head is the embedding table.
    pub tie_word_embeddings: bool,
    /// Whether the attention's linear layers have biases.
    pub attention_bias: bool,
    /// Whether the feed-forward networks' linear layers have biases.
    pub mlp_bias: bool,
    /// The activation inside the feed-forward networks.
    pub hidden_act: Activation,
    /// Dropout rate of attention probabilities.
    pub attention_dropout: f64,
    /// The first token of a text.
    pub bos_token_id: Option<u32>,
    /// The tokens that end an answer.
    pub eos_token_id: Vec<u32>,
    /// Fills short rows.
    pub pad_token_id: Option<u32>,
}

impl LlamaConfig {
    /// Reads the keys of a config of this kind; absent keys take its defaults.
    ///
    /// # Errors
    /// If a key has a value that is not supported.
    pub(in crate::models) fn read(keys: &ConfigKeys, kind: LlamaKind) -> Result<Self> {
        let mistral = kind == LlamaKind::Mistral;
        let pick = |of_llama, of_mistral| if mistral { of_mistral } else { of_llama };
        let hidden_size = keys.get_or("hidden_size", 4096)?;
        let num_attention_heads: usize = keys.get_or("num_attention_heads", 32)?;
        let kv_heads = pick(num_attention_heads, 8);
        let head_dim = hidden_size / num_attention_heads.max(1);
        let max_position_embeddings =
            keys.get_or("max_position_embeddings", pick(2048, 4096 * 32))?;
        let sliding_window = match (mistral, keys.has("sliding_window")) {
            (true, true) => keys.get("sliding_window")?,
            (true, false) => Some(4096),
            (false, _) => None,
        };
        // In old files a pad token of -1 means none.
        let token = |key| -> Result<Option<u32>> {
            Ok(keys.get::<i64>(key)?.and_then(|id| u32::try_from(id).ok()))
        };
        Ok(Self {
            model_type: kind,
            vocab_size: keys.get_or("vocab_size", 32_000)?,
            hidden_size,
            intermediate_size: keys.get_or("intermediate_size", pick(11_008, 14_336))?,
            num_hidden_layers: keys.get_or("num_hidden_layers", 32)?,
            num_attention_heads,
            num_key_value_heads: keys.get_or("num_key_value_heads", kv_heads)?,
            head_dim: keys.get_or("head_dim", head_dim)?,
            max_position_embeddings,
            rms_norm_eps: keys.get_or("rms_norm_eps", 1e-6)?,
            rope_parameters: RopeConfig::read(keys, max_position_embeddings)?,
            sliding_window,
            tie_word_embeddings: keys.get_or("tie_word_embeddings", false)?,
            attention_bias: !mistral && keys.get_or("attention_bias", false)?,
            mlp_bias: !mistral && keys.get_or("mlp_bias", false)?,
            hidden_act: read_activation(keys, "hidden_act", Activation::Silu)?,
            attention_dropout: keys.get_or("attention_dropout", 0.0)?,
            bos_token_id: if keys.has("bos_token_id") { token("bos_token_id")? } else { Some(1) },
            eos_token_id: keys.token_ids("eos_token_id")?.unwrap_or_else(|| vec![2]),
            pad_token_id: token("pad_token_id")?,
        })
    }

    /// The config as transformers writes it.
    pub(in crate::models) fn to_json(&self) -> Value {
        let mut json = json!({
            "model_type": self.model_type.name(),
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.num_hidden_layers,
            "num_attention_heads": self.num_attention_heads,
            "num_key_value_heads": self.num_key_value_heads,
            "head_dim": self.head_dim,
            "hidden_act": activation_name(self.hidden_act),
            "max_position_embeddings": self.max_position_embeddings,
            "rms_norm_eps": self.rms_norm_eps,
            "rope_parameters": self.rope_parameters.to_json(),
            "tie_word_embeddings": self.tie_word_embeddings,
            "attention_dropout": self.attention_dropout,
            "bos_token_id": self.bos_token_id,
            "eos_token_id": match self.eos_token_id.as_slice() {
                [one] => json!(one),
                several => json!(several),
            },
            "pad_token_id": self.pad_token_id,
        });
        match self.model_type {
            LlamaKind::Llama => {
                json["attention_bias"] = json!(self.attention_bias);
                json["mlp_bias"] = json!(self.mlp_bias);
            }
            LlamaKind::Mistral => json["sliding_window"] = json!(self.sliding_window),
        }
        json
    }

    /// Checks that a language model of these sizes can exist; `place` names the config file in errors.
    ///
    /// # Errors
    /// If a size or a rate is out of range, sizes do not divide as they must, or a token id is outside the
    /// vocabulary.
    pub(in crate::models) fn check(&self, place: &str) -> Result<()> {
        let place = &format!("{place}: text_config");
        check_sizes(
            place,
            &[
                ("vocab_size", self.vocab_size, 1 << 24),
                ("hidden_size", self.hidden_size, 1 << 16),
                ("intermediate_size", self.intermediate_size, 1 << 20),
                ("num_hidden_layers", self.num_hidden_layers, 1000),
                ("num_attention_heads", self.num_attention_heads, 1 << 16),
                ("num_key_value_heads", self.num_key_value_heads, 1 << 16),
                ("head_dim", self.head_dim, 1 << 12),
                ("max_position_embeddings", self.max_position_embeddings, 1 << 20),
                ("sliding_window", self.sliding_window.unwrap_or(1), usize::MAX),
            ],
        )?;
        let kv_heads = ("num_key_value_heads", self.num_key_value_heads);
        check_multiple(place, ("num_attention_heads", self.num_attention_heads), kv_heads)?;
        check_multiple(place, ("head_dim", self.head_dim), ("the number of halves", 2))?;
        let eps = ("rms_norm_eps", self.rms_norm_eps);
        check_rates(place, eps, &[("attention_dropout", self.attention_dropout)])?;
        if self.eos_token_id.is_empty() {
            return Err(Error::invalid(
                place,
                "eos_token_id names no token, so that no answer would end",
            ));
        }
        let ids = self.eos_token_id.iter().chain(&self.bos_token_id).chain(&self.pad_token_id);
        match ids.copied().find(|&id| id as usize >= self.vocab_size) {
            None => Ok(()),
            Some(id) => {
                let cause = format!("token {id} is outside a vocabulary of {}", self.vocab_size);
                Err(Error::invalid(place, cause))
            }
        }
    }

    /// The number of positions that a sequence can have.
    pub fn positions(&self) -> usize {
        self.rope_parameters.positions(self.max_position_embeddings)
    }

    /// The sizes of a block.
    pub fn block_config(&self) -> LlamaBlockConfig {
        LlamaBlockConfig {
            hidden: self.hidden_size,
            intermediate: self.intermediate_size,
            heads: AttentionShape {
                heads: self.num_attention_heads,
                kv_heads: self.num_key_value_heads,
                dim: self.head_dim,
                causal: true,
                window: self.sliding_window,
            },
            eps: self.rms_norm_eps as f32,
            attention_bias: self.attention_bias,
            mlp_bias: self.mlp_bias,
            activation: self.hidden_act,
        }
    }
}
