//! The parameters that PEFT adds to a layer.

use super::config::PeftType;

/// A parameter that PEFT adds to a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PeftParameter {
    /// `A` of LoRA.
    LowRankA,
    /// `B` of LoRA.
    LowRankB,
    /// The magnitudes of DoRA.
    Magnitude,
    /// The scaling vector of IA3.
    Scale,
}

impl PeftParameter {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::LowRankA, Self::LowRankB, Self::Magnitude, Self::Scale];

    /// What follows the layer's name in the parameter's name.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::LowRankA => ".lora_A.weight",
            Self::LowRankB => ".lora_B.weight",
            Self::Magnitude => ".lora_magnitude_vector",
            Self::Scale => ".ia3_l",
        }
    }

    /// The type of adapters that have it.
    pub fn peft_type(self) -> PeftType {
        match self {
            Self::LowRankA | Self::LowRankB | Self::Magnitude => PeftType::Lora,
            Self::Scale => PeftType::Ia3,
        }
    }
}
