//! LayerNorm tuning (arXiv 2404.16385).

use crate::tensor::{Module, NormPosition, ParamKind, Role};
use crate::tuning::{Key, KeyDefault, KeyKind, Method, MethodDescription, Options};

/// Biases do more of the work in BERT (Qi et al. 2022, arXiv 2211.08682). An RMSNorm has a weight alone.
const PARTS: Key = Key {
    name: "parts",
    kind: KeyKind::OneOf(&["both", "weight", "bias"]),
    default: KeyDefault::Name("both"),
    omit_default: true,
    meaning: "Which parameters of each norm are trained: weight, bias or both.",
};

const WHICH: Key = Key {
    name: "which",
    kind: KeyKind::SomeOf(&["attention", "ffn", "final"]),
    default: KeyDefault::Absent("all norms, those of embeddings and head included"),
    omit_default: false,
    meaning: "Which norms are trained: those of attentions, those of feed-forward networks, the one at the \
              tower's output.",
};

const KEEP: Key = Key {
    name: "keep",
    kind: KeyKind::Fraction,
    default: KeyDefault::Absent("all of them"),
    omit_default: false,
    meaning: "The fraction of these norms that is trained: those with the largest Fisher information.",
};

impl Method {
    /// LayerNorm tuning: LayerNorms and RMSNorms of embeddings, blocks, the tower's output and the head.
    pub const LAYER_NORM: Self = Self::new(&MethodDescription {
        name: "layer_norm",
        summary: "Trains the LayerNorms and RMSNorms.",
        keys: &[PARTS, WHICH, KEEP],
        default_lr: 3e-3,
        trains,
        adds: None,
        keep: Some(&KEEP),
        adapter_types: &["LN_TUNING"],
    });
}

fn trains(role: &Role, options: &Options) -> bool {
    let Module::Norm(place) = role.module else { return false };
    let name = match place {
        NormPosition::Attention | NormPosition::CrossAttention => "attention",
        NormPosition::Ffn => "ffn",
        NormPosition::Final => "final",
        NormPosition::Embedding | NormPosition::Head => "",
    };
    let term = match role.kind {
        ParamKind::Weight => "weight",
        ParamKind::Bias => "bias",
    };
    let which = options.names(&WHICH);
    let is_chosen = which.is_empty() || which.iter().any(|chosen| chosen == name);
    is_chosen && (options.is(&PARTS, "both") || options.is(&PARTS, term))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Tower;
    use crate::tuning::ConfiguredMethod;

    #[test]
    fn parts_and_which_choose_their_norms_and_no_others() {
        use NormPosition::{Attention, CrossAttention, Embedding, Ffn, Final, Head};
        let selected = |method: &ConfiguredMethod| {
            let mut found = Vec::new();
            for place in NormPosition::ALL {
                for term in [ParamKind::Weight, ParamKind::Bias] {
                    let part = Module::Norm(place);
                    let role =
                        Role { tower: Tower::Decoder, layer: Some(0), module: part, kind: term };
                    found.extend(method.trains(&role).then_some((place, term)));
                }
            }
            found
        };
        let both = |places: &[NormPosition]| -> Vec<_> {
            places.iter().flat_map(|&p| [(p, ParamKind::Weight), (p, ParamKind::Bias)]).collect()
        };
        let all = [Embedding, Attention, CrossAttention, Ffn, Final, Head];
        let parts = |parts: &str| selected(&Method::LAYER_NORM.with("parts", parts).unwrap());
        assert_eq!(selected(&Method::LAYER_NORM.into()), both(&all));
        assert_eq!(parts("both"), both(&all));
        assert_eq!(parts("weight"), all.map(|place| (place, ParamKind::Weight)));
        assert_eq!(parts("bias"), all.map(|place| (place, ParamKind::Bias)));
        let which = |name: &str| Method::LAYER_NORM.with("which", name).unwrap();
        assert_eq!(selected(&which("attention")), both(&[Attention, CrossAttention]));
        assert_eq!(selected(&which("ffn")), both(&[Ffn]));
        assert_eq!(selected(&which("final")), both(&[Final]));
        let two = Method::LAYER_NORM.with("which", ["final", "ffn"]).unwrap();
        assert_eq!(selected(&two), both(&[Ffn, Final]));
        let biases = which("ffn").with("parts", "bias").unwrap();
        assert_eq!(selected(&biases), [(Ffn, ParamKind::Bias)]);
    }
}
