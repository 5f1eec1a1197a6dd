//! Tuning of the attention projections, with or without the norms next to them.

use crate::tensor::{Module, NormPosition, Role};
use crate::tuning::{Key, KeyDefault, KeyKind, Method, MethodDescription, Options};

const NORMS: Key = Key {
    name: "norms",
    kind: KeyKind::Boolean,
    default: KeyDefault::Boolean(false),
    omit_default: true,
    // In BERT these norms are inside the attention module; code that looks for `attention` in names trains them.
    meaning: "Whether the norms at the input or output of attentions are trained too.",
};

impl Method {
    /// Tuning of the projections of self- and cross-attention.
    pub const ATTENTION: Self = Self::new(&MethodDescription {
        name: "attention",
        summary: "Trains the query, key, value and output projections of attentions.",
        keys: &[NORMS],
        default_lr: 3e-4,
        trains,
        adds: None,
        keep: None,
        adapter_types: &["LN_TUNING"],
    });
}

fn trains(role: &Role, options: &Options) -> bool {
    match role.module {
        Module::Attention(_) | Module::CrossAttention(_) => true,
        Module::Norm(NormPosition::Attention | NormPosition::CrossAttention) => {
            options.boolean(&NORMS)
        }
        _ => false,
    }
}
