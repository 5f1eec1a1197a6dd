//! The model that the options of a command choose, and the settings that it is asked with.

use normed::data::Task;
use normed::models::{GenerationConfig, LoadedModel};
use normed::predict::{ModelLocation, OpenSettings};
use normed::recipe::{Base, Recipe};
use normed::{Error, Result};
use serde_json::json;

use crate::args::{ModelChoice, TaskName};
use crate::output::{print_detail, print_warning};

/// The model that the options choose, with the settings of `recipe` if there is one.
pub fn locate(model: &ModelChoice, recipe: Option<&Recipe>) -> Result<ModelLocation> {
    let default = match recipe.map(|recipe| &recipe.base) {
        Some(Base::Model(dir)) => Some(dir.as_path()),
        Some(Base::Init(_)) if model.model.is_none() && model.adapter.is_none() => {
            return Err(Error::invalid("arguments", "the recipe has no model: it makes one")
                .with_remedy("give its run, or the model that it made, with --model"));
        }
        _ => None,
    };
    let location =
        ModelLocation::combine(model.model.as_deref(), model.adapter.as_deref(), default)?;
    print_detail("model", location.base.display());
    if let Some(adapter) = &location.adapter {
        print_detail("adapter", adapter.display());
    }
    Ok(location.with_recipe(recipe))
}

/// Opens the model, with what is to be said about it.
pub fn open(
    location: &ModelLocation,
    settings: OpenSettings,
    rule: &GenerationConfig,
) -> Result<LoadedModel> {
    let opened = location.open(settings)?;
    opened.warnings.iter().for_each(print_warning);
    print_detail("precision", opened.loaded.params.precision().name());
    print_detail("generation", json!(rule));
    Ok(opened.loaded)
}

/// The settings of generation for `task` of the model's recipe, or the task's default.
pub fn generation_for(location: &ModelLocation, task: &Task) -> GenerationConfig {
    let recipe = location.recipe.as_ref();
    match recipe.filter(|recipe| recipe.data.task.is_vqa() == task.is_vqa()) {
        Some(recipe) => recipe.generate.clone(),
        None => GenerationConfig::default_for(task),
    }
}

/// The task of the options, or the run's; with the prompt of the options, or the run's.
pub fn task_for(
    location: &ModelLocation,
    task: Option<TaskName>,
    prompt: Option<&String>,
) -> Result<Task> {
    let of_run = location.recipe.as_ref().map(|recipe| recipe.data.task.clone());
    let task = match (task, of_run) {
        (None | Some(TaskName::Vqa), Some(Task::Vqa)) | (Some(TaskName::Vqa), _) | (None, None) => {
            Task::Vqa
        }
        (_, Some(report @ Task::Report { .. })) => report,
        (Some(TaskName::Report), _) => Task::report(),
    };
    with_prompt(task, prompt)
}

/// `task` with this prompt, if one is given.
pub fn with_prompt(task: Task, prompt: Option<&String>) -> Result<Task> {
    match (task, prompt) {
        (Task::Report { .. }, Some(prompt)) => Ok(Task::Report { prompt: prompt.clone() }),
        (Task::Vqa, Some(_)) => {
            let cause = "is only used for reports, and the task is to answer questions";
            Err(Error::invalid("--prompt", cause).with_remedy("add --task report"))
        }
        (task, None) => Ok(task),
    }
}
