//! Attention tuning: the projections, with or without the norms beside them.

use serde::Serialize;

use crate::tensor::{Module, NormPosition, Role};

/// What `method = "attention"` can be told.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct AttentionOptions {
    /// Whether the norms at its input or output are trained too: in BERT these are inside its module, and
    /// published code that looks for `attention` in names trains them.
    pub norms: bool,
}

impl AttentionOptions {
    pub(super) fn selects(&self, role: &Role) -> bool {
        match role.module {
            Module::Attention(_) | Module::CrossAttention(_) => true,
            Module::Norm(NormPosition::Attention | NormPosition::CrossAttention) => self.norms,
            _ => false,
        }
    }
}
