//! What `predict` and `evaluate` share: a model, and the questions or studies that it answers.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use indicatif::ProgressBar;
use normed::data::{
    Collator, DataSection, DataSpec, Dataset, FittedDataset, ImageOverlap, OnBadExample,
    ShuffledImages, Split, Subset, TextFit, indices_of,
};
use normed::files::Inputs;
use normed::metrics::{MajorityBaseline, Prediction, UnscoredPrediction};
use normed::models::{GenerationConfig, LoadedModel};
use normed::predict::ModelLocation;
use normed::recipe::Recipe;
use normed::train::{Completion, Evaluation};
use normed::{Error, Result};

use crate::args::AnswerArgs;
use crate::model_settings::{generation_for, locate, open, task_for, with_prompt};
use crate::output::{print_skipped, print_warning};
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
    /// The split that the questions are of, if they are of one.
    pub split: Option<Split>,
    /// Majority answers of the training split; none if there is no training split.
    pub constants: Option<MajorityBaseline>,
}

/// What answers are for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To read them: the true answers may be unknown.
    Ask,
    /// To score them: every row needs its answer.
    Score,
}

impl Answers {
    /// Opens the model and the questions, and checks the settings of generation and the `outputs`.
    pub fn open(args: &AnswerArgs, outputs: &OutputFiles, purpose: Purpose) -> Result<Self> {
        let recipe = args.recipe.as_ref().map(|path| Recipe::open(path, &args.settings));
        let recipe = recipe.transpose()?;
        let location = locate(&args.model, recipe.as_ref())?;
        let OpenedQuestions { questions, split, constants, section } =
            OpenedQuestions::open(args, recipe.as_ref(), &location, outputs, purpose)?;
        let rule = args.generation.over(generation_for(&location, &section.task))?;
        let loaded = open(&location, args.model.settings(), &rule)?;
        let collator = Arc::new(match purpose {
            Purpose::Ask => loaded.collator().without_answers(),
            Purpose::Score => loaded.collator(),
        });
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
            split,
            constants,
        })
    }

    /// Answers all questions.
    pub fn ask(&self) -> Result<Vec<UnscoredPrediction>> {
        self.answer(&self.questions, "answering", |evaluation, progress| {
            evaluation.ask(&self.rule, progress)
        })
    }

    /// Answers all questions, whose true answers are known.
    pub fn predict(&self) -> Result<Vec<Prediction>> {
        self.answer(&self.questions, "answering", |evaluation, progress| {
            evaluation.predict(&self.rule, progress)
        })
    }

    /// Answers all questions, with the images shuffled between them.
    pub fn predict_blind(&self) -> Result<Vec<Prediction>> {
        let blind: Arc<dyn Dataset> =
            Arc::new(ShuffledImages::new(Arc::clone(&self.questions), self.seed)?);
        self.answer(&blind, "answering with shuffled images", |evaluation, progress| {
            evaluation.predict(&self.rule, progress)
        })
    }

    fn answer<T>(
        &self,
        dataset: &Arc<dyn Dataset>,
        what: &'static str,
        answer: impl Fn(&Evaluation<'_>, Progress<'_>) -> Result<Completion<Vec<T>>>,
    ) -> Result<Vec<T>> {
        let indices: Vec<usize> = (0..dataset.len()).collect();
        let bar: ProgressBar = counting_bar(indices.len(), what);
        let evaluation = Evaluation {
            loaded: &self.loaded,
            collator: &self.collator,
            dataset,
            indices: &indices,
            batch_size: self.batch_size,
        };
        let predictions = answer(&evaluation, &mut |done| {
            bar.inc(done as u64);
            ControlFlow::Continue(())
        })?;
        bar.finish_and_clear();
        Ok(predictions.finished().unwrap_or_default()) // it is never stopped
    }
}

/// What an evaluation calls after each batch.
type Progress<'a> = &'a mut dyn FnMut(usize) -> ControlFlow<()>;

/// The questions that a command answers, and what belongs to them.
struct OpenedQuestions {
    questions: Arc<dyn Dataset>,
    /// The split that they are of, if they are of one.
    split: Option<Split>,
    /// Majority answers of the training split.
    constants: Option<MajorityBaseline>,
    section: DataSection,
}

impl OpenedQuestions {
    /// Opens the data of --recipe or --data. The `outputs` are checked once the files of the data are known.
    fn open(
        args: &AnswerArgs,
        recipe: Option<&Recipe>,
        location: &ModelLocation,
        outputs: &OutputFiles,
        purpose: Purpose,
    ) -> Result<Self> {
        let (section, split, place) = data_section(args, recipe, location)?;
        let opened = match purpose {
            Purpose::Ask => section.open_to_ask()?,
            Purpose::Score => section.open()?,
        };
        let mut inputs = Inputs::default();
        if let Some(recipe) = &args.recipe {
            inputs.add("the recipe", recipe);
        }
        location
            .directories()
            .for_each(|dir| add_model(&mut inputs, "the model or the adapter", dir));
        add_data(&mut inputs, &section, &*opened.dataset)?;
        outputs.paths.iter().try_for_each(|path| inputs.check_file(path, outputs.overwrite))?;
        print_warnings(&opened.warnings, &opened.skipped);
        let training_rows = indices_of(&*opened.dataset, Split::Train)?;
        let constants = match purpose {
            Purpose::Score if !training_rows.is_empty() => {
                let mut training = Vec::with_capacity(training_rows.len());
                for &i in &training_rows {
                    training.push(opened.dataset.get(i)?.expect_answer()?.clone());
                }
                Some(MajorityBaseline::from_training(&training))
            }
            _ => None,
        };
        let (questions, split) = of_split(opened.dataset, split, &training_rows)?;
        if questions.is_empty() {
            let split = split.map_or("file".to_owned(), |split| format!("{} split", split.name()));
            let cause = format!("the {split} has no questions");
            return Err(Error::invalid(place.display(), cause).with_remedy(
                "leave out --split, name another one, or make splits by normed split",
            ));
        }
        Ok(Self { questions, split, constants, section })
    }
}

/// The rows of `split`, or all rows; and the split that they are of, if they are of one. Warns of scores that are not
/// those of new images.
fn of_split(
    dataset: Arc<dyn Dataset>,
    split: Option<Split>,
    training_rows: &[usize],
) -> Result<(Arc<dyn Dataset>, Option<Split>)> {
    let Some(split) = split else {
        let (trained, all) = (training_rows.len(), dataset.len());
        if trained > 0 {
            print_warning(format_args!(
                "{trained} of the {all} rows are of the split `train`, so that this is not a test: --split test takes \
                 the test rows alone"
            ));
        }
        return Ok((dataset, (trained == all).then_some(Split::Train)));
    };
    let indices = indices_of(&*dataset, split)?;
    if split != Split::Train
        && let Some(overlap) = ImageOverlap::find(&*dataset, training_rows, &indices)?
        && let Some(warning) = overlap.warning()
    {
        print_warning(warning);
    }
    Ok((Arc::new(Subset::new(dataset, indices)), Some(split)))
}

/// Prints warnings about the data, and the rows that are skipped.
fn print_warnings(warnings: &[String], skipped: &[String]) {
    warnings.iter().for_each(print_warning);
    print_skipped(skipped);
}

/// The data section of --recipe or --data, the split to use (none for all rows), and the file it is from.
fn data_section<'a>(
    args: &'a AnswerArgs,
    recipe: Option<&Recipe>,
    location: &ModelLocation,
) -> Result<(DataSection, Option<Split>, &'a Path)> {
    let prompt = args.prompt.as_ref();
    let (mut section, split, place) = match (recipe, &args.data, &args.recipe) {
        (Some(recipe), _, Some(path)) => {
            let task = with_prompt(recipe.data.task.clone(), prompt)?;
            let section = DataSection { task, ..recipe.data.clone() };
            (section, args.split.or(Some(Split::Test)), path)
        }
        (_, Some(file), _) => {
            // Answers to some rows could be mistaken for answers to all rows.
            let on_bad_example =
                if args.skip_bad { OnBadExample::Skip } else { OnBadExample::Stop };
            let image_root = args.image_root.clone();
            let mut section: DataSection =
                DataSpec::Jsonl { file: file.clone(), image_root, on_bad_example }.into();
            section.task = task_for(location, args.task, prompt)?;
            let of_run = location.recipe.as_ref().map(|recipe| recipe.data.image);
            section.image = of_run.unwrap_or_default();
            (section, args.split, file)
        }
        _ => return Err(Error::invalid("arguments", "--data or --recipe is missing")),
    };
    section.image = args.image.over(section.image);
    Ok((section, split, place))
}
