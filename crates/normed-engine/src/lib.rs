//! The engine of normed, which knows nothing of models, files and recipes: a crate of its own, so that
//! kernels are compiled once and not with each change elsewhere.
//!
//! - [`tensor`]: a value in memory, the parameters of a model, and the tape;
//! - [`ops`]: the fused operations, forward and backward.

pub mod ops;
pub mod tensor;
