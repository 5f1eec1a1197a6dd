//! The names and the state of a quantized matrix in a checkpoint.

use serde::{Deserialize, Serialize};

use crate::tensor::Quantization;

/// The JSON of `quant_state.bitsandbytes__nf4` or `__fp4`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct QuantState {
    pub quant_type: String,
    pub blocksize: usize,
    pub dtype: String,
    pub shape: Vec<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nested_blocksize: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nested_dtype: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nested_offset: Option<f64>,
}

pub(super) const ABSMAX: &str = "absmax";
pub(super) const QUANT_MAP: &str = "quant_map";
pub(super) const NESTED_ABSMAX: &str = "nested_absmax";
pub(super) const NESTED_QUANT_MAP: &str = "nested_quant_map";

/// The part of a state's name before the format.
pub(super) const STATE: &str = "quant_state.bitsandbytes__";

/// The name of the state of a matrix in this format of 4 bits.
pub(super) fn state_name(to: Quantization) -> String {
    format!("{STATE}{}", to.name())
}

/// The name of another tensor in the module of the matrix `weight`, which is called `...weight`.
pub(super) fn sibling(weight: &str, name: &str) -> String {
    format!("{}{name}", weight.strip_suffix("weight").unwrap_or(weight))
}
