//! Examples, and how they become batches. Host data only: nothing here knows of a model.

mod assign;
mod batch;
mod blind;
mod collator;
mod example;
mod filter;
mod image;
mod image_rule;
mod jsonl;
mod loader;
mod open_i;
mod overlap;
mod parquet;
mod path_vqa;
pub mod phantom;
mod plan;
mod prompt;
mod r2gen;
mod resize;
mod rows;
mod slake;
mod task;
mod text_rule;
mod tokenizer;
mod vqa_rad;

pub use crate::ops::IGNORE_INDEX;
pub use assign::{SplitRule, SplitSize, assign_splits};
pub use batch::{Batch, IMAGE_TOKEN, Images, TokenRows};
pub use blind::Blind;
pub use collator::{Collator, Image, PictureStates, Prepared};
pub use example::{
    AnswerType, Attributes, Dataset, Example, ImageSource, PictureKey, Split, Subset, indices_of,
};
pub use filter::{DataSection, RowFilter};
pub use image::{Axis, ImageView, Pick, Picture, Window};
pub use image_rule::{Fit, ImageRule};
pub use jsonl::open_jsonl_for_predict;
pub use loader::{BATCHES_HELD, Loader};
pub use overlap::Overlap;
pub use parquet::PackedPicture;
pub use plan::{epoch_plan, in_order_by_length};
pub use prompt::{PictureMark, PromptRule, PromptSpec, Sample, TemplateName};
pub use task::Task;
pub use text_rule::{Ending, Framed, QuestionRule, TextRule};
pub use tokenizer::{NamedTokens, Tokenizer};

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::Result;

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
    pub fn usual_views(&self) -> usize {
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

/// How the rows of a data set are read.
#[derive(Debug, Clone, Copy, Default)]
struct Reading {
    on_bad_example: OnBadExample,
    /// How pictures are looked at.
    view: ImageView,
}

/// A data set, opened.
pub struct Opened {
    /// All its examples; [`Example::split`] says which part each belongs to.
    pub dataset: Arc<dyn Dataset>,
    /// Rows that were left out: file, line and cause.
    pub skipped: Vec<String>,
    /// What a user should know about this data.
    pub warnings: Vec<String>,
}

/// Opens a data set: rows are read and checked, pictures are looked for but not decoded (unless
/// broken ones are to be skipped: then they are found out here).
///
/// It is asked what is asked of such a set where nothing else is said; [`DataSection`] says more.
pub fn open(spec: &DataSpec) -> Result<Opened> {
    open_for(spec, &spec.tasks().0, ImageView::default())
}

/// The same, with the pictures that are to be had in several ways looked at as `view` says.
fn open_for(spec: &DataSpec, task: &Task, view: ImageView) -> Result<Opened> {
    let opened = open_set(spec, task, view)?;
    Ok(Opened { dataset: task.ask(opened.dataset), ..opened })
}

fn open_set(spec: &DataSpec, task: &Task, view: ImageView) -> Result<Opened> {
    let reading = |&on_bad_example: &OnBadExample| Reading { on_bad_example, view };
    match spec {
        DataSpec::VqaRad { root, on_bad_example } => {
            vqa_rad::open(root.as_deref(), reading(on_bad_example))
        }
        DataSpec::Slake { root, lang, on_bad_example } => {
            slake::open(root.as_deref(), lang.as_deref(), reading(on_bad_example))
        }
        DataSpec::Jsonl { file, image_root, on_bad_example } => {
            jsonl::open(file, image_root.as_deref(), reading(on_bad_example), task)
        }
        DataSpec::PathVqa { root, on_bad_example } => {
            path_vqa::open(root.as_deref(), reading(on_bad_example))
        }
        DataSpec::Parquet { root, on_bad_example } => parquet::open(root, reading(on_bad_example)),
        DataSpec::IuXray { root, on_bad_example } => {
            r2gen::open(r2gen::Cleaning::Iu, root.as_deref(), reading(on_bad_example))
        }
        DataSpec::MimicCxr { root, on_bad_example } => {
            r2gen::open(r2gen::Cleaning::Mimic, root.as_deref(), reading(on_bad_example))
        }
        DataSpec::OpenI { root, impression, split_seed, on_bad_example } => {
            let (impression, split_seed) = (*impression, *split_seed);
            let options =
                open_i::Options { impression, split_seed, reading: reading(on_bad_example) };
            open_i::open(root.as_deref(), &options)
        }
        DataSpec::Phantom { domain, train, validate, test, seed } => {
            let mut phantom = phantom::Phantom::new(*domain, [*train, *validate, *test], *seed)?;
            if !task.is_vqa() {
                phantom = phantom.with_reports();
            }
            Ok(Opened { dataset: Arc::new(phantom), skipped: Vec::new(), warnings: Vec::new() })
        }
    }
}
