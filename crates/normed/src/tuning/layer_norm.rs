//! LayerNorm tuning (arXiv 2404.16385): which norms, and what of them.

use serde::{Deserialize, Serialize};

use super::Keep;
use crate::tensor::{Module, NormPosition, ParamKind, Role};

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
        let Module::Norm(place) = role.module else { return false };
        let part = match self.parts {
            NormParts::Both => true,
            NormParts::Weight => role.kind == ParamKind::Weight,
            NormParts::Bias => role.kind == ParamKind::Bias,
        };
        let which = |which: &WhichNorms| match which {
            WhichNorms::Attention => {
                matches!(place, NormPosition::Attention | NormPosition::CrossAttention)
            }
            WhichNorms::Ffn => place == NormPosition::Ffn,
            WhichNorms::Final => place == NormPosition::Final,
        };
        part && (self.which.is_empty() || self.which.iter().any(which))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Tower;

    #[test]
    fn parts_and_places_choose_their_norms_and_no_others() {
        use NormPosition::{Attention, CrossAttention, Embedding, Ffn, Final, Head};
        let of = |parts, which: &[WhichNorms]| {
            let options = NormOptions { parts, which: which.to_vec(), keep: None };
            let mut found = Vec::new();
            for place in NormPosition::ALL {
                for term in [ParamKind::Weight, ParamKind::Bias] {
                    let part = Module::Norm(place);
                    let role =
                        Role { tower: Tower::Decoder, layer: Some(0), module: part, kind: term };
                    found.extend(options.selects(&role).then_some((place, term)));
                }
            }
            found
        };
        let both = |places: &[NormPosition]| -> Vec<_> {
            places.iter().flat_map(|&p| [(p, ParamKind::Weight), (p, ParamKind::Bias)]).collect()
        };
        let all = [Embedding, Attention, CrossAttention, Ffn, Final, Head];
        assert_eq!(of(NormParts::Both, &[]), both(&all));
        assert_eq!(of(NormParts::Weight, &[]), all.map(|place| (place, ParamKind::Weight)));
        assert_eq!(of(NormParts::Bias, &[]), all.map(|place| (place, ParamKind::Bias)));
        let which = |which: &[WhichNorms]| of(NormParts::Both, which);
        assert_eq!(which(&[WhichNorms::Attention]), both(&[Attention, CrossAttention]));
        assert_eq!(which(&[WhichNorms::Ffn]), both(&[Ffn]));
        assert_eq!(which(&[WhichNorms::Final]), both(&[Final]));
        assert_eq!(which(&[WhichNorms::Final, WhichNorms::Ffn]), both(&[Ffn, Final]));
        assert_eq!(of(NormParts::Bias, &[WhichNorms::Ffn]), [(Ffn, ParamKind::Bias)]);
    }
}
