//! normed fine-tunes medical vision-language models by training their LayerNorms, on a CPU and without Python.
//!
//! The models are MISS (BLIP's model for visual question answering) and LLaVA, to which LLaVA-Med belongs. They
//! answer questions about medical images or write reports of studies. LayerNorm tuning
//! ([arXiv 2404.16385](https://arxiv.org/abs/2404.16385)) trains less than 1 % of the parameters. LoRA, IA3, adapters,
//! prompts, full fine-tuning and other methods are there for comparison, together or separately for each part of a
//! model. Every score comes with a 95 % interval, the score of the majority answer, and the score with the images
//! shuffled. Checkpoints are read and written as Hugging Face's transformers does, and adapters as PEFT does.
//!
//! # Example
//!
//! A recipe says what to train on which data; [`train::run()`] trains, evaluates and saves the result. This run
//! tunes the LayerNorms of the small model that comes with the repository, on computer-drawn images.
//!
//! ```
//! use normed::metrics::Metric;
//! use normed::recipe::Recipe;
//! use normed::train::{RunOptions, run};
//!
//! # fn main() -> normed::Result<()> {
//! let dir = tempfile::tempdir().unwrap();
//! let path = dir.path().join("recipe.toml");
//! let model = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/phantom");
//! let recipe = format!(
//!     "model = {model:?}\n\
//!      data = {{ name = \"phantom\", domain = \"shifted\", train = 8, validate = 4, test = 8 }}\n\
//!      tuning.method = \"layer_norm\"\n\
//!      train = {{ epochs = 1, batch_size = 4 }}\n"
//! );
//! std::fs::write(&path, recipe).unwrap();
//! let mut recipe = Recipe::open(&path, &[])?;
//! recipe.output = dir.path().join("run");
//!
//! let options = RunOptions { test: true, ..RunOptions::default() };
//! let completion = run(&recipe, &options, &mut |_event| {})?;
//! let outcome = completion.finished().expect("nothing stopped the run");
//! println!("{} of {} parameters are trained", outcome.trained, outcome.total);
//! let scores = outcome.test.expect("the data set has a test split").after;
//! let exact_match = scores.get(Metric::ExactMatch).expect("there are questions");
//! println!("exact match {:.1} %, {} questions", 100.0 * exact_match.value, exact_match.n);
//! # assert_eq!(exact_match.n, 8);
//! # Ok(())
//! # }
//! ```
//!
//! A program can also start lower: [`models::load()`] reads a model, [`tuning::Tuning`] selects what is trained,
//! [`train::train_step()`] makes one optimizer step, and [`models::generate()`] answers questions.
//!
//! # Modules
//!
//! From the ground up; each module uses only modules above it in this list.
//!
//! - [`Error`]: the kind of an error, where it happened, why, and what to do about it;
//! - [`Range`]: the numbers that a recipe key or an option accepts;
//! - [`build`]: which build of normed this is;
//! - [`files`]: reading files within a limit, and writing them atomically;
//! - `pickle`: reading Python's pickle format without executing anything;
//! - [`plot`]: plots as SVG and PNG;
//! - [`tensor`]: tensors, the parameters of a model, and the tape that records a forward pass;
//! - [`ops`]: fused operations, each with its forward and its backward pass;
//! - [`nn`]: the layers that models are made of;
//! - [`weights`]: reading and writing checkpoints and adapters;
//! - [`hub`]: fetching models and data sets from the Hugging Face hub, and finding them in its cache;
//! - [`data`]: data sets, images, tokenizers, prompts and batches;
//! - [`metrics`]: scores of predictions, with intervals, baselines and significance tests;
//! - [`models`]: MISS and LLaVA, loading and saving them, and generating answers;
//! - [`tuning`]: the tuning methods, and which parameters each trains;
//! - [`recipe`]: TOML files that describe a run;
//! - [`train`]: optimizer steps, runs, evaluation, checkpoints, and the cost of a run;
//! - [`predict`]: finding and opening a model, with its adapter, and answering rows;
//! - [`study`]: comparisons of many runs, with tables, plots and a report.
//!
//! [`tensor`] and [`ops`] are the crate `normed-engine`.

#![cfg_attr(not(test), warn(clippy::too_many_lines))]

pub mod build;
pub mod data;
mod digits;
pub mod error;
pub mod files;
pub mod hub;
pub mod metrics;
pub mod models;
mod near_name;
pub mod nn;
mod pickle;
pub mod plot;
pub mod predict;
mod range;
pub mod recipe;
pub mod study;
pub mod train;
pub mod tuning;
pub mod weights;

pub use error::{Error, ErrorKind, Result};
pub use normed_engine::{ops, tensor};
pub use range::Range;
