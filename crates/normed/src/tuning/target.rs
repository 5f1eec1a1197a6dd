//! The linear layers that a method adds parameters to, by role: `targets` in recipes.

use crate::tensor::{AttentionProjection, EmbeddingKind, Module, Role};

/// A kind of linear layer. Where one matrix makes queries, keys and values, it is adapted whole if any of the
/// three is a target, as PEFT does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The query projections of self- and cross-attention.
    Query,
    /// The key projections.
    Key,
    /// The value projections.
    Value,
    /// The output projections of attentions.
    Output,
    /// The first layer of a feed-forward network; of a gated one, both the gate and what it multiplies.
    Fc1,
    /// The last layer of a feed-forward network.
    Fc2,
    /// The patch embedding.
    Patch,
}

impl Target {
    /// Every target, in the order of [`Target::NAMES`].
    pub const ALL: [Self; 7] =
        [Self::Query, Self::Key, Self::Value, Self::Output, Self::Fc1, Self::Fc2, Self::Patch];

    /// The names that recipes use.
    pub const NAMES: [&str; 7] = ["query", "key", "value", "output", "fc1", "fc2", "patch"];

    /// Whether one of the targets with these names is the linear layer with a weight of this role.
    pub fn any_selects(names: &[String], role: &Role) -> bool {
        let is_named = |known: &str| names.iter().any(|name| name == known);
        let mut targets = Self::ALL.into_iter().zip(Self::NAMES);
        role.is_linear_weight()
            && targets.any(|(target, name)| is_named(name) && target.selects(role.module))
    }

    /// Whether this target is a layer of this kind.
    pub fn selects(self, module: Module) -> bool {
        let (Module::Attention(projection) | Module::CrossAttention(projection)) = module else {
            return match self {
                Self::Fc1 => matches!(module, Module::Fc1 | Module::Gate | Module::Up),
                Self::Fc2 => matches!(module, Module::Fc2 | Module::Down),
                Self::Patch => module == Module::Embedding(EmbeddingKind::Patch),
                _ => false,
            };
        };
        use AttentionProjection::{Key, Output, Query, QueryKeyValue, Value};
        match self {
            Self::Query => matches!(projection, Query | QueryKeyValue),
            Self::Key => matches!(projection, Key | QueryKeyValue),
            Self::Value => matches!(projection, Value | QueryKeyValue),
            Self::Output => projection == Output,
            Self::Fc1 | Self::Fc2 | Self::Patch => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_target_selects_its_layers_and_no_others() {
        use AttentionProjection::{Key, Output, Query, QueryKeyValue, Value};
        let attention = |projections: &[AttentionProjection]| -> Vec<_> {
            let both = |&part: &AttentionProjection| {
                [Module::Attention(part), Module::CrossAttention(part)]
            };
            projections.iter().flat_map(both).collect()
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
