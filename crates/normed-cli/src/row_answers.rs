//! A model that answers rows one at a time: for `ask`, and for rows of standard input.

use std::path::PathBuf;

use normed::data::QuestionReader;
use normed::metrics::UnscoredPrediction;
use normed::models::GenerationConfig;
use normed::predict::{ModelLocation, OpenSettings, Predictor};
use normed::{Error, Result};

use crate::args::{GenerationArgs, ImageArgs, ModelChoice, TaskName};
use crate::model_settings::{generation_for, locate, open, task_for};

/// The options of a command that answers rows one at a time.
pub struct RowOptions<'a> {
    pub model: &'a ModelChoice,
    pub task: Option<TaskName>,
    pub prompt: Option<&'a String>,
    pub generation: &'a GenerationArgs,
    pub image: &'a ImageArgs,
    /// What paths of images are relative to.
    pub image_root: PathBuf,
}

/// What answers rows one at a time, before its model is opened.
pub struct RowSettings {
    location: ModelLocation,
    settings: OpenSettings,
    generation: GenerationConfig,
    /// Reads the rows.
    pub reader: QuestionReader,
}

impl RowSettings {
    /// Finds the model and the settings that the options choose.
    pub fn find(options: RowOptions<'_>) -> Result<Self> {
        let location = locate(options.model, None)?;
        let task = task_for(&location, options.task, options.prompt)?;
        let generation = options.generation.over(generation_for(&location, &task))?;
        let of_run = location.recipe.as_ref().map(|recipe| recipe.data.image);
        let image = options.image.over(of_run.unwrap_or_default());
        let reader = QuestionReader { image_root: options.image_root, task, image };
        Ok(Self { location, settings: options.model.settings(), generation, reader })
    }

    /// Opens the model.
    pub fn open(self) -> Result<RowAnswers> {
        let loaded = open(&self.location, self.settings, &self.generation)?;
        let predictor = Predictor::new(loaded, self.generation)?;
        Ok(RowAnswers { predictor, reader: self.reader })
    }
}

/// A model that answers rows one at a time.
pub struct RowAnswers {
    predictor: Predictor,
    reader: QuestionReader,
}

impl RowAnswers {
    /// Answers a row, the JSON text of an object; `number` is its id if it has none.
    pub fn answer(&self, row: &str, number: usize) -> Result<UnscoredPrediction> {
        let example = self.reader.read(row, number)?;
        let mut answers = self.predictor.answer(&[example])?;
        answers.pop().ok_or_else(|| Error::failed("the model", "it gave no answer"))
    }
}
