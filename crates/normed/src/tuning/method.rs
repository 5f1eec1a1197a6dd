//! The methods: each a predicate over what a layer is.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::tensor::Part;

/// The tuning methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Nothing.
    None,
    /// Everything.
    Full,
    /// The LayerNorms and RMSNorms, gain and bias: of embeddings, blocks, the tower's output and the head.
    LayerNorm,
    /// The projections of self- and cross-attention, without the norms beside them.
    Attention,
    /// The projections of the feed-forward networks, without the norms beside them.
    Ffn,
}

impl Method {
    /// Every method.
    pub const ALL: [Method; 5] =
        [Method::None, Method::Full, Method::LayerNorm, Method::Attention, Method::Ffn];

    /// Whether the method trains the parameters of such a layer.
    pub fn selects(self, part: Part) -> bool {
        match self {
            Self::None => false,
            Self::Full => true,
            Self::LayerNorm => matches!(part, Part::Norm(_)),
            Self::Attention => matches!(part, Part::Attention(_) | Part::CrossAttention(_)),
            Self::Ffn => {
                matches!(part, Part::Fc1 | Part::Fc2 | Part::Gate | Part::Up | Part::Down)
            }
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
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Roles that can train beside a method. Norms belong to `layer_norm` wherever they stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Also {
    /// The prediction head.
    Head,
    /// The embeddings of tokens, positions, patches and the class token.
    Embeddings,
    /// What stands between the image encoder and a language model: a tower of its own, which trains
    /// beside whatever towers the method is confined to.
    Projector,
}

impl Also {
    /// Whether such a layer trains beside.
    pub fn selects(self, part: Part) -> bool {
        match self {
            Self::Head => matches!(part, Part::Head),
            Self::Embeddings => matches!(part, Part::Embedding(_)),
            Self::Projector => matches!(part, Part::Projector),
        }
    }

    /// The name that recipes use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Embeddings => "embeddings",
            Self::Projector => "projector",
        }
    }
}
