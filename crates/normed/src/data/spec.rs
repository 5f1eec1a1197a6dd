//! Which data set a run reads: the data sets that a recipe can name.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Task;

/// Which data set a run reads, and where it is.
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
        /// `en`, `zh`; both if absent.
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
    /// Plain JSON lines: `id, image, question, answer, answer_type, split` and, if given, `group`.
    Jsonl {
        /// The file.
        file: PathBuf,
        /// What image paths are relative to; the file's directory if absent.
        #[serde(default)]
        image_root: Option<PathBuf>,
        /// What to do with a broken row.
        #[serde(default)]
        on_bad_example: OnBadExample,
    },
    /// Parquet files with the pictures inside, as the Hugging Face hub has data sets.
    Parquet {
        /// The directory that holds the files, or one file.
        root: PathBuf,
        /// What to do with a broken row.
        #[serde(default)]
        on_bad_example: OnBadExample,
    },
    /// IU X-Ray in R2Gen's layout: reports of studies of two views.
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
    /// Open-i's two tables: the same studies as IU X-Ray's, as they were written.
    OpenI {
        /// The directory that holds the tables; `$NORMED_DATA/open_i` if absent.
        root: Option<PathBuf>,
        /// Whether the impression follows the findings.
        #[serde(default)]
        impression: bool,
        /// Another seed, other splits.
        #[serde(default)]
        split_seed: u64,
        /// What to do with a broken row.
        #[serde(default)]
        on_bad_example: OnBadExample,
    },
    /// Procedural pictures.
    Phantom {
        /// `source` or `shifted`.
        domain: PhantomDomain,
        /// How many examples the training split has.
        train: usize,
        /// How many the validation split has.
        validate: usize,
        /// How many the test split has.
        test: usize,
        /// What they are drawn from.
        #[serde(default)]
        seed: u64,
    },
}

impl DataSpec {
    /// What is asked of it where nothing else is said; the other task if it has that one, too.
    pub fn tasks(&self) -> (Task, Option<Task>) {
        match self {
            Self::VqaRad { .. }
            | Self::Slake { .. }
            | Self::PathVqa { .. }
            | Self::Parquet { .. } => (Task::Vqa, None),
            Self::IuXray { .. } | Self::MimicCxr { .. } | Self::OpenI { .. } => {
                (Task::report(), None)
            }
            Self::Jsonl { .. } | Self::Phantom { .. } => (Task::Vqa, Some(Task::report())),
        }
    }

    /// The pictures of an example, as far as that is known without its files.
    pub fn usual_images_per_example(&self) -> usize {
        match self {
            Self::IuXray { .. } | Self::OpenI { .. } => 2,
            _ => 1,
        }
    }
}

/// Where a phantom's pictures come from: the same anatomy and questions, another machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PhantomDomain {
    /// What the base model is trained on.
    Source,
    /// Another site: the pictures look different, the questions are the same.
    Shifted,
}

/// What to do with a row that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnBadExample {
    /// Stop with an error that names file, line and cause.
    #[default]
    Stop,
    /// Leave it out, count it and list it.
    Skip,
}
