//! The tasks of a study: runs, and evaluations of their outcomes on other data.

use std::path::{Path, PathBuf};

use crate::Result;
use crate::recipe::Recipe;
use crate::train::read_outcome;

/// A unit of work, stored under an address.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// Its name in events and errors.
    pub label: String,
    /// A hash of everything that the outcome depends on, and the build that computes it.
    pub address: String,
    /// The build that stored this outcome, if it is another one. Its outcome is used if the study accepts
    /// other builds, and is ignored otherwise.
    pub other_build: Option<String>,
    /// What is to be done.
    pub kind: TaskKind,
}

/// What a [`Task`] does.
#[derive(Debug, Clone, PartialEq)]
pub enum TaskKind {
    /// Runs a recipe; the run directory is the recipe's `output`.
    Run {
        /// The resolved recipe.
        recipe: Box<Recipe>,
        /// Whether the run is evaluated on the test split.
        evaluates_test: bool,
    },
    /// Evaluates the outcome of a run on the test split of other data.
    Evaluate {
        /// The recipe of the run, with the other data.
        recipe: Box<Recipe>,
        /// The adapter of the run; `None` if nothing was trained.
        adapter: Option<PathBuf>,
        /// The file for the predictions.
        out: PathBuf,
    },
}

impl Task {
    /// The recipe of the task.
    pub fn recipe(&self) -> &Recipe {
        match &self.kind {
            TaskKind::Run { recipe, .. } | TaskKind::Evaluate { recipe, .. } => recipe,
        }
    }

    /// The name of its outcome: what it is, in a few words, and its address.
    pub fn name(&self) -> String {
        self.outcome().file_stem().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// The run directory, or the file of predictions.
    fn outcome(&self) -> &Path {
        match &self.kind {
            TaskKind::Run { recipe, .. } => &recipe.output,
            TaskKind::Evaluate { out, .. } => out,
        }
    }

    /// The file to which the recipe is written, next to the outcome. `normed train` accepts it.
    pub fn recipe_file(&self) -> PathBuf {
        self.outcome().with_extension("toml")
    }

    /// Whether the outcome is stored.
    pub(super) fn is_done(&self) -> Result<bool> {
        match &self.kind {
            TaskKind::Run { recipe, .. } => Ok(read_outcome(&recipe.output)?.is_some()),
            TaskKind::Evaluate { out, .. } => Ok(out.exists()),
        }
    }
}
