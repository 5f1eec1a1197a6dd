//! The arguments of `score` and `split`, which read and write JSON Lines.

use std::path::PathBuf;

use clap::ValueEnum;

use super::values::Overwrite;

#[derive(clap::Args)]
pub struct ScoreArgs {
    /// JSON Lines file written by `normed predict`
    ///
    /// For --protocol coco, rows of id, prediction, and references (a list) or target.
    pub file: PathBuf,
    /// Scoring rules
    #[arg(long, value_enum, default_value = "all")]
    pub protocol: Protocols,
    /// Folder of an installed pycocoevalcap 1.2, for the full METEOR of reports
    ///
    /// Its synonyms, paraphrases and function words are read. Without it, a METEOR restricted to exact
    /// words and stems is reported as meteor_exact_stem.
    #[arg(long, value_name = "DIR")]
    pub meteor_data: Option<PathBuf>,
    /// Write the reports in another program's format, instead of scoring them
    #[arg(long, value_enum, requires = "out")]
    #[arg(conflicts_with_all = ["protocol", "json", "meteor_data"])]
    pub export: Option<ExportTo>,
    /// Output file of --export
    #[arg(long, value_name = "FILE.jsonl", requires = "export")]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    pub overwrite: Overwrite,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// A program that reads reports.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportTo {
    /// RadEval 2: JSON Lines with ref and hyp
    Radeval,
}

/// The scoring rules to apply.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Protocols {
    /// Every protocol for answers, side by side
    All,
    /// normed's own: exact match after normalization
    Strict,
    /// MISS's ACC.py
    Miss,
    /// LLaVA-Med 1.0's run_eval.py
    LlavaMed,
    /// The VQA challenge's
    Vqa,
    /// The COCO caption metrics, for reports
    Coco,
}

#[derive(clap::Args)]
pub struct SplitArgs {
    /// JSON Lines file with the rows
    #[arg(long, value_name = "FILE.jsonl")]
    pub data: PathBuf,
    /// Rows with the same value stay in one split
    #[arg(long, value_enum)]
    pub by: SplitBy,
    /// Fraction of groups for the validation split, which chooses the checkpoint
    #[arg(long, value_name = "FRACTION", default_value_t = 0.1)]
    pub validate: f64,
    /// Fraction of groups for the test split
    #[arg(long, value_name = "FRACTION", default_value_t = 0.2)]
    pub test: f64,
    /// Random seed
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Folder that image paths are relative to [default: the data file's folder]
    #[arg(long, value_name = "DIR")]
    pub image_root: Option<PathBuf>,
    /// Compare images by path alone, without decoding them to find copies
    #[arg(long)]
    pub no_pixels: bool,
    /// Output file
    #[arg(long, value_name = "FILE.jsonl")]
    pub out: PathBuf,
    #[command(flatten)]
    pub overwrite: Overwrite,
}

/// What rows of one split may share.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SplitBy {
    /// The row's group (a patient or study); rows without one use their image
    Group,
    /// The row's image
    Image,
}
