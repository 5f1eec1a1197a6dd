//! What came out of a study that is done.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::advance::{CellRun, cell_runs, is_done};
use super::history::History;
use super::select::{Tried, chosen, tried};
use super::{Addresses, Cell, Study, Task, Work};
use crate::metrics::{MajorityBaseline, Metric, Prediction, Scores, read_predictions, score};
use crate::train::{Outcome, read_outcome};
use crate::{Error, Result};

/// Everything that tables and plots are made of.
pub struct Results<'a> {
    /// What was compared.
    pub study: &'a Study,
    /// In the study's order.
    pub cells: Vec<CellResults<'a>>,
}

/// One model, data set and method.
pub struct CellResults<'a> {
    /// Which.
    pub cell: &'a Cell,
    /// The rates.
    pub tried: Vec<Tried>,
    /// The run of each seed, with all training examples.
    pub runs: Vec<RunResults>,
    /// The runs of each seed, with a part of the examples.
    pub parts: Vec<(f32, Vec<RunResults>)>,
}

/// One run.
pub struct RunResults {
    /// Its seed.
    pub seed: u64,
    /// Its address.
    pub address: String,
    /// Its directory.
    pub output: PathBuf,
    /// What it left.
    pub outcome: Outcome,
    /// How it went.
    pub history: History,
    /// Its answers to its own test split.
    pub own: Answers,
    /// Its answers to other data, by their names.
    pub others: BTreeMap<String, Answers>,
}

/// Answers to one test split.
#[derive(Debug, Clone, PartialEq)]
pub struct Answers {
    /// With the questions' own images.
    pub seeing: Vec<Prediction>,
    /// With the images exchanged; none where there is but one.
    pub blind: Option<Vec<Prediction>>,
}

impl<'a> Results<'a> {
    /// Reads what `study` left; none if something of it is not done.
    pub fn read(study: &'a Study) -> Result<Option<Self>> {
        let mut addresses = Addresses::default();
        let mut cells = Vec::new();
        for cell in &study.cells {
            let candidates = addresses.candidates(study, cell)?;
            let Some(tried) = tried(cell, &candidates)? else { return Ok(None) };
            let Some(rate) = chosen(&tried) else { return Ok(None) };
            let mut results = CellResults { cell, tried, runs: Vec::new(), parts: Vec::new() };
            for run in cell_runs(&mut addresses, study, cell, rate)? {
                let names = if run.fraction == 1.0 { &cell.tested_on[..] } else { &[] };
                let answers = names.iter().map(|name| addresses.answer(study, &run.task, name));
                let answers = answers.collect::<Result<Vec<_>>>()?;
                for task in [&run.task].into_iter().chain(&answers) {
                    if !is_done(task)? {
                        return Ok(None);
                    }
                }
                results.add(&run, &answers)?;
            }
            cells.push(results);
        }
        Ok(Some(Self { study, cells }))
    }

    /// The cells of each model and data set, in the study's order.
    pub fn groups(&self) -> Vec<Vec<&CellResults<'a>>> {
        let mut groups: Vec<Vec<&CellResults<'a>>> = Vec::new();
        for cell in &self.cells {
            let of = |c: &Cell| (c.model.clone(), c.data_set.clone());
            match groups.iter_mut().find(|group| of(group[0].cell) == of(cell.cell)) {
                Some(group) => group.push(cell),
                None => groups.push(vec![cell]),
            }
        }
        groups
    }
}

impl CellResults<'_> {
    fn add(&mut self, run: &CellRun<'_>, answers: &[Task]) -> Result<()> {
        let results = RunResults::read(run, answers)?;
        if run.fraction == 1.0 {
            self.runs.push(results);
            return Ok(());
        }
        match self.parts.iter_mut().find(|(fraction, _)| *fraction == run.fraction) {
            Some((_, runs)) => runs.push(results),
            None => self.parts.push((run.fraction, vec![results])),
        }
        Ok(())
    }
}

impl RunResults {
    fn read(run: &CellRun<'_>, answers: &[Task]) -> Result<Self> {
        let recipe = run.task.recipe();
        let output = recipe.output.clone();
        let Some(outcome) = read_outcome(&output)? else {
            return Err(Error::failed(output.display(), "the run is not over"));
        };
        let mut others = BTreeMap::new();
        for (name, task) in run.cell.tested_on.iter().zip(answers) {
            if let Work::Answer { out, .. } = &task.work {
                others.insert(name.clone(), Answers::read(out)?);
            }
        }
        Ok(Self {
            seed: run.seed,
            address: run.task.address.clone(),
            history: History::read(&output, &recipe.train)?,
            own: Answers::read(&output.join("predictions.jsonl"))?,
            outcome,
            output,
            others,
        })
    }
}

impl Answers {
    /// Those in the file `seeing`, and those in the file beside it that is called so and `_blind`.
    fn read(seeing: &std::path::Path) -> Result<Self> {
        let stem = seeing.file_stem().unwrap_or_default().to_string_lossy();
        let blind = seeing.with_file_name(format!("{stem}_blind.jsonl"));
        Ok(Self {
            seeing: read_predictions(seeing)?,
            blind: blind.exists().then(|| read_predictions(&blind)).transpose()?,
        })
    }
}

/// The answers of several seeds as one set: its score is the mean of theirs (but for BLEU, which is of a
/// set: it is that of all seeds' texts), and a resample draws all answers about an image together, whichever
/// seed gave them.
pub fn pooled<'p>(seeds: impl IntoIterator<Item = (u64, &'p [Prediction])>) -> Vec<Prediction> {
    let mut pool = Vec::new();
    for (seed, predictions) in seeds {
        pool.extend(predictions.iter().map(|p| Prediction { run: seed, ..p.clone() }));
    }
    pool
}

/// The scores of several runs on one test split.
pub struct Scored {
    /// The seeds' answers as one set.
    pub pool: Vec<Prediction>,
    /// Its scores.
    pub all: Scores,
    /// Each seed's.
    pub by_seed: Vec<Scores>,
    /// Those of the answers without looking.
    pub blind: Option<Scores>,
}

impl Scored {
    /// Scores the answers of several seeds.
    pub fn new<'p>(answers: impl IntoIterator<Item = (u64, &'p Answers)>) -> Self {
        let answers: Vec<_> = answers.into_iter().collect();
        let pool = pooled(answers.iter().map(|(seed, a)| (*seed, &a.seeing[..])));
        let blind: Option<Vec<_>> =
            answers.iter().map(|(seed, a)| Some((*seed, a.blind.as_deref()?))).collect();
        let none = MajorityBaseline::none();
        let score = |predictions: &[Prediction]| score(predictions, Some(&none));
        let blind = blind.filter(|blind| !blind.is_empty()).map(|blind| score(&pooled(blind)));
        Self {
            all: score(&pool),
            by_seed: answers.iter().map(|(_, a)| score(&a.seeing)).collect(),
            blind,
            pool,
        }
    }

    /// Standard deviation over the seeds, of the population that they are drawn from; none of one seed.
    pub fn deviation(&self, metric: Metric) -> Option<f64> {
        let values: Option<Vec<f64>> =
            self.by_seed.iter().map(|scores| Some(scores.get(metric)?.value)).collect();
        let values = values.filter(|values| values.len() > 1)?;
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        Some((values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt())
    }
}
