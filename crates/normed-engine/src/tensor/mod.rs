//! Values, parameters and the tape: what the operations of [`crate::ops`] stand on.

mod factor;
mod meter;
mod params;
mod pool;
mod prefix;
mod quantized;
mod random;
mod socket;
mod soft_prompt;
mod tape;
mod value;

pub use factor::Factor;
pub use meter::{Meter, Operation, Work};
pub use params::{
    AddedKind, AddedTraining, AttentionProjection, EmbeddingKind, Module, NormPosition, ParamId,
    ParamKind, Parameter, Parameters, Role, Scope, Tower,
};
pub use prefix::PrefixKv;
pub use quantized::{
    Absmax, Bytes, Int8, NF4_BLOCK, NF4_NESTED_BLOCK, NF4_VALUES, Nf4, Quantization,
    QuantizedMatrix, dynamic_map,
};
pub use random::{random_normal, random_uniform};
pub use socket::{Bottleneck, ChannelScale, LowRank, LowRankConfig, MAX_ADDED_SIZE, Plug};
pub use tape::{DropoutSeeds, GradientSlot, Gradients, Graph, Recompute, Var};
pub use value::{Elements, Precision, Tensor};
