//! Values, parameters and the tape: what the operations of [`crate::ops`] stand on.

mod meter;
mod params;
mod pool;
mod tape;
mod value;

pub use meter::{Meter, Operation, Work};
pub use params::{
    AttentionPart, EmbeddingPart, NormPlace, ParamId, Parameter, Parameters, Part, Role, Scope,
    Term, Tower,
};
pub use tape::{Gradients, Graph, Recompute, Source, Var};
pub use value::{Elements, Precision, Tensor};
