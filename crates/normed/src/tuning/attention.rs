//! Attention tuning: the projections, with or without the norms beside them.

use serde::Serialize;

use crate::tensor::{NormPlace, Part, Role};

/// What `method = "attention"` can be told.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct AttentionOptions {
    /// Whether the norms at its input or output are trained too: in BERT these are inside its module, and
    /// published code that looks for `attention` in names trains them.
    pub norms: bool,
}

impl AttentionOptions {
    pub(super) fn selects(&self, role: &Role) -> bool {
        match role.part {
            Part::Attention(_) | Part::CrossAttention(_) => true,
            Part::Norm(NormPlace::Attention | NormPlace::CrossAttention) => self.norms,
            _ => false,
        }
    }
}
