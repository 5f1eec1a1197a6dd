//! Values, parameters and the tape: what the operations of [`crate::ops`] stand on.

mod draw;
mod factor;
mod meter;
mod params;
mod pool;
mod prefix;
mod prompt;
mod quantised;
mod socket;
mod tape;
mod value;

pub use draw::{normal, uniform};
pub use factor::Factor;
pub use meter::{Meter, Operation, Work};
pub use params::{
    AddedPart, AttentionPart, EmbeddingPart, NormPlace, ParamId, Parameter, Parameters, Part, Role,
    Scope, Term, Tower,
};
pub use prefix::PrefixKv;
pub use quantised::{
    BLOCK, Bytes, Int8, Maxima, NF4_VALUES, Nf4, Quantisation, Quantised, STATISTICS_BLOCK,
    dynamic_values,
};
pub use socket::{Bottleneck, Delta, LowRank, LowRankShape, Scaled};
pub use tape::{Draws, Gradients, Graph, Recompute, Source, Var};
pub use value::{Elements, Precision, Tensor};
