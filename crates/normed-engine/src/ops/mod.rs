//! The fused operations, forward and backward.
//!
//! An operation takes the [`Graph`](crate::tensor::Graph), its inputs and the ids of its parameters. It keeps
//! values for backward only if an input or a parameter needs a gradient, and it computes only the
//! gradients that are needed: a frozen linear layer keeps nothing. Each file says what its operation
//! computes and what it keeps.
//!
//! Sums over rows are taken over blocks of a fixed size, which are then added in order. Results do not depend
//! on the number of threads.
//!
//! Every operation is tested against a plain reference version and against finite differences.

mod activation;
mod attention;
mod concat;
mod cross_entropy;
mod dropout;
mod element;
mod embedding;
mod gated_mlp;
mod linear;
mod linear_cross_entropy;
mod low_rank;
mod merge_plug;
mod mlp;
mod norm;
mod patches;
mod prepend;
mod product;
mod rotary;
mod rows;
mod scale;
mod simd;

#[cfg(test)]
mod testing;

pub use activation::{Activation, activate};
pub use attention::{AttentionSpec, KvCache, attention, cached_attention, self_attention};
pub use concat::concat_channels;
pub use cross_entropy::{CrossEntropy, IGNORE_INDEX, cross_entropy, log_softmax};
pub use dropout::{DropoutStream, add, drop_path_add, dropout, dropout_add};
pub use embedding::embedding;
pub use gated_mlp::{gated_linear_unit, gated_mlp};
pub use linear::{Output, linear};
pub use linear_cross_entropy::linear_cross_entropy;
pub use low_rank::{low_rank_linear, merged_row_norms};
pub use merge_plug::{MergedLayer, merge_plug, merged_value};
pub use mlp::mlp;
pub use norm::{layer_norm, rms_norm};
pub use patches::{extract_patches, prepend_class_and_add_positions};
pub use prepend::prepend_rows;
pub use product::{InstructionSet, limit_instructions};
pub use rotary::{RotaryTable, apply_rotary};
pub use rows::{RowSource, assemble_rows, select_rows};
pub use scale::scale_channels;
