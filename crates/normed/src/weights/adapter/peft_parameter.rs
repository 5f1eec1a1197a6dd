//! The parameters that PEFT adds to a layer.

use super::config::PeftType;

/// A parameter that PEFT adds to a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PeftParameter {
    /// `A` of LoRA, `[r, in]`.
    LowRankA,
    /// `B` of LoRA, `[out, r]`.
    LowRankB,
    /// The bias of `B`, `[out]`.
    LowRankBias,
    /// `A` of a table's LoRA, `[r, rows]`.
    TableA,
    /// `B` of a table's LoRA, `[C, r]`.
    TableB,
    /// The magnitudes of DoRA.
    Magnitude,
    /// The scaling vector of IA3.
    Scale,
    /// New rows of a table, for some of its tokens.
    TokenRows,
}

impl PeftParameter {
    /// All of them.
    const ALL: [Self; 8] = [
        Self::LowRankA,
        Self::LowRankB,
        Self::LowRankBias,
        Self::TableA,
        Self::TableB,
        Self::Magnitude,
        Self::Scale,
        Self::TokenRows,
    ];

    /// What follows the layer's name in the parameter's name.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::LowRankA => ".lora_A.weight",
            Self::LowRankB => ".lora_B.weight",
            Self::LowRankBias => ".lora_B.bias",
            Self::TableA => ".lora_embedding_A",
            Self::TableB => ".lora_embedding_B",
            Self::Magnitude => ".lora_magnitude_vector",
            Self::Scale => ".ia3_l",
            Self::TokenRows => ".token_adapter.trainable_tokens_delta",
        }
    }

    /// The parameter whose name ends with these components, behind its layer's name and without the name of an
    /// adapter.
    pub fn from_components(components: &[&str]) -> Option<Self> {
        let suffix = format!(".{}", components.join("."));
        // Before version 0.10, magnitudes were a layer's weight.
        let suffix = suffix.replace("lora_magnitude_vector.weight", "lora_magnitude_vector");
        Self::ALL.into_iter().find(|parameter| parameter.suffix() == suffix)
    }

    /// Whether adapters of this type have it.
    pub fn belongs_to(self, peft_type: PeftType) -> bool {
        match self {
            Self::Scale => peft_type == PeftType::Ia3,
            _ => peft_type == PeftType::Lora,
        }
    }
}
