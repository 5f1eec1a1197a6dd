//! The linear layers that a method plugs something into, by what they are for.

use serde::{Deserialize, Serialize};

use crate::tensor::{AttentionProjection, EmbeddingKind, Module};

/// Linear layers by role. Where one matrix has queries, keys and values, it is adapted whole if any of
/// the three is asked for, as PEFT does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Queries, of self- and cross-attention.
    Query,
    /// Keys.
    Key,
    /// Values.
    Value,
    /// The attention's output projection.
    Output,
    /// What leads into the feed-forward network: of a gated one, both the gate and what it multiplies.
    Fc1,
    /// What leads out of it.
    Fc2,
    /// The patch embedding.
    Patch,
}

impl Target {
    /// Whether such a layer is meant.
    pub fn selects(self, part: Module) -> bool {
        let (Module::Attention(of) | Module::CrossAttention(of)) = part else {
            return match self {
                Self::Fc1 => matches!(part, Module::Fc1 | Module::Gate | Module::Up),
                Self::Fc2 => matches!(part, Module::Fc2 | Module::Down),
                Self::Patch => part == Module::Embedding(EmbeddingKind::Patch),
                _ => false,
            };
        };
        match self {
            Self::Query => {
                matches!(of, AttentionProjection::Query | AttentionProjection::QueryKeyValue)
            }
            Self::Key => {
                matches!(of, AttentionProjection::Key | AttentionProjection::QueryKeyValue)
            }
            Self::Value => {
                matches!(of, AttentionProjection::Value | AttentionProjection::QueryKeyValue)
            }
            Self::Output => of == AttentionProjection::Output,
            Self::Fc1 | Self::Fc2 | Self::Patch => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_has_its_layers_and_no_others() {
        use AttentionProjection::{Key, Output, Query, QueryKeyValue, Value};
        let attention = |of: &[AttentionProjection]| -> Vec<_> {
            of.iter().flat_map(|&of| [Module::Attention(of), Module::CrossAttention(of)]).collect()
        };
        let every = [Query, Key, Value, QueryKeyValue, Output];
        let embedding = Module::Embedding(EmbeddingKind::Patch);
        let token = Module::Embedding(EmbeddingKind::Token);
        let mut parts = attention(&every);
        parts.extend([Module::Fc1, Module::Fc2, Module::Gate, Module::Up, Module::Down]);
        parts.extend([embedding, token, Module::Head, Module::Projector]);
        for (target, wanted) in [
            (Target::Query, attention(&[Query, QueryKeyValue])),
            (Target::Key, attention(&[Key, QueryKeyValue])),
            (Target::Value, attention(&[Value, QueryKeyValue])),
            (Target::Output, attention(&[Output])),
            (Target::Fc1, vec![Module::Fc1, Module::Gate, Module::Up]),
            (Target::Fc2, vec![Module::Fc2, Module::Down]),
            (Target::Patch, vec![embedding]),
        ] {
            let found: Vec<_> =
                parts.iter().copied().filter(|&part| target.selects(part)).collect();
            assert_eq!(found, wanted, "{target:?}");
        }
    }
}
