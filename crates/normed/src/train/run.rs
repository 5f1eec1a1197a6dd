//! A run from recipe to run directory.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::{Event, Outcome};
use crate::Result;
use crate::recipe::Recipe;

/// What a run depends on beside its recipe: nothing here changes what it computes.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// The run directory.
    pub output: PathBuf,
    /// Go on from the checkpoint in `output`; start afresh if there is none yet.
    pub resume: bool,
    /// Evaluate the test split, with the base before training and with the best checkpoint after.
    pub test: bool,
    /// Set (by Ctrl-C, say) to make the run finish its step, save, and return.
    pub stop: Arc<AtomicBool>,
}

/// Trains what `recipe` says and fills the run directory: recipe.toml as resolved, events.jsonl,
/// a TensorBoard event file, metrics.json, loss.svg, predictions.jsonl of the test split, adapter/
/// (or model/ where the recipe makes a base model), and checkpoint/ while it is not over.
///
/// None if it was stopped before its end.
pub fn run(
    recipe: &Recipe,
    options: &RunOptions,
    on_event: &mut dyn FnMut(&Event),
) -> Result<Option<Outcome>> {
    let _ = (recipe, options, on_event);
    todo!()
}
