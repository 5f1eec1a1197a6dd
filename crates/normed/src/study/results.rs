//! The outcomes of a finished study.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::plan::{PlannedRun, plan_runs};
use super::rate_selection::{RateTrial, read_trials, selected_rate};
use super::training_history::TrainingHistory;
use super::{Addresses, Experiment, Study, Task, TaskKind};
use crate::metrics::{Prediction, read_predictions};
use crate::train::{Outcome, read_outcome};
use crate::{Error, Result};

/// Bytes of a MiB, in which memory is shown.
pub(super) const MIB: f64 = (1 << 20) as f64;

/// The outcomes of a study, from which tables and plots are made.
pub struct Results<'a> {
    /// The study.
    pub study: &'a Study,
    /// One entry per experiment, in the study's order.
    pub experiments: Vec<ExperimentResults<'a>>,
}

/// The outcomes of one experiment.
pub struct ExperimentResults<'a> {
    /// The experiment.
    pub experiment: &'a Experiment,
    /// The candidate learning rates.
    pub trials: Vec<RateTrial>,
    /// The run of each seed, with all training examples.
    pub runs: Vec<RunResults>,
    /// The runs of each seed for every fraction of the examples.
    pub fraction_runs: Vec<(f32, Vec<RunResults>)>,
}

/// The outcome of one run.
pub struct RunResults {
    /// Its seed.
    pub seed: u64,
    /// The name of its directory.
    pub name: String,
    /// The build that stored it, if it is another one.
    pub other_build: Option<String>,
    /// Its outcome file.
    pub outcome: Outcome,
    /// Its step times and validation values.
    pub history: TrainingHistory,
    /// Its predictions on its own test split.
    pub own_test: TestPredictions,
    /// Its predictions on other test splits, by name.
    pub other_tests: BTreeMap<String, TestPredictions>,
}

/// The predictions of one run on one test split.
#[derive(Debug, Clone, PartialEq)]
pub struct TestPredictions {
    /// The predictions.
    pub predictions: Vec<Prediction>,
    /// Image-shuffled predictions, with the images exchanged between examples; absent if there is only one
    /// image.
    pub image_shuffled: Option<Vec<Prediction>>,
}

impl<'a> Results<'a> {
    /// Reads the outcomes of `study`; `None` if a task is not done.
    ///
    /// # Errors
    ///
    /// If an outcome, a base model or a data set cannot be read, or no learning rate can be selected.
    pub fn read(study: &'a Study) -> Result<Option<Self>> {
        let mut addresses = Addresses::new(study)?;
        let mut experiments = Vec::new();
        for experiment in &study.experiments {
            match ExperimentResults::read(&mut addresses, study, experiment)? {
                Some(results) => experiments.push(results),
                None => return Ok(None),
            }
        }
        Ok(Some(Self { study, experiments }))
    }

    /// The experiments of each model and data set, in the study's order.
    pub fn groups(&self) -> Vec<Vec<&ExperimentResults<'a>>> {
        let mut groups: Vec<Vec<&ExperimentResults<'a>>> = Vec::new();
        for results in &self.experiments {
            let key = |e: &Experiment| (e.model.clone(), e.data_set.clone());
            let same = |group: &&mut Vec<&ExperimentResults<'a>>| {
                key(group[0].experiment) == key(results.experiment)
            };
            match groups.iter_mut().find(same) {
                Some(group) => group.push(results),
                None => groups.push(vec![results]),
            }
        }
        groups
    }

    /// All reported runs.
    pub fn runs(&self) -> impl Iterator<Item = &RunResults> {
        self.experiments.iter().flat_map(|results| {
            let on_fractions = results.fraction_runs.iter().flat_map(|(_, runs)| runs);
            results.runs.iter().chain(on_fractions)
        })
    }
}

impl<'a> ExperimentResults<'a> {
    fn read(
        addresses: &mut Addresses<'_>,
        study: &Study,
        experiment: &'a Experiment,
    ) -> Result<Option<Self>> {
        let candidates = addresses.candidate_runs(experiment)?;
        let Some(trials) = read_trials(experiment, &candidates)? else { return Ok(None) };
        let Some(learning_rate) = selected_rate(&trials) else { return Ok(None) };
        let mut results = Self { experiment, trials, runs: Vec::new(), fraction_runs: Vec::new() };
        for run in plan_runs(addresses, study, experiment, learning_rate)? {
            let names = if run.fraction == 1.0 { &experiment.other_test_sets[..] } else { &[] };
            let evaluations = names.iter().map(|name| addresses.evaluation(&run.task, name));
            let evaluations = evaluations.collect::<Result<Vec<_>>>()?;
            for task in [&run.task].into_iter().chain(&evaluations) {
                if !task.is_done()? {
                    return Ok(None);
                }
            }
            results.add(run.fraction, RunResults::read(&run, &evaluations)?);
        }
        Ok(Some(results))
    }

    fn add(&mut self, fraction: f32, run: RunResults) {
        if fraction == 1.0 {
            return self.runs.push(run);
        }
        match self.fraction_runs.iter_mut().find(|(known, _)| *known == fraction) {
            Some((_, runs)) => runs.push(run),
            None => self.fraction_runs.push((fraction, vec![run])),
        }
    }
}

impl RunResults {
    fn read(run: &PlannedRun<'_>, evaluations: &[Task]) -> Result<Self> {
        let recipe = run.task.recipe();
        let output: &PathBuf = &recipe.output;
        let Some(outcome) = read_outcome(output)? else {
            return Err(Error::failed(output.display(), "the run is not finished"));
        };
        let mut other_tests = BTreeMap::new();
        for (name, task) in run.experiment.other_test_sets.iter().zip(evaluations) {
            if let TaskKind::Evaluate { out, .. } = &task.kind {
                other_tests.insert(name.clone(), TestPredictions::read(out)?);
            }
        }
        Ok(Self {
            seed: run.seed,
            name: run.task.name(),
            other_build: run.task.other_build.clone(),
            history: TrainingHistory::read(output, &recipe.train)?,
            own_test: TestPredictions::read(&output.join("predictions.jsonl"))?,
            outcome,
            other_tests,
        })
    }
}

impl TestPredictions {
    /// Reads the predictions at `path`, and the image-shuffled ones next to it, `NAME_blind.jsonl`.
    fn read(path: &Path) -> Result<Self> {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let shuffled = path.with_file_name(format!("{stem}_blind.jsonl"));
        Ok(Self {
            predictions: read_predictions(path)?,
            image_shuffled: shuffled.exists().then(|| read_predictions(&shuffled)).transpose()?,
        })
    }
}

/// The mean of a value over the runs that have it.
pub fn mean(runs: &[RunResults], value: impl Fn(&RunResults) -> Option<f64>) -> Option<f64> {
    let values: Vec<f64> = runs.iter().filter_map(value).collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}
