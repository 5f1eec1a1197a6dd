//! Quantized matrices in checkpoints, under the names of bitsandbytes, so that transformers reads what normed writes
//! and normed reads what transformers writes.
//!
//! In 4 bits, `q_proj.weight` is `[elements / 2, 1]` bytes, and the checkpoint has as well:
//!
//! | name | type and shape | contents |
//! |---|---|---|
//! | `q_proj.weight.absmax` | U8 `[blocks]` | the blocks' largest magnitudes, quantized too |
//! | `q_proj.weight.nested_absmax` | F32 `[blocks / 256]` | the largest of 256 of those |
//! | `q_proj.weight.quant_map` | F32 `[16]` | the value of each code |
//! | `q_proj.weight.nested_quant_map` | F32 `[256]` | the value of each code of the magnitudes |
//! | `q_proj.weight.quant_state.bitsandbytes__nf4` | U8 | JSON: sizes, shape, the magnitudes' offset |
//!
//! FP4 has the same tensors with `fp4` in place of `nf4`. The codes can be stored as the bytes of larger numbers
//! (BF16, F16 or F32, `bnb_4bit_quant_storage`), which is what FSDP needs.
//!
//! If the magnitudes are not quantized, the two nested tensors are absent and `absmax` is F32. In 8 bits the matrix
//! is I8 `[out, in]`, with `q_proj.SCB`, F32 `[out]`, the largest magnitudes of the rows, and
//! `q_proj.weight_format`, U8, which is 0 for rows.

mod config;
mod read;
mod state;
mod write;

pub use config::QuantizationConfig;
pub(super) use read::{StoredMatrix, find_quantized};
pub use write::{QuantizationReport, write_quantized};
