//! Answers of a group's methods to one test split, scored and held against one another.

use super::differences::{Duel, Mark, contest};
use super::results::{Answers, CellResults, RunResults, Scored, pooled};
use super::table::{Entry, Score};
use crate::Result;
use crate::metrics::{CaptionMetric, MajorityBaseline, Metric, Prediction, Scores, score};

/// What is measured, and what a table's column is called.
const MEASURES: [(Metric, &str); 11] = [
    (Metric::OpenExactMatch, "open"),
    (Metric::OpenTokenRecall, "open, recall"),
    (Metric::ClosedAccuracy, "closed"),
    (Metric::YesNoAccuracy, "yes/no"),
    (Metric::ExactMatch, "overall"),
    (Metric::Report(CaptionMetric::Bleu1), "BLEU-1"),
    (Metric::Report(CaptionMetric::Bleu2), "BLEU-2"),
    (Metric::Report(CaptionMetric::Bleu3), "BLEU-3"),
    (Metric::Report(CaptionMetric::Bleu4), "BLEU-4"),
    (Metric::Report(CaptionMetric::RougeL), "ROUGE-L"),
    (Metric::Report(CaptionMetric::Cider), "CIDEr"),
];

/// The measure that stands for the others where there is room for one.
pub fn headline(predictions: &[Prediction]) -> Metric {
    Metric::primary(predictions.first().is_some_and(Prediction::is_report))
}

/// What an axis and a caption call it, and that it is times 100.
pub fn headline_name(headline: Metric) -> &'static str {
    match headline {
        Metric::Report(_) => "CIDEr times 100",
        _ => "exact match, %",
    }
}

/// All answers of a cell to one test split, scored.
pub struct ScoredCell<'r> {
    /// Which cell.
    pub results: &'r CellResults<'r>,
    /// Its scores.
    pub scored: Scored,
    /// The answers of every seed of the study: where nothing is trained, the same for all.
    pub pool: Vec<Prediction>,
}

/// What a table of scores is made of.
pub struct Scoring<'r> {
    /// What the methods are judged by, and what the best constant answer earns in it.
    pub measures: Vec<(Metric, &'static str, Option<f64>)>,
    /// The cells, in the study's order.
    pub cells: Vec<ScoredCell<'r>>,
    /// A row of marks for each measure, and what they rest on.
    pub marks: Vec<(Vec<Mark>, Vec<Duel>)>,
}

impl<'r> Scoring<'r> {
    /// Of the answers that `answers` finds in a run. `constants` are those of the test data's training
    /// split.
    pub fn new(
        cells: &[&'r CellResults<'r>],
        seeds: &[u64],
        constants: Option<&MajorityBaseline>,
        only_headline: bool,
        answers: impl Fn(&RunResults) -> Option<&Answers>,
    ) -> Result<Self> {
        let mut scored = Vec::new();
        for &results in cells {
            let own: Option<Vec<_>> =
                results.runs.iter().map(|run| Some((run.seed, answers(run)?))).collect();
            let Some(own) = own.filter(|own| !own.is_empty()) else { continue };
            let of = |i: usize| &own[i.min(own.len() - 1)].1.seeing[..];
            let pool = pooled(seeds.iter().enumerate().map(|(i, &seed)| (seed, of(i))));
            scored.push(ScoredCell { results, scored: Scored::new(own), pool });
        }
        let first = scored.first().map(|cell| score(&cell.scored.pool, constants));
        let only = scored.first().map(|cell| headline(&cell.pool)).filter(|_| only_headline);
        let constant = |metric| Some(first.as_ref()?.get(metric)?.majority.as_ref()?.value);
        let counts = |metric| first.as_ref().is_some_and(|scores| scores.get(metric).is_some());
        let measures: Vec<_> = MEASURES
            .into_iter()
            .filter(|(metric, _)| counts(*metric) && only.is_none_or(|only| only == *metric))
            .map(|(metric, name)| (metric, name, constant(metric)))
            .collect();
        let pools: Vec<&[Prediction]> = scored.iter().map(|cell| &cell.pool[..]).collect();
        let marks = measures.iter().map(|(metric, ..)| contest(*metric, &pools, seeds.len()));
        let marks = marks.collect::<Result<Vec<_>>>()?;
        Ok(Self { measures, cells: scored, marks })
    }

    /// The measure that stands for the others.
    pub fn headline(&self) -> Metric {
        headline(self.cells.first().map_or(&[], |cell| &cell.pool))
    }

    /// What the best constant answer earns in each measure.
    pub fn constant_row(&self) -> impl Iterator<Item = Entry> + '_ {
        let entry = |(_, _, constant): &(_, _, Option<f64>)| {
            constant.map_or(Entry::Empty, |value| {
                Entry::Score(Score { value: 100.0 * value, ..Score::default() })
            })
        };
        self.measures.iter().map(entry)
    }

    /// The scores of cell `i`.
    pub fn row(&self, i: usize) -> impl Iterator<Item = Entry> + '_ {
        let scored = &self.cells[i].scored;
        self.measures.iter().zip(&self.marks).map(move |((metric, ..), (marks, _))| match score_of(
            scored, *metric,
        ) {
            Some(score) => Entry::Score(Score { mark: marks[i], ..score }),
            None => Entry::Empty,
        })
    }
}

/// A score times 100.
pub fn score_of(scored: &Scored, metric: Metric) -> Option<Score> {
    let all = scored.all.get(metric)?;
    let blind = |scores: &Scores| Some(100.0 * scores.get(metric)?.value);
    Some(Score {
        value: 100.0 * all.value,
        deviation: scored.deviation(metric).map(|d| 100.0 * d),
        interval: all.interval.map(|i| (100.0 * i.lo, 100.0 * i.hi)),
        blind: scored.blind.as_ref().and_then(blind),
        mark: Mark::None,
    })
}

/// Mean over the runs of what some of them have.
pub fn mean(runs: &[RunResults], of: impl Fn(&RunResults) -> Option<f64>) -> Option<f64> {
    let values: Vec<f64> = runs.iter().filter_map(of).collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The scores of a cell's runs on their own test split.
pub fn scored(runs: &[RunResults]) -> Scored {
    Scored::new(runs.iter().map(|run| (run.seed, &run.own)))
}
