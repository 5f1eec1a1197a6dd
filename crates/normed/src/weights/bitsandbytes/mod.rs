//! QuantizedMatrix matrices in checkpoints, under bitsandbytes' names, so that Python's transformers reads what
//! is written here and the other way round.
//!
//! In 4 bits, `q_proj.weight` is `[elements / 2, 1]` bytes, beside
//!
//! | name | | |
//! |---|---|---|
//! | `q_proj.weight.absmax` | U8 `[blocks]` | the blocks' largest magnitudes, quantised in turn |
//! | `q_proj.weight.nested_absmax` | F32 `[blocks / 256]` | the largest of 256 of them |
//! | `q_proj.weight.quant_map` | F32 `[16]` | what the codes stand for |
//! | `q_proj.weight.nested_quant_map` | F32 `[256]` | what those of the magnitudes stand for |
//! | `q_proj.weight.quant_state.bitsandbytes__nf4` | U8 | JSON: sizes, shape, the magnitudes' offset |
//!
//! without the nested two, and `absmax` in F32, where the magnitudes are not quantised. In 8 bits it is
//! I8 `[out, in]`, beside `q_proj.SCB`, F32 `[out]`, the largest magnitudes of the rows, and
//! `q_proj.weight_format`, U8, which is 0: rows.

mod config;
mod read;
mod write;

pub use config::QuantisationConfig;
pub(super) use read::find;
pub use write::{Written, write_quantised};

use serde::{Deserialize, Serialize};

/// What `quant_state.bitsandbytes__nf4` says.
#[derive(Debug, Serialize, Deserialize)]
struct State {
    quant_type: String,
    blocksize: usize,
    dtype: String,
    shape: Vec<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nested_blocksize: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nested_dtype: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nested_offset: Option<f64>,
}

const ABSMAX: &str = "absmax";
const QUANT_MAP: &str = "quant_map";
const NESTED_ABSMAX: &str = "nested_absmax";
const NESTED_QUANT_MAP: &str = "nested_quant_map";
const STATE: &str = "quant_state.bitsandbytes__nf4";

/// The name beside the matrix `weight`, a module's `..weight`.
fn beside(weight: &str, name: &str) -> String {
    format!("{}{name}", weight.strip_suffix("weight").unwrap_or(weight))
}
