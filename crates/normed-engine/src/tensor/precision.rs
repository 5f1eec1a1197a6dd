//! The dtypes that the engine computes in.

use half::bf16;
use serde::{Deserialize, Serialize};

/// A dtype of elements, and of the factors of matrix products. Sums are f32 in either case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// IEEE single precision, 32 bits.
    #[default]
    F32,
    /// bfloat16, the upper 16 bits of an f32: the same range with 8 bits of precision.
    Bf16,
}

impl Precision {
    /// The name in recipes.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }

    /// The size of an element in bytes.
    pub fn size(self) -> usize {
        match self {
            Self::F32 => size_of::<f32>(),
            Self::Bf16 => size_of::<bf16>(),
        }
    }

    /// The dtype in which this machine multiplies matrices fastest: bf16 where the processor has
    /// instructions for it (AVX-512 BF16).
    pub fn fastest() -> Self {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx512bf16") {
            return Self::Bf16;
        }
        Self::F32
    }
}
