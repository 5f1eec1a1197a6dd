//! Training: optimizer steps, runs, evaluation, checkpoints.
//!
//! A run:
//! - [`run()`] turns a [`Recipe`](crate::recipe::Recipe) into a run directory; `prepare` opens what it
//!   needs, `validate` chooses the best checkpoint, `finish` evaluates the test split and writes the
//!   results;
//! - [`train_step()`] makes one optimizer step, with [`AdamW`], a `schedule` and `param_groups`; `finite`
//!   and `alarm` stop a run that does not learn, and `divergence` warns of losses that rise;
//! - [`Evaluation`] generates answers and computes likelihoods;
//! - `fisher` selects the norms to train where a recipe trains a subset of them;
//! - `feature_cache` keeps the output of a frozen image encoder, and `fill_cache` computes it once;
//! - `directory`, `checkpoint` and `append_file` are what a stopped or killed run resumes from;
//! - [`Event`] reports what happens; `event_log`, `tensorboard`, `loss_curve`, `model_card` and `summary` write it;
//! - [`Provenance`] records the program, the machine and the data files.
//!
//! Before a run:
//! - [`plan()`] estimates memory and time, with `data_sizes`, `simulation`, `machine_speed` and
//!   `embedding_tables`;
//! - [`find_lr()`] suggests a learning rate.
//!
//! # Examples
//!
//! Two optimizer steps of LayerNorm tuning, with a tiny model and computer-drawn images:
//!
//! ```
//! # use normed::recipe::Recipe;
//! # use normed::train::{Event, RunOptions, run};
//! # fn main() -> normed::Result<()> {
//! let dir = tempfile::tempdir().unwrap();
//! let path = dir.path().join("recipe.toml");
//! let model = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/phantom");
//! let recipe = format!(
//!     "model = {model:?}\n\
//!      data = {{ name = \"phantom\", domain = \"source\", train = 8, validate = 4, test = 4 }}\n\
//!      tuning.method = \"layer_norm\"\n\
//!      train = {{ batch_size = 4, lr = 1e-3 }}\n"
//! );
//! std::fs::write(&path, recipe).unwrap();
//! let mut recipe = Recipe::open(&path, &[])?;
//! recipe.output = dir.path().join("run");
//!
//! let mut losses = Vec::new();
//! let completion = run(&recipe, &RunOptions::default(), &mut |event| {
//!     if let Event::StepDone { loss, .. } = event {
//!         losses.push(*loss);
//!     }
//! })?;
//! let outcome = completion.finished().expect("nothing stopped the run");
//! assert_eq!((outcome.steps, losses.len()), (2, 2));
//! assert!(outcome.trained < outcome.total / 50);
//! assert!(dir.path().join("run/adapter/adapter_model.safetensors").is_file());
//! # Ok(())
//! # }
//! ```

mod adamw;
mod alarm;
mod append_file;
mod available_memory;
mod checkpoint;
mod completion;
mod data_sizes;
mod directory;
mod divergence;
mod draft;
mod draft_text;
mod embedding_tables;
mod evaluate;
mod event;
mod event_log;
mod feature_cache;
mod fill_cache;
mod find_lr;
mod finish;
mod finite;
mod fisher;
mod fit_data;
mod image_record;
mod loss_curve;
mod lr_sweep;
mod machine_speed;
mod model_card;
mod param_groups;
mod peak_memory;
mod plan;
mod prepare;
mod provenance;
mod run;
mod schedule;
mod score_table;
mod simulation;
mod splits;
mod step;
mod summary;
mod tensorboard;
#[cfg(test)]
mod test_model;
mod timestamp;
mod validate;

pub use adamw::AdamW;
pub use completion::Completion;
pub use directory::{holds_run, is_running, read_outcome};
pub use draft::{Draft, DraftRequest, draft};
pub use evaluate::{Evaluation, Likelihood, predict_batch};
pub use event::{Event, Outcome, Subject, TestScores};
pub use find_lr::find_lr;
pub use lr_sweep::{LrSweep, SweepStep, Withheld};
pub use machine_speed::MachineSpeed;
pub use peak_memory::peak_memory_bytes;
pub use plan::{BatchSetting, CostEstimate, Plan, plan};
pub use provenance::Provenance;
pub use run::{RunOptions, run};
pub use simulation::MemoryNeeds;
pub use splits::fingerprint_data;
pub use step::{StepOptions, StepResult, train_step};
pub(crate) use timestamp::utc_now;
