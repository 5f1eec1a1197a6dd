//! The tables of a study. Every one has the best constant answer and, beside every score, the score
//! without looking at the images.

use std::collections::BTreeMap;

use super::results::{CellResults, Results, Scored};
use super::scoring::{Scoring, headline_name, mean, score_of, scored};
use super::select::at_an_end;
use super::table::{Entry, Score, Table};
use crate::Result;
use crate::data::Split;
use crate::metrics::{MajorityBaseline, Metric, compare};

/// The tables, section by section.
pub struct Tables<'r> {
    results: &'r Results<'r>,
    /// The best constants of each test set's training split, where it has one.
    constants: BTreeMap<String, Option<MajorityBaseline>>,
}

impl<'r> Tables<'r> {
    /// Opens the test sets' data for their best constants.
    pub fn new(results: &'r Results<'r>) -> Result<Self> {
        let study = results.study;
        let own = study.cells.iter().map(|cell| cell.data_set.as_str());
        let names = own.chain(study.test_sets.iter().map(|set| set.name.as_str()));
        let mut constants = BTreeMap::new();
        for name in names {
            if constants.contains_key(name) {
                continue;
            }
            let dataset = study.test_data(name)?.open()?.dataset;
            let mut answers = Vec::new();
            for i in 0..dataset.len() {
                let example = dataset.get(i)?;
                if example.split == Split::Train {
                    answers.push((example.answer, example.answer_type));
                }
            }
            let answers = answers.iter().map(|(answer, kind)| (answer.as_str(), *kind));
            let found = (answers.len() > 0).then(|| MajorityBaseline::from_training(answers));
            constants.insert(name.to_owned(), found);
        }
        Ok(Self { results, constants })
    }

    /// The scores of a group of cells on their own test split.
    pub fn own(&self, group: &[&'r CellResults<'r>]) -> Result<Scoring<'r>> {
        let constants = self.constants.get(&group[0].cell.data_set).and_then(Option::as_ref);
        Scoring::new(group, &self.results.study.seeds, constants, false, |run| Some(&run.own))
    }

    /// What tuning costs and what it gives: the table of a model and a data set.
    pub fn main(&self, scoring: &Scoring<'r>) -> Table {
        let (data_set, model) = names(scoring);
        let first = scoring.cells.first().map(|cell| &cell.results.runs[0]);
        let n = first.map_or(0, |run| run.own.seeing.len());
        let overlap = first.and_then(|run| run.outcome.test.as_ref()?.overlap.as_ref()?.warning());
        let mut head: Vec<String> = ["method", "trained", "%", "peak MB", "s a step", "s an epoch"]
            .map(str::to_owned)
            .into();
        head.extend(scoring.measures.iter().map(|(_, name, _)| (*name).to_owned()));
        let mut constant = vec![Entry::from("best constant")];
        constant.extend(std::iter::repeat_n(Entry::Empty, 5));
        constant.extend(scoring.constant_row());
        let mut rows = vec![constant];
        for (i, cell) in scoring.cells.iter().enumerate() {
            let runs = &cell.results.runs;
            let outcome = &runs[0].outcome;
            let real = |value: Option<f64>, digits| {
                value.map_or(Entry::Empty, |value| Entry::Real(value, digits))
            };
            let percent = 100.0 * outcome.trained as f64 / outcome.total.max(1) as f64;
            let mut row = vec![
                Entry::Text(cell.results.cell.method.clone()),
                Entry::Count(outcome.trained),
                Entry::Real(percent, if percent < 1.0 && percent > 0.0 { 4 } else { 1 }),
                real(mean(runs, |run| Some(run.outcome.peak_memory_bytes? as f64 / 1e6)), 0),
                real(mean(runs, |run| run.history.step_seconds), 3),
                real(mean(runs, |run| run.history.epoch_seconds), 1),
            ];
            row.extend(scoring.row(i));
            rows.push(row);
        }
        let caption = format!(
            "{}: what tuning takes and what it gives, on {n} test {}, mean ± standard deviation over \
             seeds, 95 % interval.{}",
            title(&data_set, &model),
            match scoring.headline() {
                Metric::Report(_) =>
                    "reports; scores times 100, BLEU of all seeds' reports as one set",
                _ => "questions; exact match in per cent",
            },
            overlap.map(|warning| format!(" Caution: {warning}.")).unwrap_or_default()
        );
        Table { name: file_name(["results", &model, &data_set]), caption, head, rows }
    }

    /// What the marks of a group's table rest on.
    pub fn duels(&self, scoring: &Scoring<'r>) -> Table {
        let (data_set, model) = names(scoring);
        let head =
            ["measure", "highest", "against", "difference", "p", "told apart"].map(str::to_owned);
        let method = |i: usize| Entry::Text(scoring.cells[i].results.cell.method.clone());
        let mut rows = Vec::new();
        for ((_, name, _), (_, duels)) in scoring.measures.iter().zip(&scoring.marks) {
            for duel in duels {
                let interval = duel.difference.interval.map(|i| (100.0 * i.lo, 100.0 * i.hi));
                let value = 100.0 * duel.difference.value;
                rows.push(vec![
                    Entry::from(*name),
                    method(duel.best),
                    method(duel.other),
                    Entry::Score(Score { value, interval, ..Score::default() }),
                    Entry::Real(duel.p, 3),
                    Entry::from(if duel.told() { "yes" } else { "no" }),
                ]);
            }
        }
        let caption = format!(
            "{}: the highest of each column against the others, question by question; p is corrected for \
             the methods of the column (Holm).",
            title(&data_set, &model)
        );
        Table {
            name: file_name(["differences", &model, &data_set]),
            caption,
            head: head.into(),
            rows,
        }
    }

    /// How the outcomes of one model's runs do on every test set; none where there is but one.
    pub fn matrix(&self, model: &str) -> Result<Option<Table>> {
        let study = self.results.study;
        let cells: Vec<&CellResults<'_>> =
            self.results.cells.iter().filter(|cell| cell.cell.model == model).collect();
        let mut columns: Vec<&str> = Vec::new();
        let own = cells.iter().map(|cell| cell.cell.data_set.as_str());
        for name in own.chain(study.test_sets.iter().map(|set| set.name.as_str())) {
            let asked = |cell: &&CellResults<'_>| {
                cell.cell.data_set == name || cell.cell.tested_on.iter().any(|other| other == name)
            };
            if !columns.contains(&name) && cells.iter().any(asked) {
                columns.push(name);
            }
        }
        if columns.len() < 2 {
            return Ok(None);
        }
        let groups = self.results.groups();
        let groups: Vec<_> = groups.iter().filter(|group| group[0].cell.model == model).collect();
        let mut constants = vec![Entry::from("best constant"), Entry::Empty];
        let mut rows: Vec<Vec<Entry>> = cells
            .iter()
            .map(|c| vec![Entry::Text(c.cell.data_set.clone()), Entry::Text(c.cell.method.clone())])
            .collect();
        for column in &columns {
            let mut constant = Entry::Empty;
            let mut first = 0;
            for group in &groups {
                let of_set = self.constants.get(*column).and_then(Option::as_ref);
                let scoring = Scoring::new(group, &study.seeds, of_set, true, |run| {
                    if run_is_of(group, column) { Some(&run.own) } else { run.others.get(*column) }
                })?;
                for (i, row) in rows[first..first + group.len()].iter_mut().enumerate() {
                    let entry = scoring.cells.get(i).and_then(|_| scoring.row(i).next());
                    row.push(entry.unwrap_or(Entry::Empty));
                }
                first += group.len();
                if let Some(entry) = scoring.constant_row().next() {
                    constant = entry;
                }
            }
            constants.push(constant);
        }
        rows.insert(0, constants);
        let mut head = vec!["trained on".to_owned(), "method".to_owned()];
        head.extend(columns.iter().map(|name| format!("tested on {name}")));
        let caption = format!(
            "{}: from what was trained on to what was not; exact match of answers in per cent, CIDEr of \
             reports times 100.",
            title("Generalisation", model)
        );
        Ok(Some(Table { name: file_name(["generalisation", model]), caption, head, rows }))
    }

    /// What tuning makes the models forget of what they could do; none where no set is their own task.
    pub fn forgetting(&self) -> Result<Option<Table>> {
        let study = self.results.study;
        let mut rows = Vec::new();
        for set in study.test_sets.iter().filter(|set| set.own_task) {
            let constants = self.constants.get(&set.name).and_then(Option::as_ref);
            for group in self.results.groups() {
                let scoring = Scoring::new(&group, &study.seeds, constants, true, |run| {
                    run.others.get(&set.name)
                })?;
                let Some(base) = scoring.cells.iter().find(|c| !c.results.cell.trains()) else {
                    continue;
                };
                let place = |text: &str, method: &str| {
                    [&set.name, &group[0].cell.model, text, method].map(|t| Entry::from(t as &str))
                };
                let mut constant: Vec<Entry> =
                    place(&group[0].cell.data_set, "best constant").into();
                constant.extend(scoring.constant_row());
                constant.push(Entry::Empty);
                rows.push(constant);
                for (i, cell) in scoring.cells.iter().enumerate() {
                    let mut row: Vec<Entry> =
                        place(&cell.results.cell.data_set, &cell.results.cell.method).into();
                    row.extend(scoring.row(i));
                    let change = compare(&cell.pool, &base.pool)?;
                    row.push(
                        match change.get(scoring.headline()).filter(|_| cell.results.cell.trains())
                        {
                            Some(change) => Entry::Score(Score {
                                value: 100.0 * change.value,
                                interval: change.interval.map(|i| (100.0 * i.lo, 100.0 * i.hi)),
                                ..Score::default()
                            }),
                            None => Entry::Empty,
                        },
                    );
                    rows.push(row);
                }
            }
        }
        let head =
            ["own task", "model", "tuned on", "method", "overall", "change"].map(str::to_owned);
        let caption =
            "Forgetting: what the models could do before, after they were tuned to something else; \
             exact match of answers in per cent, CIDEr of reports times 100."
                .to_owned();
        let table = Table { name: "forgetting".into(), caption, head: head.into(), rows };
        Ok((!table.rows.is_empty()).then(|| table.without_empty_columns()))
    }

    /// How few training examples do; none where no cell was trained on a part of them.
    pub fn efficiency(&self, group: &[&'r CellResults<'r>]) -> Result<Option<Table>> {
        let fractions = &self.results.study.fractions;
        let group: Vec<_> = group.iter().copied().filter(|cell| !cell.parts.is_empty()).collect();
        if group.is_empty() {
            return Ok(None);
        }
        let scoring = self.own(&group)?;
        let (data_set, model) = names(&scoring);
        let headline = scoring.headline();
        let constant = scoring.measures.iter().find(|(metric, ..)| *metric == headline);
        let constant =
            constant.and_then(|(_, _, constant)| *constant).map_or(Entry::Empty, |value| {
                Entry::Score(Score { value: 100.0 * value, ..Score::default() })
            });
        let mut rows = vec![vec![Entry::from("best constant")]];
        rows[0].extend(std::iter::repeat_n(constant, fractions.len() + 1));
        for cell in &scoring.cells {
            let mut row = vec![Entry::Text(cell.results.cell.method.clone())];
            let entry =
                |scored: &Scored| score_of(scored, headline).map_or(Entry::Empty, Entry::Score);
            for fraction in fractions {
                let part = cell.results.parts.iter().find(|(of, _)| of == fraction);
                row.push(part.map_or(Entry::Empty, |(_, runs)| entry(&scored(runs))));
            }
            row.push(entry(&cell.scored));
            rows.push(row);
        }
        let mut head = vec!["method".to_owned()];
        head.extend(fractions.iter().map(|part| format!("{:.0} %", 100.0 * part)));
        head.push("all".to_owned());
        let caption = format!(
            "{}: parts of the training images, and all of them; {}. The learning rate is the one chosen \
             with all of them.",
            title(&data_set, &model),
            headline_name(headline),
        );
        Ok(Some(Table { name: file_name(["efficiency", &model, &data_set]), caption, head, rows }))
    }

    /// The rates that were tried; none where there was no choice.
    pub fn rates(&self) -> Option<Table> {
        let head = ["model", "data", "method", "rate", "validation", "chosen", "at an end"];
        let mark = |is: bool| Entry::from(if is { "yes" } else { "" });
        let mut rows = Vec::new();
        for CellResults { cell, tried, .. } in
            self.results.cells.iter().filter(|c| c.tried.len() > 1)
        {
            for one in tried {
                rows.push(vec![
                    Entry::from(cell.model.as_str()),
                    Entry::from(cell.data_set.as_str()),
                    Entry::from(cell.method.as_str()),
                    Entry::Text(format!("{:.0e}", one.rate)),
                    match (&one.value, &one.failed) {
                        (Some(value), _) => Entry::Real(*value, 3),
                        (None, failed) => {
                            let cause = failed.as_deref().unwrap_or_default();
                            Entry::Text(cause.lines().next().unwrap_or_default().to_owned())
                        }
                    },
                    mark(one.chosen),
                    mark(one.chosen && at_an_end(tried)),
                ]);
            }
        }
        let caption = "Learning rates, chosen by the validation examples alone. Where the best is at \
                       an end of those tried, a better one may lie beyond.";
        let head = head.map(str::to_owned).into();
        let table = Table { name: "rates".into(), caption: caption.into(), head, rows };
        (!table.rows.is_empty()).then(|| table.without_empty_columns())
    }

    /// Every run that is reported.
    pub fn runs(&self) -> Table {
        let head =
            ["model", "data", "method", "seed", "rate", "part", "epoch kept", "seconds", "address"];
        let mut rows = Vec::new();
        for cell in &self.results.cells {
            let whole = cell.runs.iter().map(|run| (1.0, run));
            let parts =
                cell.parts.iter().flat_map(|(part, runs)| runs.iter().map(move |run| (*part, run)));
            let rate = cell.tried.iter().find(|tried| tried.chosen).map(|tried| tried.rate);
            for (part, run) in whole.chain(parts) {
                rows.push(vec![
                    Entry::from(cell.cell.model.as_str()),
                    Entry::from(cell.cell.data_set.as_str()),
                    Entry::from(cell.cell.method.as_str()),
                    Entry::Count(run.seed as usize),
                    rate.filter(|_| cell.cell.trains())
                        .map_or(Entry::Empty, |rate| Entry::Text(format!("{rate:.0e}"))),
                    Entry::Real(f64::from(part), 2),
                    Entry::Count(run.outcome.best_epoch),
                    Entry::Real(run.outcome.seconds, 1),
                    Entry::Text(run.address.clone()),
                ]);
            }
        }
        let head = head.map(str::to_owned).into();
        let caption = "The runs that are reported.".to_owned();
        Table { name: "runs".into(), caption, head, rows }.without_empty_columns()
    }
}

fn run_is_of(group: &[&CellResults<'_>], name: &str) -> bool {
    group[0].cell.data_set == name
}

fn names(scoring: &Scoring<'_>) -> (String, String) {
    let cell = scoring.cells.first().map(|cell| cell.results.cell);
    cell.map(|cell| (cell.data_set.clone(), cell.model.clone())).unwrap_or_default()
}

/// What a heading calls a model's part of the study.
pub fn title(of: &str, model: &str) -> String {
    if model.is_empty() { of.to_owned() } else { format!("{of}, {model}") }
}

/// A file's name of these parts, as far as there are any.
pub fn file_name<const N: usize>(parts: [&str; N]) -> String {
    let plain = |c: char| if c.is_alphanumeric() || c == '-' { c } else { '_' };
    let parts = parts.iter().filter(|part| !part.is_empty());
    parts.map(|part| part.chars().map(plain).collect::<String>()).collect::<Vec<_>>().join("-")
}
