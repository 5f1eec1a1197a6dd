//! The linear layers that a method plugs something into, by what they are for.

use serde::{Deserialize, Serialize};

use crate::tensor::{AttentionPart, EmbeddingPart, Part};

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
    pub fn selects(self, part: Part) -> bool {
        let (Part::Attention(of) | Part::CrossAttention(of)) = part else {
            return match self {
                Self::Fc1 => matches!(part, Part::Fc1 | Part::Gate | Part::Up),
                Self::Fc2 => matches!(part, Part::Fc2 | Part::Down),
                Self::Patch => part == Part::Embedding(EmbeddingPart::Patch),
                _ => false,
            };
        };
        match self {
            Self::Query => matches!(of, AttentionPart::Query | AttentionPart::QueryKeyValue),
            Self::Key => matches!(of, AttentionPart::Key | AttentionPart::QueryKeyValue),
            Self::Value => matches!(of, AttentionPart::Value | AttentionPart::QueryKeyValue),
            Self::Output => of == AttentionPart::Output,
            Self::Fc1 | Self::Fc2 | Self::Patch => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_has_its_layers_and_no_others() {
        use AttentionPart::{Key, Output, Query, QueryKeyValue, Value};
        let attention = |of: &[AttentionPart]| -> Vec<_> {
            of.iter().flat_map(|&of| [Part::Attention(of), Part::CrossAttention(of)]).collect()
        };
        let every = [Query, Key, Value, QueryKeyValue, Output];
        let embedding = Part::Embedding(EmbeddingPart::Patch);
        let token = Part::Embedding(EmbeddingPart::Token);
        let mut parts = attention(&every);
        parts.extend([Part::Fc1, Part::Fc2, Part::Gate, Part::Up, Part::Down]);
        parts.extend([embedding, token, Part::Head, Part::Projector]);
        for (target, wanted) in [
            (Target::Query, attention(&[Query, QueryKeyValue])),
            (Target::Key, attention(&[Key, QueryKeyValue])),
            (Target::Value, attention(&[Value, QueryKeyValue])),
            (Target::Output, attention(&[Output])),
            (Target::Fc1, vec![Part::Fc1, Part::Gate, Part::Up]),
            (Target::Fc2, vec![Part::Fc2, Part::Down]),
            (Target::Patch, vec![embedding]),
        ] {
            let found: Vec<_> =
                parts.iter().copied().filter(|&part| target.selects(part)).collect();
            assert_eq!(found, wanted, "{target:?}");
        }
    }
}
