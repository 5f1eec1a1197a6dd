//! A comparison as one command: methods, models, data sets, seeds and learning rates become runs, and
//! runs become tables, plots and a report.
//!
//! - [`Study`]: what is compared, read from a file;
//! - [`Task`]: one run of it, or one set of questions that a run's outcome answers, with the address
//!   that its content gives it;
//! - [`advance`]: does what is left to do, in the order that choosing rates asks for;
//! - [`estimate`]: what it will take;
//! - [`Results`]: what came out, and `tables`, `figures` and `report` that show it.

mod address;
mod advance;
mod differences;
mod estimate;
mod failures;
mod figures;
mod history;
mod html;
mod norms;
mod page;
mod picture;
mod read;
mod report;
mod results;
mod scoring;
mod select;
mod table;
mod tables;

pub use address::Addresses;
pub use advance::{Ended, Shard, Standing, Told, advance};
pub use estimate::{Estimate, estimate};
pub use report::write;
pub use results::Results;

use std::path::{Path, PathBuf};

use crate::data::DataSection;
use crate::recipe::Recipe;
use crate::{Error, Result};

/// What is compared.
#[derive(Debug, Clone, PartialEq)]
pub struct Study {
    /// The file's name.
    pub name: String,
    /// Where everything goes, relative to the current directory; `runs/<the study's name>` if absent.
    pub output: PathBuf,
    /// Of the runs that are reported.
    pub seeds: Vec<u64>,
    /// Runs side by side; each has its share of the threads.
    pub jobs: usize,
    /// Which pictures the report shows.
    pub pictures: Pictures,
    /// Every model on every data set by every method.
    pub cells: Vec<Cell>,
    /// Sets that are tested on and never trained on.
    pub test_sets: Vec<TestSet>,
    /// Parts of the training examples, beside all of them, that `efficient` cells are trained on.
    pub fractions: Vec<f32>,
}

/// One model, data set and method.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// The model's name; empty where the study has but one.
    pub model: String,
    /// The data set's name.
    pub data_set: String,
    /// The method's name.
    pub method: String,
    /// The learning rates tried, of which the validation examples choose one.
    pub rates: Vec<f32>,
    /// What its runs have in common.
    pub recipe: Recipe,
    /// The same for the runs by which a rate is chosen.
    pub selection: Recipe,
    /// Whether it is also trained on parts of the examples.
    pub efficient: bool,
    /// Names of the other data sets and test sets that its outcomes are tested on.
    pub tested_on: Vec<String>,
}

/// A set that is tested on.
#[derive(Debug, Clone, PartialEq)]
pub struct TestSet {
    /// Its name.
    pub name: String,
    /// The data.
    pub data: DataSection,
    /// Whether it is what the base models could do before: what tuning may make them forget.
    pub own_task: bool,
}

/// Which pictures of examples a report shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pictures {
    /// Those that normed drew: a report with them can be handed on.
    #[default]
    Drawn,
    /// All of them: such a report is as confidential as the data.
    All,
    /// None.
    None,
}

impl Study {
    /// Reads the study at `path`, with `key=value` settings laid over it. All mistakes are one error.
    pub fn open(path: &Path, settings: &[String]) -> Result<Self> {
        read::open(path, settings)
    }

    /// Threads of one run, of `available` ones.
    pub fn threads(&self, available: usize) -> usize {
        (available / self.jobs).max(1)
    }

    /// The data that `name` is tested on.
    fn test_data(&self, name: &str) -> Result<&DataSection> {
        let sets = self.test_sets.iter().map(|set| (&set.name, &set.data));
        let trained = self.cells.iter().map(|cell| (&cell.data_set, &cell.recipe.data));
        let found = sets.chain(trained).find(|(known, _)| *known == name).map(|(_, data)| data);
        found.ok_or_else(|| Error::invalid("study", format!("there is no data set `{name}`")))
    }
}

impl Cell {
    /// Model, data set and method in a line.
    pub fn label(&self) -> String {
        let parts = [&self.model, &self.data_set, &self.method];
        let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).cloned().collect();
        parts.join(", ")
    }

    /// The recipe by which `rate` is judged.
    fn candidate(&self, rate: f32) -> Recipe {
        let mut recipe = self.selection.clone();
        recipe.train.lr = rate;
        recipe
    }

    /// The recipe of a run that is reported.
    fn reported(&self, rate: f32, seed: u64, fraction: f32) -> Recipe {
        let mut recipe = self.recipe.clone();
        (recipe.train.lr, recipe.seed, recipe.train.fraction) = (rate, seed, fraction);
        recipe
    }

    /// Whether something is trained, as far as the recipe shows: without that, no seed and no part of
    /// the training examples changes anything.
    fn trains(&self) -> bool {
        !self.recipe.tuning.is_none()
    }
}

/// A thing to do, and where its outcome goes.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// What it is called where it is told of.
    pub label: String,
    /// A hash of all that its outcome depends on.
    pub address: String,
    /// What is done.
    pub work: Work,
}

/// What a [`Task`] does.
#[derive(Debug, Clone, PartialEq)]
pub enum Work {
    /// The run of a recipe; the run directory is the recipe's `output`.
    Run {
        /// The recipe, resolved.
        recipe: Box<Recipe>,
        /// Whether its test split is looked at.
        test: bool,
    },
    /// A run's outcome answers the test split of other data.
    Answer {
        /// The run's recipe with the other data in it.
        recipe: Box<Recipe>,
        /// The run's adapter; none where nothing was trained.
        adapter: Option<PathBuf>,
        /// Where the predictions go.
        out: PathBuf,
    },
}

impl Task {
    /// The recipe of it.
    pub fn recipe(&self) -> &Recipe {
        match &self.work {
            Work::Run { recipe, .. } | Work::Answer { recipe, .. } => recipe,
        }
    }

    /// The file that the recipe goes to, beside the outcome: `normed train` takes it.
    pub fn recipe_file(&self) -> PathBuf {
        let outcome = match &self.work {
            Work::Run { recipe, .. } => &recipe.output,
            Work::Answer { out, .. } => out,
        };
        outcome.with_extension("toml")
    }
}
