//! The fused operations. Each file says what it computes, what its backward keeps and what it
//! recomputes; each is tested against a plain reference version and by finite differences.
//!
//! An operation takes the [`Graph`](crate::tensor::Graph), its inputs and the ids of its
//! parameters. It keeps something for backward only if an input or a parameter wants a gradient,
//! and computes only the gradients that are wanted: a frozen linear layer keeps nothing.
//!
//! Sums over rows are taken over blocks of fixed size and then in order, so that results do not
//! depend on the number of threads.

mod activation;
mod attention;
mod cross_entropy;
mod dropout;
mod embedding;
mod gated_mlp;
mod gelu;
mod layer_norm;
mod linear;
mod linear_cross_entropy;
mod low_rank;
mod merge_plug;
mod mlp;
mod number;
mod patches;
mod prepend;
mod product;
mod rms_norm;
mod rotary;
mod rows;
mod scale;
mod simd;

#[cfg(test)]
mod check;

pub use activation::{Activation, activate};
pub use attention::{AttentionSpec, KvCache, attention, cached_attention, self_attention};
pub use cross_entropy::{CrossEntropy, IGNORE_INDEX, cross_entropy, log_softmax};
pub use dropout::{DropoutStream, add, drop_path_add, dropout, dropout_add};
pub use embedding::embedding;
pub use gated_mlp::{gated_mlp, swiglu};
pub use layer_norm::layer_norm;
pub use linear::{Output, linear};
pub use linear_cross_entropy::linear_cross_entropy;
pub use low_rank::{low_rank_linear, merged_row_norms};
pub use merge_plug::merge_plug;
pub use mlp::mlp;
pub use patches::{extract_patches, prepend_class_and_add_positions};
pub use prepend::prepend_rows;
pub use rms_norm::rms_norm;
pub use rotary::{RotaryTable, apply_rotary};
pub use rows::{RowSource, assemble_rows, select_rows};
pub use scale::scale_channels;
