//! What `predict` and `evaluate` share: a model, and the questions or studies that it answers.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use indicatif::ProgressBar;
use normed::data::{
    Collator, DataSection, DataSpec, Dataset, FittedDataset, ImageOverlap, OnBadExample,
    ShuffledImages, Split, Subset, Task, TextFit, indices_of,
};
use normed::files::Inputs;
use normed::hub;
use normed::metrics::{MajorityBaseline, Prediction};
use normed::models::{self, GenerationConfig, LoadedModel};
use normed::recipe::{Base, Recipe};
use normed::tensor::{Parameters, Precision};
use normed::train::Evaluation;
use normed::weights::{BaseCheck, load_adapter};
use normed::{Error, Result};

use crate::args::{AnswerArgs, TaskName, Verbosity};
use crate::output::print_err;
use crate::outputs::{add_data, add_model};
use crate::progress::counting_bar;

/// The files that a command writes its answers to.
pub struct OutputFiles {
    pub paths: Vec<PathBuf>,
    /// Whether an earlier result is overwritten.
    pub overwrite: bool,
}

/// An opened model, and the questions that it answers.
pub struct Answers {
    loaded: LoadedModel,
    collator: Arc<Collator>,
    questions: Arc<dyn Dataset>,
    rule: GenerationConfig,
    batch_size: usize,
    /// Seed of the image shuffle: the recipe's, as in the run itself.
    seed: u64,
    verbosity: Verbosity,
    /// Majority answers of the training split; none if there is no training split.
    pub constants: Option<MajorityBaseline>,
}

impl Answers {
    /// Opens the model and the questions, and checks the settings of generation and the `outputs`.
    pub fn open(args: &AnswerArgs, outputs: &OutputFiles) -> Result<Self> {
        let recipe = args.recipe.as_ref().map(|path| Recipe::open(path, &args.settings));
        let recipe = recipe.transpose()?;
        let (questions, constants, section) = questions(args, recipe.as_ref(), outputs)?;
        let rule = generation_config(args, recipe.as_ref(), &section.task)?;
        let loaded = model(args, recipe.as_ref())?;
        let collator = Arc::new(loaded.collator());
        let fit = TextFit {
            collator: &collator,
            max_new_tokens: rule.max_new_tokens,
            generates_for: &|_| true,
            on_bad_example: section.set.on_bad_example(),
        };
        let FittedDataset { dataset: questions, skipped, warnings } = fit.apply(questions)?;
        print_warnings(&warnings, &skipped);
        rule.validate()?;
        Ok(Self {
            loaded,
            collator,
            questions,
            rule,
            batch_size: args.batch_size,
            seed: recipe.map_or(0, |recipe| recipe.seed),
            verbosity: args.verbosity,
            constants,
        })
    }

    /// Answers all questions.
    pub fn predict(&self) -> Result<Vec<Prediction>> {
        self.answer(&self.questions, "answering")
    }

    /// Answers all questions, with the images shuffled between them.
    pub fn predict_blind(&self) -> Result<Vec<Prediction>> {
        let blind: Arc<dyn Dataset> =
            Arc::new(ShuffledImages::new(Arc::clone(&self.questions), self.seed)?);
        self.answer(&blind, "answering with shuffled images")
    }

    fn answer(&self, dataset: &Arc<dyn Dataset>, what: &'static str) -> Result<Vec<Prediction>> {
        let indices: Vec<usize> = (0..dataset.len()).collect();
        let bar: ProgressBar = counting_bar(indices.len(), what, self.verbosity);
        let evaluation = Evaluation {
            loaded: &self.loaded,
            collator: &self.collator,
            dataset,
            indices: &indices,
            batch_size: self.batch_size,
        };
        let predictions = evaluation.predict(&self.rule, &mut |done| {
            bar.inc(done as u64);
            ControlFlow::Continue(())
        })?;
        bar.finish_and_clear();
        Ok(predictions.finished().unwrap_or_default()) // it is never stopped
    }
}

/// The recipe, and the files of the model and the adapter.
fn inputs(args: &AnswerArgs, recipe: Option<&Recipe>) -> Inputs {
    let mut inputs = Inputs::default();
    if let Some(recipe) = &args.recipe {
        inputs.add("the recipe", recipe);
    }
    if let Some(adapter) = &args.adapter {
        add_model(&mut inputs, "the adapter", adapter);
    }
    let model =
        model_directory(args, recipe).and_then(|dir| hub::resolve_path(dir, hub::RepoKind::Model));
    // Where there is no model, opening it says so.
    if let Ok(model) = model {
        add_model(&mut inputs, "the model", &model);
    }
    inputs
}

/// The questions, the majority answers of their training split, and the data section. The `outputs` are checked
/// once the files of the data are known.
fn questions(
    args: &AnswerArgs,
    recipe: Option<&Recipe>,
    outputs: &OutputFiles,
) -> Result<(Arc<dyn Dataset>, Option<MajorityBaseline>, DataSection)> {
    let (spec, split, place) = data_section(args, recipe)?;
    let opened = spec.open()?;
    let mut inputs = inputs(args, recipe);
    add_data(&mut inputs, &spec, &*opened.dataset)?;
    outputs.paths.iter().try_for_each(|path| inputs.check_file(path, outputs.overwrite))?;
    print_warnings(&opened.warnings, &opened.skipped);
    let training_rows = indices_of(&*opened.dataset, Split::Train)?;
    let mut training = Vec::new();
    for &i in &training_rows {
        training.push(opened.dataset.get(i)?);
    }
    let training = training.iter().map(|example| (example.answer.as_str(), example.answer_type));
    let constants = (training.len() > 0).then(|| MajorityBaseline::from_training(training));
    let questions: Arc<dyn Dataset> = match split {
        None => opened.dataset,
        Some(split) => {
            let indices = indices_of(&*opened.dataset, split)?;
            if split != Split::Train
                && let Some(overlap) =
                    ImageOverlap::find(&*opened.dataset, &training_rows, &indices)?
                && let Some(warning) = overlap.warning()
            {
                print_err(format_args!("warning: {warning}"));
            }
            Arc::new(Subset::new(opened.dataset, indices))
        }
    };
    if questions.is_empty() {
        let split = split.map_or("file".to_owned(), |split| format!("{} split", split.name()));
        let cause = format!("the {split} has no questions");
        return Err(Error::invalid(place.display(), cause));
    }
    Ok((questions, constants, spec))
}

/// Prints warnings about the data, and the rows that are skipped.
fn print_warnings(warnings: &[String], skipped: &[String]) {
    warnings.iter().for_each(|warning| print_err(format_args!("warning: {warning}")));
    if !skipped.is_empty() {
        print_err(format_args!("warning: {} rows are skipped:", skipped.len()));
        skipped.iter().for_each(|row| print_err(format_args!("  {row}")));
    }
}

/// The data section of --recipe or --data, the split to use (none for all rows), and the file it is from.
fn data_section<'a>(
    args: &'a AnswerArgs,
    recipe: Option<&Recipe>,
) -> Result<(DataSection, Option<Split>, &'a Path)> {
    let (mut section, split, place) = match (recipe, &args.data, &args.recipe) {
        (Some(recipe), _, Some(path)) => {
            (recipe.data.clone(), args.split.or(Some(Split::Test)), path)
        }
        (_, Some(file), _) => {
            // Answers to some rows could be mistaken for answers to all rows.
            let on_bad_example = OnBadExample::Stop;
            let image_root = args.image_root.clone();
            let mut section: DataSection =
                DataSpec::Jsonl { file: file.clone(), image_root, on_bad_example }.into();
            if args.task == TaskName::Report {
                section.task = Task::report();
            }
            (section, args.split, file)
        }
        _ => return Err(Error::invalid("arguments", "--data or --recipe is missing")),
    };
    match (&mut section.task, &args.prompt) {
        (Task::Report { prompt }, Some(own)) => prompt.clone_from(own),
        (Task::Vqa, Some(_)) => {
            let cause = "is only used for reports, and the task is to answer questions";
            return Err(Error::invalid("--prompt", cause)
                .with_remedy("add --task report to write reports for the studies of --data"));
        }
        (_, None) => {}
    }
    Ok((section, split, place))
}

/// The options' settings over the recipe's, or over the task's defaults.
fn generation_config(
    args: &AnswerArgs,
    recipe: Option<&Recipe>,
    task: &Task,
) -> Result<GenerationConfig> {
    let base = match recipe {
        Some(recipe) => recipe.generate.clone(),
        None => GenerationConfig::default_for(task),
    };
    let rule = GenerationConfig {
        max_new_tokens: args.max_new_tokens.unwrap_or(base.max_new_tokens),
        num_beams: args.num_beams.unwrap_or(base.num_beams),
        length_penalty: args.length_penalty.unwrap_or(base.length_penalty),
        repetition_penalty: args.repetition_penalty.unwrap_or(base.repetition_penalty),
        temperature: args.temperature.unwrap_or(base.temperature),
        top_p: args.top_p.unwrap_or(base.top_p),
        seed: args.seed.unwrap_or(base.seed),
    };
    // How many tokens fit is known once the model is: a number that is too large is refused then.
    GenerationConfig { max_new_tokens: rule.max_new_tokens.min(1), ..rule.clone() }.validate()?;
    Ok(rule)
}

/// The model's directory, or its name on the hub.
fn model_directory<'a>(args: &'a AnswerArgs, recipe: Option<&'a Recipe>) -> Result<&'a Path> {
    match (&args.model, recipe.map(|recipe| &recipe.base)) {
        (Some(dir), _) | (None, Some(Base::Model(dir))) => Ok(dir),
        _ => Err(Error::invalid("arguments", "the recipe has no model: it makes one")
            .with_remedy("give the model that it made with --model")),
    }
}

/// The model, with the adapter if one is given.
fn model(args: &AnswerArgs, recipe: Option<&Recipe>) -> Result<LoadedModel> {
    let dir = model_directory(args, recipe)?;
    let dir = &hub::resolve_path(dir, hub::RepoKind::Model)?;
    let mut overrides = recipe.map(Recipe::load_overrides).unwrap_or_default();
    overrides.template = args.template.or(overrides.template);
    let mut loaded = models::load_as_stored(dir, overrides)?;
    if let Some(adapter) = &args.adapter {
        let read = if args.resize_vocabulary {
            models::load_adapter_and_grow(&mut loaded, adapter, overrides)?
        } else {
            let base = BaseCheck::Is(&loaded.content_hash);
            load_adapter(adapter, &mut loaded.params, base)?
        };
        read.warnings.iter().for_each(|warning| print_err(format_args!("warning: {warning}")));
    }
    let precision = args.precision.or(recipe.map(|recipe| recipe.precision));
    loaded.params.set_precision(precision.unwrap_or_else(|| default_precision(&loaded.params)));
    Ok(loaded)
}

/// The default without a recipe: f32, or for a half-precision checkpoint the faster format, as f32 would
/// double its memory.
fn default_precision(params: &Parameters) -> Precision {
    let is_half = params.iter().any(|(_, p)| p.value().bytes() < size_of::<f32>() * p.len());
    if is_half { Precision::fastest() } else { Precision::F32 }
}
