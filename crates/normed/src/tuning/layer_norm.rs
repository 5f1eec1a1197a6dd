//! LayerNorm tuning (arXiv 2404.16385): which norms, and what of them.

use serde::{Deserialize, Serialize};

use super::Keep;
use crate::tensor::{NormPlace, Part, Role, Term};

/// What of a norm is trained.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NormParts {
    /// Gain and bias. (An RMSNorm has a gain alone.)
    #[default]
    Both,
    /// The gain.
    Weight,
    /// The bias, which does more of the work in BERT (Qi et al. 2022, arXiv 2211.08682).
    Bias,
}

/// Which norms are trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhichNorms {
    /// Those at the input (pre-norm) or the output (post-norm) of an attention.
    Attention,
    /// Those at the input or the output of a feed-forward network.
    Ffn,
    /// That at the tower's output.
    Final,
}

/// What `method = "layer_norm"` can be told.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct NormOptions {
    /// What of them.
    pub parts: NormParts,
    /// Which; all if there are none, with those of embeddings and head.
    pub which: Vec<WhichNorms>,
    /// Of these, the part of largest Fisher information; all if absent.
    pub keep: Option<Keep>,
}

impl NormOptions {
    pub(super) fn selects(&self, role: &Role) -> bool {
        let Part::Norm(place) = role.part else { return false };
        let part = match self.parts {
            NormParts::Both => true,
            NormParts::Weight => role.term == Term::Weight,
            NormParts::Bias => role.term == Term::Bias,
        };
        let which = |which: &WhichNorms| match which {
            WhichNorms::Attention => {
                matches!(place, NormPlace::Attention | NormPlace::CrossAttention)
            }
            WhichNorms::Ffn => place == NormPlace::Ffn,
            WhichNorms::Final => place == NormPlace::Final,
        };
        part && (self.which.is_empty() || self.which.iter().any(which))
    }
}
