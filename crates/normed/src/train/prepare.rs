//! Steps that a run and a learning-rate sweep have in common before they train.

use super::directory::RunDirectory;
use super::event::Event;
use super::plan::{BatchSetting, plan};
use crate::Result;
use crate::models::LoadedModel;
use crate::recipe::{Recipe, TrainSpec};
use crate::tuning::Selection;

/// The recipe with the batch setting that fits its memory limit, and the event that reports the choice.
///
/// A recipe without a limit stays as it is, without an event. A resumed run keeps the setting that it
/// began with.
pub(super) fn resolve_for_memory(recipe: &Recipe, resume: bool) -> Result<(Recipe, Option<Event>)> {
    let Some(memory) = recipe.memory else { return Ok((recipe.clone(), None)) };
    let mut resolved = recipe.clone();
    (resolved.memory, resolved.planned_for) = (None, Some(memory));
    if resume
        && let Some(began) = RunDirectory::recipe(&recipe.output)?
        && began.planned_for == Some(memory)
        && began.train.examples_per_step() == recipe.train.examples_per_step()
    {
        apply_setting(&mut resolved.train, BatchSetting::of(&began.train));
        return Ok((resolved, None));
    }
    let estimate = Box::new(*plan(recipe)?.chosen_estimate(recipe)?);
    apply_setting(&mut resolved.train, estimate.setting);
    Ok((resolved, Some(Event::Planned { memory, estimate })))
}

fn apply_setting(train: &mut TrainSpec, setting: BatchSetting) {
    let BatchSetting { batch_size, grad_accum_steps, recompute } = setting;
    (train.batch_size, train.grad_accum_steps) = (batch_size, grad_accum_steps);
    train.recompute = recompute;
}

/// Opens the base model and selects, adds and initializes the parameters that the recipe trains.
pub(super) fn open_tuned_base(recipe: &Recipe) -> Result<(LoadedModel, Selection)> {
    let mut loaded = recipe.open_base()?;
    let tuned = recipe.tuning.apply(&mut loaded.params)?;
    recipe.tuning.initialize(&mut loaded.params, recipe.seed);
    loaded.params.set_precision(recipe.precision);
    Ok((loaded, tuned))
}
