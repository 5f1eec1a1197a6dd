//! Roles that train beside a method.

use serde::{Deserialize, Serialize};

use crate::tensor::Module;

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
    pub fn selects(self, part: Module) -> bool {
        match self {
            Self::Head => matches!(part, Module::Head),
            Self::Embeddings => matches!(part, Module::Embedding(_)),
            Self::Projector => matches!(part, Module::Projector),
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
