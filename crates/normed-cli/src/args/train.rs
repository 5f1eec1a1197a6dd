//! The arguments of `init`, `train`, `pretrain`, `plan` and `study`.

use std::path::PathBuf;

use normed::recipe::ByteSize;
use normed::study::Shard;

use super::values::{EventFormat, Overwrite, byte_size};

#[derive(clap::Args)]
pub struct InitArgs {
    /// JSON list or JSON Lines file with the rows
    #[arg(value_name = "FILE.jsonl")]
    pub data: PathBuf,
    /// Model folder, or the ORG/NAME of a fetched model
    #[arg(long, value_name = "MODEL")]
    pub model: String,
    /// Folder that image paths are relative to [default: the data file's folder]
    #[arg(long, value_name = "DIR")]
    pub image_root: Option<PathBuf>,
    /// Output file
    #[arg(long, value_name = "RECIPE.toml", default_value = "recipe.toml")]
    pub out: PathBuf,
    #[command(flatten)]
    pub overwrite: Overwrite,
}

#[derive(clap::Args)]
pub struct TrainArgs {
    /// Recipe file (TOML)
    pub recipe: PathBuf,
    /// Override a recipe key, e.g. train.lr=1e-3 (repeatable)
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub settings: Vec<String>,
    /// Run directory for results (overrides the recipe's)
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Memory limit, e.g. 6GiB or 900MiB (overrides the recipe's)
    ///
    /// The fastest batch size and recomputation that fit the limit are chosen. The number of examples per
    /// optimizer step stays the same.
    #[arg(long, value_name = "SIZE", value_parser = byte_size)]
    pub memory: Option<ByteSize>,
    /// Continue a run that was stopped or killed
    #[arg(long)]
    pub resume: bool,
    /// Do not evaluate on the test split
    #[arg(long)]
    pub no_test: bool,
    /// Suggest a learning rate, then stop without training
    ///
    /// The rate rises from step to step, up to the first rise of the loss, with three seeds. Prints the rates
    /// that it excludes too, and suggests none if the seeds differ more than the loss falls. The curve is
    /// saved next to the run directory, as DIR.find_lr.svg.
    #[arg(long, conflicts_with_all = ["resume", "no_test"])]
    pub find_lr: bool,
    /// With --find-lr: overwrite the curve of an earlier one
    #[arg(long, requires = "find_lr")]
    pub force: bool,
    #[command(flatten)]
    pub format: EventFormat,
}

#[derive(clap::Args)]
pub struct PlanArgs {
    /// Recipe file (TOML)
    pub recipe: PathBuf,
    /// Override a recipe key, e.g. train.batch_size=8 (repeatable)
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub settings: Vec<String>,
    /// Memory limit, e.g. 6GiB or 900MiB (overrides the recipe's)
    #[arg(long, value_name = "SIZE", value_parser = byte_size)]
    pub memory: Option<ByteSize>,
    /// Print the plan as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(clap::Args)]
pub struct StudyArgs {
    /// Study file (TOML)
    pub study: PathBuf,
    /// Override a key of the study, e.g. seeds=[1,2] (repeatable)
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub settings: Vec<String>,
    /// Run one part of the study, e.g. 2/8 for the second of eight
    ///
    /// Several machines can share the work this way. The last part to finish writes the report.
    #[arg(long, value_name = "I/N")]
    pub shard: Option<Shard>,
    /// Show the planned runs with memory and time, then exit
    #[arg(long)]
    pub dry_run: bool,
}
