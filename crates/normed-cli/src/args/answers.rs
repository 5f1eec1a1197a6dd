//! The arguments of `predict` and `evaluate`.

use std::path::PathBuf;

use clap::ValueEnum;
use normed::data::{Split, TemplateName};
use normed::models::GenerationConfig;
use normed::recipe::TrainSpec;
use normed::tensor::Precision;

use super::values::{Overwrite, Verbosity, in_range, precision, split, template};

/// The model, the questions it answers, and how it generates answers.
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("questions").required(true).args(["data", "recipe"]))]
pub struct AnswerArgs {
    /// Model folder, or the ORG/NAME of a fetched model
    #[arg(long, value_name = "MODEL", required_unless_present = "recipe")]
    pub model: Option<PathBuf>,
    /// Adapter folder written by a run, e.g. runs/my/adapter
    #[arg(long, value_name = "DIR")]
    pub adapter: Option<PathBuf>,
    /// Give the model as many tokens as the adapter has, and use the adapter's tokenizer if it has one
    #[arg(long, requires = "adapter")]
    pub resize_vocabulary: bool,
    /// JSON list or JSON Lines file with the questions, conversations or studies
    ///
    /// A question has id, image, question, answer and answer_type. A study for a report has id, images and
    /// report. Both may have split.
    #[arg(long, value_name = "FILE.jsonl")]
    pub data: Option<PathBuf>,
    /// What the model does with the data file
    #[arg(long, value_enum, default_value = "vqa", conflicts_with = "recipe")]
    pub task: TaskName,
    /// Prompt for reports [default: the recipe's, or "describe the findings of this study."]
    #[arg(long, value_name = "TEXT")]
    pub prompt: Option<String>,
    /// Folder that image paths are relative to [default: the data file's folder]
    #[arg(long, value_name = "DIR", conflicts_with = "recipe")]
    pub image_root: Option<PathBuf>,
    /// Use this recipe's data set, model and [generate] settings unless overridden
    #[arg(long, value_name = "RECIPE")]
    pub recipe: Option<PathBuf>,
    /// Override a recipe key, e.g. data.root=DIR (repeatable)
    #[arg(long = "set", value_name = "KEY=VALUE", requires = "recipe")]
    pub settings: Vec<String>,
    /// Prompt template [default: the recipe's, or the checkpoint's]
    #[arg(long, value_name = "NAME", value_parser = template())]
    pub template: Option<TemplateName>,
    /// train, validate or test [default: all rows of --data, test of --recipe]
    #[arg(long, value_name = "SPLIT", value_parser = split)]
    pub split: Option<Split>,
    /// Maximum answer length in tokens, end token included [default: 10; reports: 100]
    ///
    /// The model has to have room for them after the prompt.
    #[arg(long, value_name = "N", value_parser = in_range(GenerationConfig::MAX_NEW_TOKENS))]
    #[arg(help_heading = "Generation")]
    pub max_new_tokens: Option<usize>,
    /// Beam search width; 1 is greedy decoding [default: 1]
    #[arg(long, value_name = "N", value_parser = in_range(GenerationConfig::NUM_BEAMS))]
    #[arg(help_heading = "Generation")]
    pub num_beams: Option<usize>,
    /// Length penalty of beam search: scores are divided by length^X [default: 1]
    #[arg(long, value_name = "X", value_parser = in_range(GenerationConfig::LENGTH_PENALTY))]
    #[arg(allow_negative_numbers = true, help_heading = "Generation")]
    pub length_penalty: Option<f32>,
    /// Penalty for tokens already generated; 1 is none [default: 1]
    ///
    /// The logit of a repeated token is divided by X if positive, and multiplied by X if negative.
    #[arg(long, value_name = "X", value_parser = in_range(GenerationConfig::REPETITION_PENALTY))]
    #[arg(help_heading = "Generation")]
    pub repetition_penalty: Option<f32>,
    /// Sampling temperature; 0 always takes the most likely token [default: 0]
    #[arg(long, value_name = "T", value_parser = in_range(GenerationConfig::TEMPERATURE))]
    #[arg(help_heading = "Generation")]
    pub temperature: Option<f32>,
    /// Sample only from the most likely tokens whose probabilities sum to P [default: 1]
    #[arg(long, value_name = "P", value_parser = in_range(GenerationConfig::TOP_P))]
    #[arg(help_heading = "Generation")]
    pub top_p: Option<f32>,
    /// Random seed of sampling [default: 0]
    #[arg(long, value_name = "N", help_heading = "Generation")]
    pub seed: Option<u64>,
    /// Examples per batch; affects speed and memory, not answers (rounding aside)
    #[arg(long, value_name = "N", default_value = "16")]
    #[arg(value_parser = in_range(TrainSpec::BATCH_SIZE), help_heading = "Computation")]
    pub batch_size: usize,
    /// Number format of weights and matrix products [default: see --help]
    ///
    /// Default: the recipe's. Without a recipe f32, or bf16 if the checkpoint is half precision and bf16 is
    /// faster on this machine.
    #[arg(long, value_name = "FORMAT", value_parser = precision(), help_heading = "Computation")]
    pub precision: Option<Precision>,
    #[command(flatten)]
    pub verbosity: Verbosity,
}

#[derive(clap::Args)]
pub struct PredictArgs {
    #[command(flatten)]
    pub answers: AnswerArgs,
    /// Output file for the answers
    #[arg(long, value_name = "FILE.jsonl")]
    pub out: PathBuf,
    #[command(flatten)]
    pub overwrite: Overwrite,
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

/// What the model does with a data file.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TaskName {
    /// Answer the questions in the file
    Vqa,
    /// Write a report for each study in the file
    Report,
}
