//! Layers that train in addition to a method's parameters: `also` in recipes.

use serde::{Deserialize, Serialize};

use crate::tensor::Module;

/// A kind of layer that can train in addition to a method's parameters. Norms are not among them: they belong to
/// `layer_norm`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExtraPart {
    /// The prediction head.
    Head,
    /// The embeddings of tokens, positions, patches and the class token.
    Embeddings,
    /// The projector between the image encoder and a language model. It is a tower of its own, and trains
    /// whatever towers a rule names.
    Projector,
}

impl ExtraPart {
    /// Whether it includes layers of this kind.
    pub fn selects(self, module: Module) -> bool {
        match self {
            Self::Head => matches!(module, Module::Head),
            Self::Embeddings => matches!(module, Module::Embedding(_)),
            Self::Projector => matches!(module, Module::Projector),
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
