//! The engine of normed: tensors, reverse-mode differentiation, and fused operations on the CPU.
//!
//! - [`tensor`]: values, the parameters of a model, and the tape that records a forward pass;
//! - [`ops`]: the operations, each with its forward and its backward.
//!
//! # What it knows, and what it does not
//!
//! The engine knows no model: no architecture, no config file, no checkpoint, no recipe. A model is a
//! function that calls operations on a [`Graph`](tensor::Graph). What the engine does know are words
//! that models, tuning methods and files share, so that they need not know each other:
//!
//! - a parameter's [`Role`](tensor::Role): tower, block, module, weight or bias. Layers declare it and
//!   tuning methods select by it. The engine reads it only to choose the dtype of frozen weights;
//! - a [`Plug`](tensor::Plug): what LoRA, DoRA, IA3, adapters, prefix tuning and prompt tuning add to a
//!   model, under the names that the Python library PEFT uses;
//! - the formats of quantized matrices, which are those of the Python library bitsandbytes.
//!
//! It is a crate of its own so that its kernels are compiled once, with optimization, and not again at
//! each change elsewhere.

#![cfg_attr(not(test), warn(clippy::too_many_lines))]

pub mod ops;
pub mod tensor;
