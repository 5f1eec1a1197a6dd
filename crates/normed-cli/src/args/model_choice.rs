//! Options that choose a model, how images are read and how answers are generated: those of every command that asks a
//! model.

use std::path::PathBuf;

use normed::Result;
use normed::data::{Axis, ImageOptions, SliceIndex, TemplateName, Window};
use normed::models::GenerationConfig;
use normed::predict::OpenSettings;
use normed::tensor::RunPrecision;

use super::values::{axis, in_range, run_precision, slice_index, template, window};

/// The model and its adapter.
#[derive(clap::Args)]
pub struct ModelChoice {
    /// Model folder, run folder, or the ORG/NAME of a fetched model [default: the adapter's base]
    #[arg(long, value_name = "MODEL")]
    pub model: Option<PathBuf>,
    /// Run folder, e.g. runs/my, or adapter folder
    #[arg(long, value_name = "RUN")]
    pub adapter: Option<PathBuf>,
    /// Give the model as many tokens as the adapter has, and use the adapter's tokenizer if it has one
    #[arg(long, requires = "adapter")]
    pub resize_vocabulary: bool,
    /// Prompt template [default: the recipe's, or the checkpoint's]
    #[arg(long, value_name = "NAME", value_parser = template())]
    pub template: Option<TemplateName>,
    /// Number format of weights and matrix products [default: the recipe's, the run's, or f32]
    ///
    /// Without a recipe and a run it is bf16 if the checkpoint is half precision and bf16 is faster on this machine.
    /// int8 multiplies the matrices of linear layers in integers and everything else in bf16.
    #[arg(long, value_name = "FORMAT", value_parser = run_precision(), help_heading = "Computation")]
    pub precision: Option<RunPrecision>,
}

impl ModelChoice {
    /// The settings to open the model with.
    pub fn settings(&self) -> OpenSettings {
        let Self { template, precision, resize_vocabulary, .. } = *self;
        OpenSettings { template, precision, resize_vocabulary }
    }
}

/// How answers are generated. What is not given is the recipe's, the run's, or the task's default.
#[derive(clap::Args)]
pub struct GenerationArgs {
    /// Maximum answer length in tokens, end token included [default: 10; reports: 100]
    ///
    /// The model has to have room for them after the prompt.
    #[arg(help_heading = "Generation", long, value_name = "N", value_parser = in_range(GenerationConfig::MAX_NEW_TOKENS))]
    pub max_new_tokens: Option<usize>,
    /// Beam search width; 1 is greedy decoding [default: 1]
    #[arg(help_heading = "Generation", long, value_name = "N", value_parser = in_range(GenerationConfig::NUM_BEAMS))]
    pub num_beams: Option<usize>,
    /// Length penalty of beam search: scores are divided by length^X [default: 1]
    #[arg(help_heading = "Generation", long, value_name = "X", value_parser = in_range(GenerationConfig::LENGTH_PENALTY))]
    #[arg(allow_negative_numbers = true)]
    pub length_penalty: Option<f32>,
    /// Penalty for tokens already generated; 1 is none [default: 1]
    ///
    /// The logit of a repeated token is divided by X if positive, and multiplied by X if negative.
    #[arg(help_heading = "Generation", long, value_name = "X", value_parser = in_range(GenerationConfig::REPETITION_PENALTY))]
    pub repetition_penalty: Option<f32>,
    /// Sampling temperature; 0 always takes the most likely token [default: 0]
    #[arg(help_heading = "Generation", long, value_name = "T", value_parser = in_range(GenerationConfig::TEMPERATURE))]
    pub temperature: Option<f32>,
    /// Sample only from the most likely tokens whose probabilities sum to P [default: 1]
    #[arg(help_heading = "Generation", long, value_name = "P", value_parser = in_range(GenerationConfig::TOP_P))]
    pub top_p: Option<f32>,
    /// Random seed of sampling [default: 0]
    #[arg(help_heading = "Generation", long, value_name = "N")]
    pub seed: Option<u64>,
}

impl GenerationArgs {
    /// These settings over those of `base`.
    ///
    /// # Errors
    ///
    /// If they do not go together.
    pub fn over(&self, base: GenerationConfig) -> Result<GenerationConfig> {
        let rule = GenerationConfig {
            max_new_tokens: self.max_new_tokens.unwrap_or(base.max_new_tokens),
            num_beams: self.num_beams.unwrap_or(base.num_beams),
            length_penalty: self.length_penalty.unwrap_or(base.length_penalty),
            repetition_penalty: self.repetition_penalty.unwrap_or(base.repetition_penalty),
            temperature: self.temperature.unwrap_or(base.temperature),
            top_p: self.top_p.unwrap_or(base.top_p),
            seed: self.seed.unwrap_or(base.seed),
        };
        // How many tokens fit is known once the model is: a number that is too large is refused then.
        let checked = rule.max_new_tokens.min(1);
        GenerationConfig { max_new_tokens: checked, ..rule.clone() }.validate()?;
        Ok(rule)
    }
}

/// How image files are read. What is not given is the recipe's, the run's, or the default.
#[derive(clap::Args)]
pub struct ImageArgs {
    /// Which values become black and white: header, range, percentiles, or CENTER,WIDTH [default: header]
    ///
    /// In DICOM and NIfTI files, and in others of more than 8 bits. "header" is the window in the file; "40,400" is the
    /// window of abdominal CT.
    #[arg(help_heading = "Images", long, value_name = "WINDOW", value_parser = window, allow_hyphen_values = true)]
    pub window: Option<Window>,
    /// Frame of a DICOM file, page of a TIFF file, volume of a 4D NIfTI file, from 0 [default: middle]
    #[arg(help_heading = "Images", long, value_name = "N", value_parser = slice_index)]
    pub frame: Option<SliceIndex>,
    /// Plane in which a volume is cut [default: axial]
    #[arg(help_heading = "Images", long, value_name = "PLANE", value_parser = axis())]
    pub axis: Option<Axis>,
    /// Slice of a volume along the axis, counted from the feet, the back or the left [default: middle]
    #[arg(help_heading = "Images", long, value_name = "N", value_parser = slice_index)]
    pub slice: Option<SliceIndex>,
}

impl ImageArgs {
    /// These options over those of `base`.
    pub fn over(&self, base: ImageOptions) -> ImageOptions {
        ImageOptions {
            window: self.window.unwrap_or(base.window),
            frame: self.frame.unwrap_or(base.frame),
            axis: self.axis.unwrap_or(base.axis),
            slice: self.slice.unwrap_or(base.slice),
            orientation: base.orientation,
        }
    }
}
