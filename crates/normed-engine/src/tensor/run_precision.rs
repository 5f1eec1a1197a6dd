//! The arithmetic of a run: the dtype of its values, and how it multiplies by frozen matrices.

use serde::{Deserialize, Serialize};

use super::precision::Precision;

/// How a run computes. Norms, residual streams, trained parameters and optimizer are f32 in every case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunPrecision {
    /// All values and products in f32.
    #[default]
    F32,
    /// The factors of products in bf16.
    Bf16,
    /// As bf16, but the products with frozen matrices of linear layers in int8, forward and for the
    /// input's gradient. The frozen matrices are kept as codes
    /// ([`CodeMatrix`](super::CodeMatrix)).
    Int8,
}

impl RunPrecision {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::F32, Self::Bf16, Self::Int8];

    /// The name in recipes.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => Precision::F32.name(),
            Self::Bf16 => Precision::Bf16.name(),
            Self::Int8 => "int8",
        }
    }

    /// The dtype of the values that products read, other than frozen matrices.
    pub fn values(self) -> Precision {
        match self {
            Self::F32 => Precision::F32,
            Self::Bf16 | Self::Int8 => Precision::Bf16,
        }
    }
}

impl From<Precision> for RunPrecision {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::F32 => Self::F32,
            Precision::Bf16 => Self::Bf16,
        }
    }
}
