//! The arguments of the commands that read models and adapters, and write them in other forms.

use std::path::PathBuf;

use clap::ValueEnum;
use normed::data::TemplateName;
use normed::models::NormDtype;
use normed::tensor::{Precision, Quantization};
use normed::tuning::Method;

use super::values::{
    EventFormat, Overwrite, method, norm_dtype, precision, quantization, template,
};

#[derive(clap::Args)]
pub struct InspectArgs {
    /// Model folder (config.json is enough), run folder with a model, or the ORG/NAME of a fetched model
    pub model: PathBuf,
    /// Show an example prompt in this template, instead of the checkpoint's
    #[arg(long, value_name = "NAME", value_parser = template())]
    pub template: Option<TemplateName>,
    /// Count what this method would train
    #[arg(long, value_name = "METHOD", value_parser = method())]
    pub method: Option<Method>,
    /// Set a key of the recipe's [tuning], e.g. rank=8 or decoder.method=lora (repeatable)
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub settings: Vec<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(clap::Args)]
pub struct ApplyDeltaArgs {
    /// Folder of the model the delta was made from, in Hugging Face format (LLaMA-7B for LLaVA-Med 1.0)
    pub base: PathBuf,
    /// Folder of the delta
    pub delta: PathBuf,
    /// Output folder for the model
    pub out: PathBuf,
    #[command(flatten)]
    pub overwrite: Overwrite,
    /// Number format of the saved weights
    #[arg(long, value_name = "FORMAT", default_value = "bf16", value_parser = precision())]
    pub precision: Precision,
}

#[derive(clap::Args)]
pub struct MergeArgs {
    /// Base model folder, or the ORG/NAME of a fetched model
    #[arg(value_name = "MODEL")]
    pub base: PathBuf,
    /// Run folder, e.g. runs/my, or adapter folder
    pub adapter: PathBuf,
    /// Output folder for the merged model
    pub out: PathBuf,
    /// Number format of norms and biases that change: f32, or the base's. Half precision can round their tuning away
    #[arg(long, value_name = "FORMAT", default_value = "f32", value_parser = norm_dtype())]
    pub norm_dtype: NormDtype,
    /// Give the model as many tokens as the adapter has, and the adapter's tokenizer if it has one
    #[arg(long)]
    pub resize_vocabulary: bool,
    #[command(flatten)]
    pub overwrite: Overwrite,
    #[command(flatten)]
    pub format: EventFormat,
}

#[derive(clap::Args)]
pub struct QuantizeArgs {
    /// Model folder, run folder with a model, or the ORG/NAME of a fetched model
    pub model: PathBuf,
    /// Number format of the linear layers: nf4 (4 bits) or int8 (8 bits)
    #[arg(long, value_name = "FORMAT", value_parser = quantization())]
    pub to: Quantization,
    /// Output folder [default: MODEL-nf4 or MODEL-int8]
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub overwrite: Overwrite,
    #[command(flatten)]
    pub format: EventFormat,
}

#[derive(clap::Args)]
pub struct ExportArgs {
    /// Run folder or adapter folder
    #[arg(value_name = "RUN")]
    pub from: PathBuf,
    /// Output format
    #[arg(long, value_enum)]
    pub format: ExportFormat,
    /// Output path: a .safetensors file, or a folder for PEFT
    #[arg(long, value_name = "PATH")]
    pub out: PathBuf,
    #[command(flatten)]
    pub overwrite: Overwrite,
    /// Base model folder or ORG/NAME [default: the one the adapter names]
    #[arg(long, value_name = "MODEL")]
    pub model: Option<PathBuf>,
}

/// A format for trained weights.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// A folder that Python's peft reads: adapter_config.json, adapter_model.safetensors, README.md
    Peft,
    /// One file of tensors, named as in the Hugging Face model
    Safetensors,
}

#[derive(clap::Args)]
pub struct DiffArgs {
    /// A model, run or adapter folder
    #[arg(value_name = "A")]
    pub first: PathBuf,
    /// Another one with the same base, or the tuned one if A is the base
    #[arg(value_name = "B")]
    pub second: PathBuf,
    /// Base model folder or ORG/NAME of adapters [default: the one they name]
    #[arg(long, value_name = "MODEL")]
    pub model: Option<PathBuf>,
    /// Save a plot by tower and layer
    #[arg(long, value_name = "FILE.svg")]
    pub svg: Option<PathBuf>,
    #[command(flatten)]
    pub overwrite: Overwrite,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
