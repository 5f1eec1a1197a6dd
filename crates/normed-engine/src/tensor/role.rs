//! Roles: what a parameter is for, stated by the layer that declares it.
//!
//! A [`Role`] names the tower, the block, the module and whether the parameter is a weight or a bias.
//! Tuning methods select parameters by role. Nothing is ever decided by a substring of a name:
//! `"attention" in name` also matches the LayerNorm next to an attention.
//!
//! The vocabulary is that of transformer-based vision-language models. The engine computes nothing
//! with it; it only uses [`Role::is_matmul_operand`] and [`Role::is_linear_weight`] to choose the
//! [`Precision`](super::Precision) in which a frozen weight is stored.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The tower of a vision-language model that a parameter belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tower {
    /// The image encoder.
    Vision,
    /// The layers that map the image encoder's states to a language model's embeddings.
    Projector,
    /// The question encoder, with cross-attention to the image.
    Text,
    /// The answer decoder, or the whole language model of a decoder-only model.
    Decoder,
}

impl Tower {
    /// Every tower, in the order of a table's columns.
    pub const ALL: [Tower; 4] = [Tower::Vision, Tower::Projector, Tower::Text, Tower::Decoder];

    /// The name in recipes and tables.
    pub fn name(self) -> &'static str {
        match self {
            Tower::Vision => "vision",
            Tower::Projector => "projector",
            Tower::Text => "text",
            Tower::Decoder => "decoder",
        }
    }
}

impl fmt::Display for Tower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The position of a norm in its tower.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NormPosition {
    /// After the embeddings.
    Embedding,
    /// Before (pre-norm) or after (post-norm) self-attention.
    Attention,
    /// After cross-attention.
    CrossAttention,
    /// Before (pre-norm) or after (post-norm) the feed-forward network.
    Ffn,
    /// After the tower's last block.
    Final,
    /// Inside the prediction head.
    Head,
}

impl NormPosition {
    /// Every position, from a tower's input to its output.
    pub const ALL: [NormPosition; 6] = [
        NormPosition::Embedding,
        NormPosition::Attention,
        NormPosition::CrossAttention,
        NormPosition::Ffn,
        NormPosition::Final,
        NormPosition::Head,
    ];

    /// The name in recipes and tables.
    pub fn name(self) -> &'static str {
        match self {
            NormPosition::Embedding => "embedding",
            NormPosition::Attention => "attention",
            NormPosition::CrossAttention => "cross_attention",
            NormPosition::Ffn => "ffn",
            NormPosition::Final => "final",
            NormPosition::Head => "head",
        }
    }
}

/// A linear projection of an attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AttentionProjection {
    /// Queries.
    Query,
    /// Keys.
    Key,
    /// Values.
    Value,
    /// Queries, keys and values, stacked in one matrix.
    QueryKeyValue,
    /// The output projection.
    Output,
}

/// What an embedding embeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EmbeddingKind {
    /// Tokens: a lookup table `[vocabulary, C]`.
    Token,
    /// Positions: a lookup table.
    Position,
    /// Image patches: the kernel of a convolution.
    Patch,
    /// The class token: one vector.
    Class,
}

/// The module (layer) that a parameter belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Module {
    /// A LayerNorm or an RMSNorm.
    Norm(NormPosition),
    /// A projection of self-attention.
    Attention(AttentionProjection),
    /// A projection of cross-attention.
    CrossAttention(AttentionProjection),
    /// The first projection of a feed-forward network.
    Fc1,
    /// The second projection of a feed-forward network.
    Fc2,
    /// The projection of a gated feed-forward network whose output goes through the activation.
    Gate,
    /// The projection of a gated feed-forward network that is multiplied by the gate.
    Up,
    /// The output projection of a gated feed-forward network.
    Down,
    /// A layer between the image encoder and a language model.
    Projector,
    /// An embedding.
    Embedding(EmbeddingKind),
    /// The prediction head.
    Head,
    /// A parameter that a tuning method added; see [`plug`](super::Plug).
    Added(AddedKind),
}

/// A kind of parameter that a tuning method adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AddedKind {
    /// LoRA's first matrix, `A`.
    LoraA,
    /// LoRA's second matrix, `B`.
    LoraB,
    /// DoRA's magnitude vector.
    Magnitude,
    /// IA3's scaling vector.
    Ia3,
    /// The virtual tokens of prefix tuning.
    PrefixTable,
    /// A layer of the network that turns virtual tokens into keys and values.
    PrefixProjection,
    /// The virtual tokens of prompt tuning.
    Prompt,
    /// A layer of a bottleneck adapter.
    Bottleneck,
}

/// Whether a parameter is a weight or a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ParamKind {
    /// A matrix, an embedding table, or a norm's gain.
    Weight,
    /// A bias, which is added.
    Bias,
}

/// What a parameter is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Role {
    /// The tower it belongs to.
    pub tower: Tower,
    /// The block, counted from 0; `None` outside the blocks.
    pub layer: Option<usize>,
    /// The module it belongs to.
    pub module: Module,
    /// Weight or bias.
    pub kind: ParamKind,
}

impl Role {
    /// Whether it is a factor of matrix products: a linear layer's weight, a convolution's kernel, or
    /// a token embedding, which a prediction head may share.
    pub fn is_matmul_operand(&self) -> bool {
        use EmbeddingKind::{Patch, Token};
        let matrix = matches!(
            self.module,
            Module::Attention(_)
                | Module::CrossAttention(_)
                | Module::Fc1
                | Module::Fc2
                | Module::Gate
                | Module::Up
                | Module::Down
                | Module::Projector
                | Module::Head
                | Module::Embedding(Token | Patch)
        );
        matrix && self.kind == ParamKind::Weight
    }

    /// Whether it is the weight of a linear layer or the kernel of a convolution: read by matrix
    /// products alone, never by a row lookup.
    pub fn is_linear_weight(&self) -> bool {
        self.is_matmul_operand() && !self.is_token_embedding()
    }

    /// Whether it is the weight of a self-attention's key projection. False for a stacked
    /// query-key-value matrix.
    pub fn is_key_weight(&self) -> bool {
        let key = self.module == Module::Attention(AttentionProjection::Key);
        key && self.kind == ParamKind::Weight
    }

    /// Whether it is a tower's token embedding.
    pub fn is_token_embedding(&self) -> bool {
        self.module == Module::Embedding(EmbeddingKind::Token)
    }

    /// Whether it is the last weight of a self-attention or of a feed-forward network.
    pub fn is_sublayer_output(&self) -> bool {
        let output = matches!(
            self.module,
            Module::Attention(AttentionProjection::Output) | Module::Fc2 | Module::Down
        );
        output && self.kind == ParamKind::Weight
    }

    /// Whether quantizing a model quantizes this parameter: the weights of linear layers, but for the
    /// prediction head and the embeddings.
    pub fn is_quantizable(&self) -> bool {
        self.is_matmul_operand() && !matches!(self.module, Module::Embedding(_) | Module::Head)
    }
}
