//! normed adapts medical vision-language models by tuning their LayerNorms.
//!
//! The floors, from the ground up; each knows only those above it in this list:
//!
//! - [`Range`]: the numbers that a key or an option accepts;
//! - [`files`]: files read within a limit, and written whole or not at all;
//! - `pickle`: what Python writes, read and never executed;
//! - [`tensor`]: a value in memory, the parameters of a model, and the tape;
//! - [`ops`]: the fused operations, forward and backward;
//! - [`nn`]: layers, named as in the checkpoint;
//! - [`weights`]: checkpoints and adapters, in and out;
//! - [`hub`]: checkpoints and data sets of the Hugging Face hub, fetched and found;
//! - [`data`]: examples, images, text, batches;
//! - [`models`]: vision transformer, BERT, and their composition MISS;
//! - [`tuning`]: which parameters are trained;
//! - [`plot`]: pictures of numbers, as SVG and PNG;
//! - [`metrics`]: predictions in, numbers out;
//! - [`recipe`]: a whole run as data;
//! - [`train`]: the step, the run, evaluation, checkpoints;
//! - [`study`]: a comparison of many runs, and its tables;
//! - [`build`]: which build this is.

pub mod build;
pub mod data;
pub mod error;
pub mod files;
pub mod hub;
pub mod metrics;
pub mod models;
pub mod nn;
mod pickle;
pub mod plot;
mod range;
pub mod recipe;
pub mod study;
pub mod train;
pub mod tuning;
pub mod weights;

pub use error::{Error, ErrorKind, Result};
pub use normed_engine::{ops, tensor};
pub use range::Range;
