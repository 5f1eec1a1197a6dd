//! The tables of a study. Every table of scores has the majority answer as a baseline and, with every
//! score, the image-shuffled score.

use std::collections::BTreeMap;

use super::findings::GroupFinding;
use super::group_scores::{GroupScores, metric_label};
use super::names::{file_name, heading};
use super::rate_selection::is_at_edge;
use super::results::{ExperimentResults, MIB, Results, mean};
use super::seed_scores::SeedScores;
use super::table::{Entry, ScoreEntry, Table};
use super::{Study, TestSet};
use crate::Result;
use crate::data::Split;
use crate::metrics::{Difference, MajorityBaseline, Metric, compare};

/// The name of the baseline in the column of methods.
const MAJORITY: &str = "majority answer";

/// The headings of the costs.
const COSTS: [&str; 5] = ["trained", "% of model", "peak MiB", "s/step", "s/epoch"];

/// Makes the tables of a study.
pub struct Tables<'r> {
    results: &'r Results<'r>,
    sets: BTreeMap<String, TestedSet>,
}

/// What is known of a test set's data.
struct TestedSet {
    /// The baseline of its training split, if it has one.
    baseline: Option<MajorityBaseline>,
    /// The number of rows of its training, validation and test splits.
    sizes: [usize; 3],
}

impl<'r> Tables<'r> {
    /// Reads the training splits of all test sets for their majority answers.
    pub fn new(results: &'r Results<'r>) -> Result<Self> {
        let study = results.study;
        let own = study.experiments.iter().map(|experiment| experiment.data_set.as_str());
        let mut sets = BTreeMap::new();
        for name in own.chain(study.test_sets.iter().map(|set| set.name.as_str())) {
            if !sets.contains_key(name) {
                sets.insert(name.to_owned(), TestedSet::read(study, name)?);
            }
        }
        Ok(Self { results, sets })
    }

    fn baseline(&self, test_set: &str) -> Option<&MajorityBaseline> {
        self.sets.get(test_set)?.baseline.as_ref()
    }

    /// The number of rows of a data set's training, validation and test splits.
    pub fn split_sizes(&self, data_set: &str) -> Option<[usize; 3]> {
        Some(self.sets.get(data_set)?.sizes)
    }

    /// What was found with one model and data set.
    pub fn describe_group(&self, scores: &GroupScores<'r>) -> Result<GroupFinding> {
        let (data_set, _) = group_names(scores);
        GroupFinding::new(scores, self.baseline(&data_set), self.results.study.seeds.len())
    }

    /// Scores a group of experiments on their own test split.
    pub fn score_group(&self, group: &[&'r ExperimentResults<'r>]) -> Result<GroupScores<'r>> {
        let baseline = self.baseline(&group[0].experiment.data_set);
        let seeds = &self.results.study.seeds;
        GroupScores::new(group, seeds, baseline, false, |run| Some(&run.own_test))
    }

    /// The costs and scores of each method on one model and data set.
    pub fn costs_and_scores(&self, scores: &GroupScores<'r>) -> Table {
        let (data_set, model) = group_names(scores);
        let mut head = vec!["method".to_owned()];
        head.extend(scores.columns.iter().map(|column| column.heading.to_owned()));
        head.extend(COSTS.map(str::to_owned));
        let mut majority = vec![Entry::from(MAJORITY)];
        majority.extend(scores.majority_row());
        majority.extend(COSTS.map(|_| Entry::Empty));
        let mut rows = vec![majority];
        for (i, experiment) in scores.experiments.iter().enumerate() {
            let mut row = vec![Entry::Text(experiment.results.experiment.method.clone())];
            row.extend(scores.row(i));
            row.extend(cost_entries(experiment.results));
            rows.push(row);
        }
        let first = scores.experiments.first().map(|experiment| &experiment.results.runs[0]);
        let n = first.map_or(0, |run| run.own_test.predictions.len());
        let overlap = first.and_then(|run| run.outcome.test.as_ref()?.overlap.as_ref()?.headline());
        let caption = format!(
            "{}: scores on {n} test {}, and the cost of tuning; mean ± standard deviation over seeds, \
             95 % interval.{}",
            heading(&data_set, &model),
            match scores.primary_metric() {
                Metric::Report(_) =>
                    "reports, scores times 100, BLEU over the reports of all seeds as one set",
                _ => "questions, exact match in percent",
            },
            overlap.map(|warning| format!(" Caution: {warning}.")).unwrap_or_default()
        );
        let name = file_name(["results", &model, &data_set]);
        Table { name, caption, head, rows, merges_equal_scores: true }
    }

    /// The significance tests behind the marks of a group's table.
    pub fn comparisons(&self, scores: &GroupScores<'r>) -> Table {
        let (data_set, model) = group_names(scores);
        let head = ["metric", "highest", "compared with", "difference", "p (Holm)", "significant"];
        let method =
            |i: usize| Entry::Text(scores.experiments[i].results.experiment.method.clone());
        let mut rows = Vec::new();
        for column in &scores.columns {
            for comparison in &column.comparisons {
                rows.push(vec![
                    Entry::from(column.heading),
                    method(comparison.best),
                    method(comparison.other),
                    difference_entry(&comparison.difference),
                    Entry::Real(comparison.p, 3),
                    Entry::from(if comparison.is_significant() { "yes" } else { "no" }),
                ]);
            }
        }
        let caption = format!(
            "{}: the highest score of each column compared with the others, question by question. Significant \
             means p < 0.05 after Holm's correction for the methods of the column.",
            heading(&data_set, &model)
        );
        let name = file_name(["differences", &model, &data_set]);
        Table {
            name,
            caption,
            head: head.map(str::to_owned).into(),
            rows,
            merges_equal_scores: false,
        }
    }

    /// The scores of one model's experiments on every test set; `None` if there is only one.
    pub fn generalization(&self, model: &str) -> Result<Option<Table>> {
        let experiments: Vec<&ExperimentResults<'_>> =
            self.results.experiments.iter().filter(|e| e.experiment.model == model).collect();
        let columns = self.tested_sets(&experiments);
        if columns.len() < 2 {
            return Ok(None);
        }
        let mut majority = vec![Entry::from(MAJORITY), Entry::Empty];
        let mut rows: Vec<Vec<Entry>> = experiments
            .iter()
            .map(|results| {
                [&results.experiment.data_set, &results.experiment.method]
                    .map(|name| Entry::from(name.as_str()))
                    .into()
            })
            .collect();
        let groups = self.results.groups();
        let groups: Vec<_> =
            groups.iter().filter(|group| group[0].experiment.model == model).collect();
        for column in &columns {
            let mut column_majority = Entry::Empty;
            let mut start = 0;
            for group in &groups {
                let is_own = group[0].experiment.data_set == *column;
                let (seeds, baseline) = (&self.results.study.seeds, self.baseline(column));
                let scores = GroupScores::new(group, seeds, baseline, true, |run| {
                    if is_own { Some(&run.own_test) } else { run.other_tests.get(*column) }
                })?;
                for (i, row) in rows[start..start + group.len()].iter_mut().enumerate() {
                    let entry = scores.experiments.get(i).and_then(|_| scores.row(i).next());
                    row.push(entry.unwrap_or(Entry::Empty));
                }
                start += group.len();
                if let Some(entry) = scores.majority_row().next() {
                    column_majority = entry;
                }
            }
            majority.push(column_majority);
        }
        rows.insert(0, majority);
        let mut head = vec!["trained on".to_owned(), "method".to_owned()];
        head.extend(columns.iter().map(|name| format!("tested on {name}")));
        let caption = format!(
            "{}: scores on the data that a model was tuned on and on other data; exact match of answers in \
             percent, CIDEr of reports times 100.",
            heading("Generalization", model)
        );
        Ok(Some(Table {
            name: file_name(["generalization", model]),
            caption,
            head,
            rows,
            merges_equal_scores: false,
        }))
    }

    /// The names of the sets on which one of these experiments was tested, its own data set included.
    fn tested_sets(&self, experiments: &[&'r ExperimentResults<'r>]) -> Vec<&'r str> {
        let mut names: Vec<&str> = Vec::new();
        let own = experiments.iter().map(|results| results.experiment.data_set.as_str());
        let test_sets = self.results.study.test_sets.iter().map(|set| set.name.as_str());
        for name in own.chain(test_sets) {
            let is_tested = |results: &&ExperimentResults<'_>| {
                let experiment = results.experiment;
                experiment.data_set == name
                    || experiment.other_test_sets.iter().any(|other| other == name)
            };
            if !names.contains(&name) && experiments.iter().any(is_tested) {
                names.push(name);
            }
        }
        names
    }

    /// What tuning makes the models forget of their own task; `None` if no test set is their own task.
    pub fn forgetting(&self) -> Result<Option<Table>> {
        let mut rows = Vec::new();
        for set in self.results.study.test_sets.iter().filter(|set| set.own_task) {
            for group in self.results.groups() {
                rows.extend(self.forgetting_rows(set, &group)?);
            }
        }
        let head = ["own task", "model", "tuned on", "method", "overall", "change"];
        let caption =
            "Forgetting: the scores on the base models' own task after they were tuned on other data, and the \
             change from the base model; exact match of answers in percent, CIDEr of reports times 100."
                .to_owned();
        let head = head.map(str::to_owned).into();
        let table =
            Table { name: "forgetting".into(), caption, head, rows, merges_equal_scores: false };
        Ok((!table.rows.is_empty()).then(|| table.without_empty_columns()))
    }

    /// The rows of one test set and group; none if the group has no method that trains nothing.
    fn forgetting_rows(
        &self,
        set: &TestSet,
        group: &[&ExperimentResults<'_>],
    ) -> Result<Vec<Vec<Entry>>> {
        let (seeds, baseline) = (&self.results.study.seeds, self.baseline(&set.name));
        let scores =
            GroupScores::new(group, seeds, baseline, true, |run| run.other_tests.get(&set.name))?;
        let base = scores.experiments.iter().find(|exp| !exp.results.experiment.trains());
        let Some(base) = base else { return Ok(Vec::new()) };
        let experiment = group[0].experiment;
        let labels = |method: &str| {
            [&set.name, &experiment.model, &experiment.data_set, method]
                .map(|text: &str| Entry::from(text))
        };
        let mut majority: Vec<Entry> = labels(MAJORITY).into();
        majority.extend(scores.majority_row());
        majority.push(Entry::Empty);
        let mut rows = vec![majority];
        for (i, scored) in scores.experiments.iter().enumerate() {
            let experiment = scored.results.experiment;
            let mut row: Vec<Entry> = labels(&experiment.method).into();
            row.extend(scores.row(i));
            let change = compare(&scored.pool, &base.pool)?;
            let change = change.get(scores.primary_metric()).filter(|_| experiment.trains());
            row.push(change.map_or(Entry::Empty, difference_entry));
            rows.push(row);
        }
        Ok(rows)
    }

    /// The scores with fractions of the training examples; `None` if no experiment was trained on them.
    pub fn data_efficiency(&self, group: &[&'r ExperimentResults<'r>]) -> Result<Option<Table>> {
        let fractions = &self.results.study.fractions;
        let group: Vec<_> =
            group.iter().copied().filter(|results| !results.fraction_runs.is_empty()).collect();
        if group.is_empty() {
            return Ok(None);
        }
        let scores = self.score_group(&group)?;
        let (data_set, model) = group_names(&scores);
        let primary = scores.primary_metric();
        let entry = |scores: &SeedScores| scores.entry(primary).map_or(Entry::Empty, Entry::Score);
        let mut rows = vec![vec![Entry::from(MAJORITY)]];
        rows[0].extend(std::iter::repeat_n(scores.primary_majority(), fractions.len() + 1));
        for experiment in &scores.experiments {
            let mut row = vec![Entry::Text(experiment.results.experiment.method.clone())];
            for fraction in fractions {
                let runs = experiment.results.fraction_runs.iter().find(|(of, _)| of == fraction);
                let scores = runs.map(|(_, runs)| SeedScores::of_own_test(runs));
                row.push(scores.as_ref().map_or(Entry::Empty, entry));
            }
            row.push(entry(&experiment.scores));
            rows.push(row);
        }
        let mut head = vec!["method".to_owned()];
        head.extend(fractions.iter().map(|fraction| format!("{:.0} %", 100.0 * fraction)));
        head.push("all".to_owned());
        let caption = format!(
            "{}: scores after tuning on a fraction of the training images; {}. The learning rate is the one \
             selected with all images.",
            heading(&data_set, &model),
            metric_label(primary),
        );
        Ok(Some(Table {
            name: file_name(["efficiency", &model, &data_set]),
            caption,
            head,
            rows,
            merges_equal_scores: false,
        }))
    }

    /// The candidate learning rates; `None` if there was no choice.
    pub fn learning_rates(&self) -> Option<Table> {
        let head = ["model", "data", "method", "rate", "validation", "selected", "at the edge"];
        let mark = |is: bool| Entry::from(if is { "yes" } else { "" });
        let mut rows = Vec::new();
        for results in self.results.experiments.iter().filter(|results| results.trials.len() > 1) {
            for trial in &results.trials {
                let mut row = experiment_entries(results);
                row.extend([
                    Entry::Text(format!("{:.0e}", trial.learning_rate)),
                    match (&trial.value, &trial.failure) {
                        (Some(value), _) => Entry::Real(*value, 3),
                        (None, failure) => {
                            let cause = failure.as_deref().unwrap_or_default();
                            Entry::from(cause.lines().next().unwrap_or_default())
                        }
                    },
                    mark(trial.selected),
                    mark(trial.selected && is_at_edge(&results.trials)),
                ]);
                rows.push(row);
            }
        }
        let caption = "Learning rates, selected by the validation split alone. If the selected one is at the \
                       edge of the candidates, a better one may lie outside.";
        let head = head.map(str::to_owned).into();
        let table = Table {
            name: "rates".into(),
            caption: caption.into(),
            head,
            rows,
            merges_equal_scores: false,
        };
        (!table.rows.is_empty()).then(|| table.without_empty_columns())
    }

    /// All reported runs.
    pub fn runs(&self) -> Table {
        let head = [
            "model",
            "data",
            "method",
            "seed",
            "rate",
            "fraction",
            "best epoch",
            "seconds",
            "directory",
        ];
        let mut rows = Vec::new();
        for results in &self.results.experiments {
            let full = results.runs.iter().map(|run| (1.0, run));
            let on_fractions = results
                .fraction_runs
                .iter()
                .flat_map(|(fraction, runs)| runs.iter().map(move |run| (*fraction, run)));
            let selected = results.trials.iter().find(|trial| trial.selected);
            let rate = selected.filter(|_| results.experiment.trains());
            for (fraction, run) in full.chain(on_fractions) {
                let mut row = experiment_entries(results);
                row.extend([
                    Entry::Count(run.seed as usize),
                    rate.map_or(Entry::Empty, |trial| {
                        Entry::Text(format!("{:.0e}", trial.learning_rate))
                    }),
                    Entry::Real(f64::from(fraction), 2),
                    Entry::Count(run.outcome.best_epoch),
                    Entry::Real(run.outcome.seconds, 1),
                    Entry::Text(run.name.clone()),
                ]);
                rows.push(row);
            }
        }
        let head = head.map(str::to_owned).into();
        let caption = "The reported runs. Their folders are in the folder runs; a name ends with a hash of all that the \
                       outcome depends on."
            .to_owned();
        Table { name: "runs".into(), caption, head, rows, merges_equal_scores: false }
            .without_empty_columns()
    }
}

impl TestedSet {
    fn read(study: &Study, name: &str) -> Result<Self> {
        let dataset = study.test_data(name)?.open()?.dataset;
        let (mut answers, mut sizes) = (Vec::new(), [0; 3]);
        for i in 0..dataset.len() {
            let example = dataset.get(i)?;
            sizes[match example.split {
                Split::Train => 0,
                Split::Validate => 1,
                Split::Test => 2,
            }] += 1;
            if example.split == Split::Train {
                answers.push(example.expect_answer()?.clone());
            }
        }
        let baseline = (!answers.is_empty()).then(|| MajorityBaseline::from_training(&answers));
        Ok(Self { baseline, sizes })
    }
}

/// The costs of a method: trained parameters, memory and times.
fn cost_entries(results: &ExperimentResults<'_>) -> [Entry; COSTS.len()] {
    let (runs, outcome) = (&results.runs, &results.runs[0].outcome);
    let real =
        |value: Option<f64>, digits| value.map_or(Entry::Empty, |value| Entry::Real(value, digits));
    let percent = 100.0 * outcome.trained as f64 / outcome.total.max(1) as f64;
    [
        Entry::Count(outcome.trained),
        Entry::Real(percent, if percent < 1.0 && percent > 0.0 { 4 } else { 1 }),
        real(mean(runs, |run| Some(run.outcome.peak_memory_bytes? as f64 / MIB)), 0),
        real(mean(runs, |run| run.history.step_seconds), 3),
        real(mean(runs, |run| run.history.epoch_seconds), 1),
    ]
}

/// The names of model, data set and method.
fn experiment_entries(results: &ExperimentResults<'_>) -> Vec<Entry> {
    let experiment = results.experiment;
    [&experiment.model, &experiment.data_set, &experiment.method]
        .map(|name| Entry::from(name.as_str()))
        .into()
}

/// A difference of scores, times 100.
fn difference_entry(difference: &Difference) -> Entry {
    Entry::Score(ScoreEntry {
        value: 100.0 * difference.value,
        interval: difference.interval.map(|i| (100.0 * i.lo, 100.0 * i.hi)),
        ..ScoreEntry::default()
    })
}

/// The names of the data set and the model of a group.
fn group_names(scores: &GroupScores<'_>) -> (String, String) {
    let first = scores.experiments.first().map(|scored| scored.results.experiment);
    first.map(|first| (first.data_set.clone(), first.model.clone())).unwrap_or_default()
}
