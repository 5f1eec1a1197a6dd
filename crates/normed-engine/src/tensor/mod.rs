//! Values, parameters and the tape: what the operations of [`crate::ops`] work on.
//!
//! - [`Tensor`]: a shape and elements, in memory, in a mapped file, quantized, or only planned;
//! - [`Parameters`]: the parameters of a model, each with a name, a [`Role`] and perhaps a value;
//! - [`Plug`]: what a parameter-efficient tuning method adds to a layer, and where;
//! - [`Graph`]: one forward pass, with its tape in training; [`Gradients`]: what the backward computes;
//! - [`Meter`]: the memory and the arithmetic of a pass, for plans.

mod buffer;
mod changed_values;
mod codes;
mod elements;
mod factor;
mod gradients;
mod mapped;
mod meter;
mod parameter;
mod parameters;
mod plug;
mod pool;
mod precision;
mod prefix;
mod quantized;
mod random;
mod role;
mod run_precision;
mod scope;
mod socket;
mod soft_prompt;
mod tape;
mod value;

pub use changed_values::ChangedValues;
pub use codes::{CodeLine, CodeMatrix, CodePanels, GROUP, LINES_PER_GROUP, PANEL, quantize_group};
pub use elements::Elements;
pub use factor::Factor;
pub use gradients::{GradientSlot, Gradients};
pub use mapped::MappedFile;
pub use meter::{Meter, Operation, OperationCounts};
pub use parameter::{AddedTraining, ParamId, Parameter};
pub use parameters::Parameters;
pub use plug::{Bottleneck, ChannelScale, LowRank, LowRankConfig, MAX_ADDED_SIZE, Plug, PrefixKv};
pub use precision::Precision;
pub use quantized::{
    Absmax, Bytes, FP4_VALUES, Int8, NF4_BLOCK, NF4_NESTED_BLOCK, NF4_VALUES, Nf4, Quantization,
    QuantizedMatrix, dynamic_map,
};
pub use random::{random_normal, random_uniform};
pub use role::{
    AddedKind, AttentionProjection, EmbeddingKind, Module, NormPosition, ParamKind, Role, Tower,
};
pub use run_precision::RunPrecision;
pub use scope::Scope;
pub use tape::{DropoutSeeds, Graph, Recompute, Var};
pub use value::Tensor;
