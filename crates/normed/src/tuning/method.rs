//! The methods: what each is called, and which parameters of a model it trains.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Options;
use crate::tensor::{Module, ParamKind, Role};

/// The tuning methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Nothing.
    None,
    /// Everything.
    Full,
    /// The LayerNorms and RMSNorms: of embeddings, blocks, the tower's output and the head.
    LayerNorm,
    /// The projections of self- and cross-attention.
    Attention,
    /// The projections of the feed-forward networks, without the norms beside them.
    Ffn,
    /// All biases (Ben Zaken et al. 2021, arXiv 2106.10199), those of norms among them.
    #[serde(rename = "bitfit")]
    BitFit,
    /// Paths of low rank beside linear layers, which stay as they are.
    Lora,
    /// Factors of channels of linear layers, which stay as they are.
    Ia3,
    /// Keys and values before those of every self-attention.
    Prefix,
    /// The same without a network that makes them.
    #[serde(rename = "p_tuning_v2")]
    PTuningV2,
    /// Embeddings before those of a tower's tokens.
    Prompt,
    /// Small networks behind or beside attention and feed-forward networks.
    Adapter,
}

impl Method {
    /// Every method.
    pub const ALL: [Method; 12] = [
        Method::None,
        Method::Full,
        Method::LayerNorm,
        Method::Attention,
        Method::Ffn,
        Method::BitFit,
        Method::Lora,
        Method::Ia3,
        Method::Prefix,
        Method::PTuningV2,
        Method::Prompt,
        Method::Adapter,
    ];

    /// Whether the method trains such a parameter of the model.
    pub(super) fn trains(self, role: &Role, options: &Options) -> bool {
        match self {
            Self::None
            | Self::Lora
            | Self::Ia3
            | Self::Prefix
            | Self::PTuningV2
            | Self::Prompt
            | Self::Adapter => false,
            Self::Full => true,
            Self::LayerNorm => options.layer_norm.selects(role),
            Self::Attention => options.attention.selects(role),
            Self::Ffn => {
                matches!(
                    role.module,
                    Module::Fc1 | Module::Fc2 | Module::Gate | Module::Up | Module::Down
                )
            }
            Self::BitFit => role.kind == ParamKind::Bias,
        }
    }

    /// Whether the method plugs something into the layer that has such a parameter for its weight.
    pub(super) fn plugs_into(self, role: &Role, options: &Options) -> bool {
        let targets = match self {
            Self::Lora => &options.lora.targets,
            Self::Ia3 => &options.ia3.targets,
            Self::Prefix | Self::PTuningV2 => return role.is_key_weight(),
            Self::Prompt => return role.is_token_embedding(),
            Self::Adapter => return role.is_sublayer_output(),
            _ => return false,
        };
        role.is_linear_weight() && targets.iter().any(|target| target.selects(role.module))
    }

    /// Whether it plugs keys and values before those of attentions.
    pub(super) fn is_prefix(self) -> bool {
        matches!(self, Self::Prefix | Self::PTuningV2)
    }

    /// Whether what it plugs in stands before all blocks of a tower, not in one.
    pub(super) fn precedes_blocks(self) -> bool {
        self.is_prefix() || self == Self::Prompt
    }

    /// The learning rate to begin with. What is few wants a large one: LayerNorms at the rate of matrices
    /// hardly move.
    pub fn default_lr(self) -> f32 {
        match self {
            Self::LayerNorm | Self::BitFit => 3e-3,
            Self::Ia3 => 5e-3,
            Self::Prefix | Self::PTuningV2 => 1e-2,
            Self::Prompt => 3e-2,
            Self::Lora | Self::Adapter => 1e-3,
            Self::None | Self::Full | Self::Attention | Self::Ffn => 3e-4,
        }
    }

    /// The name that recipes use.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Full => "full",
            Self::LayerNorm => "layer_norm",
            Self::Attention => "attention",
            Self::Ffn => "ffn",
            Self::BitFit => "bitfit",
            Self::Lora => "lora",
            Self::Ia3 => "ia3",
            Self::Prefix => "prefix",
            Self::PTuningV2 => "p_tuning_v2",
            Self::Prompt => "prompt",
            Self::Adapter => "adapter",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
