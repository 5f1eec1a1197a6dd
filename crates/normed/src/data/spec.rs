//! Which data set a run reads: the data sets that a recipe can name.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{ColumnNames, Task};

/// A data set and where it is: the `name` and the other keys of a recipe's `[data]` section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case", deny_unknown_fields)]
pub enum DataSpec {
    /// VQA-RAD in its native layout.
    VqaRad {
        /// The directory that holds `VQA_RAD Dataset Public.json`; `$NORMED_DATA/vqa-rad` if absent.
        root: Option<PathBuf>,
        /// What to do with a broken row.
        #[serde(default)]
        on_bad_example: OnBadExample,
    },
    /// SLAKE in its native layout.
    Slake {
        /// The directory that holds train.json; `$NORMED_DATA/slake` if absent.
        root: Option<PathBuf>,
        /// The language of the questions, `en` or `zh`; both if absent.
        #[serde(default)]
        lang: Option<String>,
        /// What to do with a broken row.
        #[serde(default)]
        on_bad_example: OnBadExample,
    },
    /// PathVQA in its native layout.
    PathVqa {
        /// The directory that holds `images` and `qas`; `$NORMED_DATA/pvqa` if absent.
        root: Option<PathBuf>,
        /// What to do with a broken row.
        #[serde(default)]
        on_bad_example: OnBadExample,
    },
    /// A JSON list or JSON Lines: questions, conversations, or studies with reports.
    Jsonl {
        /// The file.
        file: PathBuf,
        /// The directory that image paths are relative to; the file's directory if absent.
        #[serde(default)]
        image_root: Option<PathBuf>,
        /// What to do with a broken row.
        #[serde(default)]
        on_bad_example: OnBadExample,
    },
    /// Parquet files with the images or their paths, as data sets on the Hugging Face hub, or the Arrow files that
    /// the `datasets` library saves.
    Parquet {
        /// The directory of the files, or one file.
        root: PathBuf,
        /// The columns that have other names than usual.
        #[serde(default, skip_serializing_if = "ColumnNames::is_empty")]
        columns: ColumnNames,
        /// The directory that paths of images are relative to; the file's directory or `root` if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        image_root: Option<PathBuf>,
        /// What to do with a broken row.
        #[serde(default)]
        on_bad_example: OnBadExample,
    },
    /// IU X-Ray in R2Gen's layout: reports of studies with two images.
    IuXray {
        /// The directory that holds annotation.json; `$NORMED_DATA/iu_xray` if absent.
        root: Option<PathBuf>,
        /// What to do with a broken row.
        #[serde(default)]
        on_bad_example: OnBadExample,
    },
    /// MIMIC-CXR in R2Gen's layout: reports.
    MimicCxr {
        /// The directory that holds annotation.json; `$NORMED_DATA/mimic_cxr` if absent.
        root: Option<PathBuf>,
        /// What to do with a broken row.
        #[serde(default)]
        on_bad_example: OnBadExample,
    },
    /// Open-i's two tables: the studies of IU X-Ray, with the original text of the reports.
    OpenI {
        /// The directory that holds the tables; `$NORMED_DATA/open_i` if absent.
        root: Option<PathBuf>,
        /// Whether a report is the findings and the impression, not the findings alone.
        #[serde(default)]
        impression: bool,
        /// Random seed of the splits.
        #[serde(default)]
        split_seed: u64,
        /// What to do with a broken row.
        #[serde(default)]
        on_bad_example: OnBadExample,
    },
    /// Phantoms: drawn images with questions, or reports, that are true of them.
    Phantom {
        /// Which imaginary hospital the images come from.
        domain: PhantomDomain,
        /// Number of examples in the training split.
        train: usize,
        /// Number of examples in the validation split.
        validate: usize,
        /// Number of examples in the test split.
        test: usize,
        /// Random seed of all images and questions.
        #[serde(default)]
        seed: u64,
    },
}

impl DataSpec {
    /// The default task of the data set, and the other task if it supports both.
    pub fn tasks(&self) -> (Task, Option<Task>) {
        match self {
            Self::VqaRad { .. } | Self::Slake { .. } | Self::PathVqa { .. } => (Task::Vqa, None),
            Self::IuXray { .. } | Self::MimicCxr { .. } | Self::OpenI { .. } => {
                (Task::report(), None)
            }
            Self::Jsonl { .. } | Self::Parquet { .. } | Self::Phantom { .. } => {
                (Task::Vqa, Some(Task::report()))
            }
        }
    }

    /// What to do with a broken row.
    pub fn on_bad_example(&self) -> OnBadExample {
        match self {
            Self::VqaRad { on_bad_example, .. }
            | Self::Slake { on_bad_example, .. }
            | Self::PathVqa { on_bad_example, .. }
            | Self::Jsonl { on_bad_example, .. }
            | Self::Parquet { on_bad_example, .. }
            | Self::IuXray { on_bad_example, .. }
            | Self::MimicCxr { on_bad_example, .. }
            | Self::OpenI { on_bad_example, .. } => *on_bad_example,
            Self::Phantom { .. } => OnBadExample::Stop,
        }
    }

    /// The usual number of images of an example, which is known without reading any file.
    pub fn usual_images_per_example(&self) -> usize {
        match self {
            Self::IuXray { .. } | Self::OpenI { .. } => 2,
            _ => 1,
        }
    }
}

/// The imaginary hospital of a phantom: anatomy and questions are the same, the machines differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PhantomDomain {
    /// The hospital that base models are trained on.
    Source,
    /// Another hospital: the images look different, the questions are the same.
    Shifted,
}

/// What to do with a row that cannot be read, or whose image cannot be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnBadExample {
    /// Stop with an error that names the file, the line and the cause.
    #[default]
    Stop,
    /// Skip the row, and list it in [`OpenedDataset::skipped`](super::OpenedDataset::skipped).
    Skip,
}
