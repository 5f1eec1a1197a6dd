//! The arguments of `ask`, `predict` and `evaluate`.

use std::path::PathBuf;

use clap::ValueEnum;
use normed::data::Split;
use normed::recipe::TrainSpec;

use super::model_choice::{GenerationArgs, ImageArgs, ModelChoice};
use super::values::{EventFormat, Overwrite, in_range, split};

/// The model, the questions it answers, and how it generates answers.
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("questions").required(true).args(["data", "recipe"]))]
#[command(group = clap::ArgGroup::new("source").required(true).multiple(true).args(["model", "adapter", "recipe"]))]
pub struct AnswerArgs {
    #[command(flatten)]
    pub model: ModelChoice,
    /// JSON list or JSON Lines file with the questions, conversations or studies
    ///
    /// For predict, "-" reads JSON Lines from standard input, and answers each row at once. A question has image and question, a study
    /// for a report has image or images. To be scored, a question also has answer and optionally answer_type, a study
    /// has report. All may have id and split.
    #[arg(long, value_name = "FILE.jsonl")]
    pub data: Option<PathBuf>,
    /// What the model does with the data file [default: the run's task, or vqa]
    #[arg(long, value_enum, conflicts_with = "recipe")]
    pub task: Option<TaskName>,
    /// Prompt for reports [default: the recipe's, the run's, or "describe the findings of this study."]
    #[arg(long, value_name = "TEXT")]
    pub prompt: Option<String>,
    /// Folder that image paths are relative to [default: the data file's folder]
    #[arg(long, value_name = "DIR", conflicts_with = "recipe")]
    pub image_root: Option<PathBuf>,
    /// Leave out rows of --data that cannot be used
    #[arg(long, conflicts_with = "recipe")]
    pub skip_bad: bool,
    /// Use this recipe's data set, model and [generate] settings unless overridden
    #[arg(long, value_name = "RECIPE")]
    pub recipe: Option<PathBuf>,
    /// Override a recipe key, e.g. data.root=DIR (repeatable)
    #[arg(long = "set", value_name = "KEY=VALUE", requires = "recipe")]
    pub settings: Vec<String>,
    /// train, validate or test [default: all rows of --data, test of --recipe]
    #[arg(long, value_name = "SPLIT", value_parser = split)]
    pub split: Option<Split>,
    #[command(flatten)]
    pub generation: GenerationArgs,
    #[command(flatten)]
    pub image: ImageArgs,
    /// Examples per batch; affects speed and memory, not answers (rounding aside)
    #[arg(long, value_name = "N", default_value = "16")]
    #[arg(value_parser = in_range(TrainSpec::BATCH_SIZE), help_heading = "Computation")]
    pub batch_size: usize,
    #[command(flatten)]
    pub format: EventFormat,
}

#[derive(clap::Args)]
pub struct PredictArgs {
    #[command(flatten)]
    pub answers: AnswerArgs,
    /// Output file for the answers; - is standard output [default with --data -: standard output]
    #[arg(long, value_name = "FILE.jsonl", default_value_if("data", "-", "-"))]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    pub overwrite: Overwrite,
}

/// A question about an image, or a report.
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("source").required(true).multiple(true).args(["model", "adapter"]))]
pub struct AskArgs {
    #[command(flatten)]
    pub model: ModelChoice,
    /// Image file: JPEG, PNG, DICOM, NIfTI or another (repeat it for several views)
    #[arg(long = "image", value_name = "FILE", required = true)]
    pub images: Vec<PathBuf>,
    /// The question; not needed for a report
    #[arg(long, value_name = "TEXT")]
    pub question: Option<String>,
    /// What the model does [default: the run's task, or vqa]
    #[arg(long, value_enum)]
    pub task: Option<TaskName>,
    /// Prompt for a report [default: the run's, or "describe the findings of this study."]
    #[arg(long, value_name = "TEXT", conflicts_with = "question")]
    pub prompt: Option<String>,
    #[command(flatten)]
    pub generation: GenerationArgs,
    #[command(flatten)]
    pub image: ImageArgs,
    #[command(flatten)]
    pub format: EventFormat,
}

#[derive(clap::Args)]
pub struct EvaluateArgs {
    #[command(flatten)]
    pub answers: AnswerArgs,
    /// Also score with the images shuffled between questions
    ///
    /// The image-shuffled score shows how much is answered without looking at the image.
    #[arg(long)]
    pub blind: bool,
    /// Save the answers to this file (with --blind also to NAME_blind.jsonl)
    #[arg(long, value_name = "FILE.jsonl")]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    pub overwrite: Overwrite,
}

/// What the model does.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TaskName {
    /// Answer questions
    Vqa,
    /// Write reports
    Report,
}
