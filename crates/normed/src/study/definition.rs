//! What a study compares.

use std::path::PathBuf;

use crate::data::DataSection;
use crate::recipe::Recipe;
use crate::{Error, Result};

/// A comparison of methods on models and data sets.
#[derive(Debug, Clone, PartialEq)]
pub struct Study {
    /// The name of its file, without extension.
    pub name: String,
    /// The title of the report; the name if the file has none.
    pub title: Option<String>,
    /// The authors that the report names.
    pub authors: Vec<String>,
    /// The output directory, relative to the current directory; `runs/<name>` by default.
    pub output: PathBuf,
    /// The seeds of the runs that are reported.
    pub seeds: Vec<u64>,
    /// The number of runs at the same time; they share the threads equally.
    pub jobs: usize,
    /// Which example images the report shows.
    pub report_images: ReportImages,
    /// Whether outcomes that another build of normed stored count as done. Otherwise they are computed
    /// again.
    pub accept_other_builds: bool,
    /// Every model on every data set with every method.
    pub experiments: Vec<Experiment>,
    /// Data sets that are only tested on.
    pub test_sets: Vec<TestSet>,
    /// The fractions of the training examples, other than all, on which experiments with
    /// [`Experiment::uses_fractions`] are trained.
    pub fractions: Vec<f32>,
}

/// One model, data set and method.
#[derive(Debug, Clone, PartialEq)]
pub struct Experiment {
    /// The name of the model; empty if the study has only one.
    pub model: String,
    /// The name of the data set.
    pub data_set: String,
    /// The name of the method.
    pub method: String,
    /// The candidate learning rates; the validation split decides among them.
    pub learning_rates: Vec<f32>,
    /// The recipe that the reported runs share.
    pub recipe: Recipe,
    /// The recipe of the runs that select a learning rate.
    pub selection_recipe: Recipe,
    /// Whether it is also trained on fractions of the examples.
    pub uses_fractions: bool,
    /// The names of the other data sets and test sets on which its runs are tested.
    pub other_test_sets: Vec<String>,
}

/// A data set that is tested on.
#[derive(Debug, Clone, PartialEq)]
pub struct TestSet {
    /// Its name.
    pub name: String,
    /// The data.
    pub data: DataSection,
    /// Whether it is the task that the base models were trained for, which tuning may make them forget.
    pub own_task: bool,
}

/// Which example images a report shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReportImages {
    /// Only images that normed drew itself: the report holds no image of a data set.
    #[default]
    Drawn,
    /// All images: the report is as confidential as the data.
    All,
    /// None.
    None,
}

impl Study {
    /// The number of threads of one run if `available` threads are shared.
    pub fn threads(&self, available: usize) -> usize {
        (available / self.jobs).max(1)
    }

    /// The data of the data set or test set `name`.
    pub(super) fn test_data(&self, name: &str) -> Result<&DataSection> {
        let sets = self.test_sets.iter().map(|set| (&set.name, &set.data));
        let trained = self.experiments.iter().map(|exp| (&exp.data_set, &exp.recipe.data));
        let found = sets.chain(trained).find(|(known, _)| *known == name).map(|(_, data)| data);
        found.ok_or_else(|| Error::invalid("study", format!("there is no data set `{name}`")))
    }
}

impl Experiment {
    /// The names of model, data set and method in one line.
    pub fn label(&self) -> String {
        let parts = [&self.model, &self.data_set, &self.method];
        let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).cloned().collect();
        parts.join(", ")
    }

    /// The recipe of the run that evaluates `learning_rate` for selection.
    pub(super) fn candidate_recipe(&self, learning_rate: f32) -> Recipe {
        let mut recipe = self.selection_recipe.clone();
        recipe.train.lr = learning_rate;
        recipe
    }

    /// The recipe of a reported run.
    pub(super) fn reported_recipe(&self, learning_rate: f32, seed: u64, fraction: f32) -> Recipe {
        let mut recipe = self.recipe.clone();
        (recipe.train.lr, recipe.seed, recipe.train.fraction) = (learning_rate, seed, fraction);
        recipe
    }

    /// Whether the method trains anything. If not, seeds and training examples change nothing.
    pub(super) fn trains(&self) -> bool {
        !self.recipe.tuning.is_none()
    }
}
