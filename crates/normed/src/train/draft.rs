//! A first recipe for a data file, with settings chosen from the data.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::available_memory::available_memory_bytes;
use super::draft_text::{Chosen, write_draft};
use super::plan::{BatchSetting, CostEstimate, plan};
use super::splits::Splits;
use crate::data::{Collator, Dataset, Split, Task, guess_jsonl_task, indices_of};
use crate::files::relative_path;
use crate::models::GenerationConfig;
use crate::recipe::{BestBy, ByteSize, Recipe, TrainSpec};
use crate::{Error, Result};

/// What a draft is made of.
#[derive(Debug, Clone)]
pub struct DraftRequest {
    /// The rows: a JSON list or JSON Lines.
    pub data: PathBuf,
    /// The folder that paths of images start from. Default: the file's.
    pub image_root: Option<PathBuf>,
    /// A model's folder, or the `ORG/NAME` of a fetched model.
    pub model: String,
    /// Where the recipe will be written. Paths in it are relative to its folder.
    pub out: PathBuf,
}

/// A recipe with a comment for each setting.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The recipe's text.
    pub text: String,
    /// Rows to train on, to choose the best epoch by, and to test on, in this order. Held-out rows are counted where they
    /// are used.
    pub rows: [usize; 3],
    /// Estimated memory and time.
    pub cost: CostEstimate,
    /// What the user should know of the data.
    pub warnings: Vec<String>,
}

/// An epoch has at least as many steps, if there are so many rows.
const STEPS_PER_EPOCH: usize = 10;
/// The batch sizes that are chosen from.
const BATCH_SIZES: [usize; 4] = [16, 8, 4, 2];
/// The steps of a run that a first try aims at.
const STEPS: usize = 300;
/// The numbers of epochs that are chosen from.
const EPOCHS: (usize, usize) = (3, 30);
/// The fractions of training images or groups that are tried for validation.
const HOLDOUTS: [f32; 3] = [0.1, 0.25, 0.5];
/// The part of the available memory that a run may take.
const MEMORY_PART: f64 = 0.8;

/// Chooses settings for a first run on a data file, and writes them as a recipe.
///
/// - The task: reports if the rows have reports and no questions.
/// - Validation: the rows' own split; else the smallest of 10, 25 and 50 % of the training images or groups that leaves
///   one on either side.
/// - The batch size: the largest of 16, 8, 4 and 2 that makes ten steps of an epoch; in parts or with recomputation if
///   a step would need more than 80 % of the memory that is available.
/// - Epochs: about 300 steps, in 3 to 30 epochs.
/// - The length of answers: the longest in the data, as far as the model has room.
///
/// # Errors
///
/// If the data or the model cannot be read, or the data has no row to train on or does not fit the model.
pub fn draft(request: &DraftRequest) -> Result<Draft> {
    let task = guess_jsonl_task(&request.data)?;
    let mut settings = settings_of(request, &task);
    let open = |settings: &[String]| Recipe::from_settings(&name_of(&request.out), settings);
    let first = open(&settings)?;
    let dataset = first.data.open()?.dataset;
    let splits = check_splits(&dataset, &request.data)?;
    let validation = Validation::choose(&dataset, &first)?;
    settings.extend(validation.settings());
    let batch_size = batch_size_for(validation.train);
    let epochs = epochs_for(validation.train.div_ceil(batch_size));
    settings.push(format!("train.epochs={epochs}"));
    settings.push(format!("train.batch_size={batch_size}"));
    let lengths = AnswerLengths::measure(&first, &*dataset)?;
    let max_new_tokens = lengths.choose(&task);
    settings.push(format!("generate.max_new_tokens={max_new_tokens}"));

    let mut recipe = open(&settings)?;
    let available = available_memory_bytes();
    recipe.memory = available.map(|bytes| ByteSize((bytes as f64 * MEMORY_PART) as u64));
    let planned = plan(&recipe)?;
    let own = planned.estimates.iter().find(|one| one.setting == BatchSetting::of(&recipe.train));
    let fits =
        |one: &&CostEstimate| recipe.memory.is_none_or(|memory| one.needs.peak as u64 <= memory.0);
    let cost = match own.filter(fits) {
        Some(own) => *own,
        None => *planned.chosen_estimate(&recipe)?,
    };
    let chosen = Chosen {
        model: model_path(request),
        file: relative_path(&request.data, folder_of(&request.out)),
        image_root: request
            .image_root
            .as_deref()
            .map(|root| relative_path(root, folder_of(&request.out))),
        name: name_of(&request.out),
        task,
        rows: [validation.train, validation.validate, splits[2]],
        holdout: validation.holdout,
        metric_is_last: validation.is_none(),
        epochs,
        setting: cost.setting,
        steps: planned.steps.unwrap_or_default(),
        default_lr: recipe.tuning.default_lr(),
        max_new_tokens,
        longest_answer: lengths.longest,
    };
    Ok(Draft { text: write_draft(&chosen), rows: chosen.rows, cost, warnings: planned.warnings })
}

/// The settings that follow from the request alone.
fn settings_of(request: &DraftRequest, task: &Task) -> Vec<String> {
    let text = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let path = |path: &Path| text(&path.to_string_lossy());
    let mut settings = vec![
        format!("model={}", text(&request.model)),
        "data.name=\"jsonl\"".to_owned(),
        format!("data.file={}", path(&request.data)),
        "tuning.method=\"layer_norm\"".to_owned(),
    ];
    if let Some(root) = &request.image_root {
        settings.push(format!("data.image_root={}", path(root)));
    }
    if !task.is_vqa() {
        settings.push("data.task=\"report\"".to_owned());
    }
    settings
}

/// The number of rows in each split. That there are rows to train on.
fn check_splits(dataset: &Arc<dyn Dataset>, data: &Path) -> Result<[usize; 3]> {
    let mut counts = [0; 3];
    for (count, split) in counts.iter_mut().zip([Split::Train, Split::Validate, Split::Test]) {
        *count = indices_of(&**dataset, split)?.len();
    }
    if counts[0] > 0 {
        return Ok(counts);
    }
    Err(Error::invalid(data.display(), "no row is in the split `train`").with_remedy(format!(
        "make splits: normed split --data {} --by group --out split.jsonl, and draft a recipe for that file",
        data.display()
    )))
}

/// How rows are chosen by which the best epoch is kept.
struct Validation {
    /// The fraction that is held out, if the data has no split for it and one is held out.
    holdout: Option<f32>,
    /// Rows to train on.
    train: usize,
    /// Rows to validate on; 0 if the last epoch is kept.
    validate: usize,
}

impl Validation {
    fn choose(dataset: &Arc<dyn Dataset>, recipe: &Recipe) -> Result<Self> {
        let split = |holdout: f32, metric: BestBy| {
            let spec = TrainSpec { holdout, metric, ..recipe.train.clone() };
            Splits::new(Arc::clone(dataset), &spec, recipe.seed)
        };
        for holdout in HOLDOUTS {
            if let Ok(Splits { train, validate, held_out, .. }) =
                split(holdout, recipe.train.metric)
            {
                let holdout = (held_out > 0).then_some(holdout);
                return Ok(Self { holdout, train: train.len(), validate: validate.len() });
            }
        }
        let Splits { train, .. } = split(0.0, BestBy::Last)?;
        Ok(Self { holdout: None, train: train.len(), validate: 0 })
    }

    /// Whether no rows choose the best epoch.
    fn is_none(&self) -> bool {
        self.validate == 0
    }

    fn settings(&self) -> Vec<String> {
        let holdout = self.holdout.map(|part| format!("train.holdout={part}"));
        let last = self.is_none().then(|| "train.metric=\"last\"".to_owned());
        holdout.into_iter().chain(last).collect()
    }
}

fn batch_size_for(rows: usize) -> usize {
    BATCH_SIZES
        .into_iter()
        .find(|size| rows / size >= STEPS_PER_EPOCH)
        .unwrap_or(2)
        .min(rows.max(1))
}

fn epochs_for(steps_per_epoch: usize) -> usize {
    STEPS.div_ceil(steps_per_epoch.max(1)).clamp(EPOCHS.0, EPOCHS.1)
}

/// Lengths of answers in tokens, end token included.
struct AnswerLengths {
    longest: usize,
    /// The most that fits after every prompt.
    room: usize,
}

impl AnswerLengths {
    fn measure(recipe: &Recipe, dataset: &dyn Dataset) -> Result<Self> {
        let declared = recipe.declare_base()?;
        let collator = Collator::new(
            Arc::clone(&declared.tokenizer),
            Arc::clone(&declared.image_processor),
            declared.text_rule.clone(),
        );
        let mut lengths = Self { longest: 1, room: collator.text_rule.positions() };
        for i in 0..dataset.len() {
            let example = dataset.get(i)?;
            let tokens = collator.tokenize(&example)?;
            let answer = tokens.answer.as_ref().map_or(0, Vec::len);
            lengths.longest = lengths.longest.max(answer + 1);
            lengths.room = lengths.room.min(collator.generation_room(&example, &tokens)?);
        }
        Ok(lengths)
    }

    /// The longest answer that is generated: that of the data, for questions at least the default.
    fn choose(&self, task: &Task) -> usize {
        let usual = GenerationConfig::default_for(task).max_new_tokens;
        let wanted = if task.is_vqa() { self.longest.max(usual) } else { self.longest };
        wanted.min(self.room).max(1)
    }
}

/// The model as the recipe names it: a folder relative to the recipe's, or the name of a repository.
fn model_path(request: &DraftRequest) -> String {
    match Path::new(&request.model) {
        folder if folder.is_dir() => relative_path(folder, folder_of(&request.out)),
        _ => request.model.clone(),
    }
}

fn folder_of(out: &Path) -> &Path {
    out.parent().unwrap_or(Path::new(""))
}

/// The name of the recipe and of its run directory.
fn name_of(out: &Path) -> String {
    out.file_stem().map_or_else(|| "run".to_owned(), |stem| stem.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_and_epochs_follow_the_number_of_rows() {
        let sizes = [1, 2, 25, 60, 100, 160, 10_000].map(batch_size_for);
        assert_eq!(sizes, [1, 2, 2, 4, 8, 16, 16]);
        assert_eq!([1, 10, 20, 100, 1000].map(epochs_for), [30, 30, 15, 3, 3]);
    }
}
