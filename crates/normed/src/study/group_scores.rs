//! The scores of a group's methods on one test split, and their comparison.

use super::paired_comparison::{Mark, PairedComparison, compare_with_best};
use super::results::{ExperimentResults, RunResults, TestPredictions};
use super::seed_scores::{SeedScores, pool};
use super::table::{Entry, ScoreEntry};
use crate::Result;
use crate::metrics::{CaptionMetric, MajorityBaseline, Metric, Prediction, score};

/// The metrics of tables, with the headings of their columns.
/// The first ones are seen first on a narrow screen.
const COLUMNS: [(Metric, &str); 12] = [
    (Metric::ExactMatch, "overall"),
    (Metric::Report(CaptionMetric::Cider), "CIDEr"),
    (Metric::OpenExactMatch, "open"),
    (Metric::OpenTokenRecall, "open recall"),
    (Metric::ClosedAccuracy, "closed"),
    (Metric::YesNoAccuracy, "yes/no"),
    (Metric::Report(CaptionMetric::Bleu1), "BLEU-1"),
    (Metric::Report(CaptionMetric::Bleu2), "BLEU-2"),
    (Metric::Report(CaptionMetric::Bleu3), "BLEU-3"),
    (Metric::Report(CaptionMetric::Bleu4), "BLEU-4"),
    // The tables of synonyms and paraphrases belong to others; `normed score` reads them.
    (Metric::Report(CaptionMetric::MeteorExactStem), "METEOR, words and stems"),
    (Metric::Report(CaptionMetric::RougeL), "ROUGE-L"),
];

/// The name and unit of a primary metric, for axes and captions.
pub fn metric_label(primary: Metric) -> &'static str {
    match primary {
        Metric::Report(_) => "CIDEr times 100",
        _ => "exact match, %",
    }
}

/// The scores of one experiment on a test split.
pub struct ScoredExperiment<'r> {
    /// The experiment.
    pub results: &'r ExperimentResults<'r>,
    /// Its scores.
    pub scores: SeedScores,
    /// One set of predictions per seed of the study, pooled. Where nothing is trained, the only run stands
    /// for every seed, so that sets of the same size are compared.
    pub pool: Vec<Prediction>,
    /// The same of the image-shuffled predictions; absent if a run has none.
    pub shuffled_pool: Option<Vec<Prediction>>,
}

/// A column of a table of scores.
pub struct ScoreColumn {
    /// The metric.
    pub metric: Metric,
    /// The heading.
    pub heading: &'static str,
    /// The score of the majority answer, 0 to 1.
    pub majority: Option<f64>,
    /// The mark of each experiment.
    pub marks: Vec<Mark>,
    /// The comparisons that the marks are based on.
    pub comparisons: Vec<PairedComparison>,
}

/// The scores of a group of experiments on one test split.
pub struct GroupScores<'r> {
    /// The columns: one per metric that applies.
    pub columns: Vec<ScoreColumn>,
    /// The experiments, in the study's order.
    pub experiments: Vec<ScoredExperiment<'r>>,
}

impl<'r> GroupScores<'r> {
    /// Scores the predictions that `predictions` selects from each run. `baseline` is that of the test
    /// data's training split. Experiments without such predictions are left out.
    pub fn new(
        group: &[&'r ExperimentResults<'r>],
        seeds: &[u64],
        baseline: Option<&MajorityBaseline>,
        only_primary: bool,
        predictions: impl Fn(&RunResults) -> Option<&TestPredictions>,
    ) -> Result<Self> {
        let mut experiments = Vec::new();
        for &results in group {
            let runs: Option<Vec<_>> =
                results.runs.iter().map(|run| Some((run.seed, predictions(run)?))).collect();
            let Some(runs) = runs.filter(|runs| !runs.is_empty()) else { continue };
            let of_seed = |i: usize| runs[i.min(runs.len() - 1)].1;
            let seeds = || seeds.iter().enumerate().map(|(i, &seed)| (seed, of_seed(i)));
            let shuffled: Option<Vec<_>> =
                seeds().map(|(seed, test)| Some((seed, test.image_shuffled.as_deref()?))).collect();
            let (shuffled_pool, pool) = (
                shuffled.map(pool),
                pool(seeds().map(|(seed, test)| (seed, &test.predictions[..]))),
            );
            let scores = SeedScores::new(runs);
            experiments.push(ScoredExperiment { results, scores, pool, shuffled_pool });
        }
        let Some(first) = experiments.first() else {
            return Ok(Self { columns: Vec::new(), experiments });
        };
        let with_baseline = score(&first.scores.pooled_predictions, baseline);
        let primary = primary_metric(&first.pool);
        let pools: Vec<&[Prediction]> = experiments.iter().map(|exp| &exp.pool[..]).collect();
        let mut columns = Vec::new();
        for (metric, heading) in COLUMNS {
            let Some(score) = with_baseline.get(metric) else { continue };
            if only_primary && metric != primary {
                continue;
            }
            let majority = score.majority.as_ref().map(|majority| majority.value);
            let (marks, comparisons) = compare_with_best(metric, &pools, seeds.len())?;
            columns.push(ScoreColumn { metric, heading, majority, marks, comparisons });
        }
        Ok(Self { columns, experiments })
    }

    /// The metric to show where there is room for one.
    pub fn primary_metric(&self) -> Metric {
        primary_metric(self.experiments.first().map_or(&[], |exp| &exp.pool))
    }

    /// The entries of the majority answer, one per column.
    pub fn majority_row(&self) -> impl Iterator<Item = Entry> + '_ {
        self.columns.iter().map(|column| majority_entry(column.majority))
    }

    /// The entry of the majority answer for the primary metric.
    pub fn primary_majority(&self) -> Entry {
        let primary = self.primary_metric();
        let column = self.columns.iter().find(|column| column.metric == primary);
        majority_entry(column.and_then(|column| column.majority))
    }

    /// The entries of experiment `i`, one per column.
    pub fn row(&self, i: usize) -> impl Iterator<Item = Entry> + '_ {
        let scores = &self.experiments[i].scores;
        self.columns.iter().map(move |column| match scores.entry(column.metric) {
            Some(entry) => Entry::Score(ScoreEntry { mark: column.marks[i], ..entry }),
            None => Entry::Empty,
        })
    }
}

fn primary_metric(predictions: &[Prediction]) -> Metric {
    Metric::primary(predictions.first().is_some_and(Prediction::is_report))
}

fn majority_entry(value: Option<f64>) -> Entry {
    value.map_or(Entry::Empty, |value| {
        Entry::Score(ScoreEntry { value: 100.0 * value, ..ScoreEntry::default() })
    })
}
