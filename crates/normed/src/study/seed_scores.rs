//! Scores over several seeds.

use super::results::{RunResults, TestPredictions};
use super::table::ScoreEntry;
use crate::metrics::{MajorityBaseline, Metric, Prediction, Scores, score};

/// The scores of several runs, which differ in their seeds, on one test split.
pub struct SeedScores {
    /// The predictions of all seeds, as one set.
    pub pooled_predictions: Vec<Prediction>,
    /// The scores of that set.
    pub pooled: Scores,
    /// The scores of each seed.
    pub by_seed: Vec<Scores>,
    /// The scores of the image-shuffled predictions of all seeds, as one set.
    pub image_shuffled: Option<Scores>,
}

impl SeedScores {
    /// Scores the predictions of several seeds.
    pub fn new<'p>(seeds: impl IntoIterator<Item = (u64, &'p TestPredictions)>) -> Self {
        let seeds: Vec<_> = seeds.into_iter().collect();
        let pooled_predictions = pool(seeds.iter().map(|(seed, p)| (*seed, &p.predictions[..])));
        let shuffled: Option<Vec<_>> =
            seeds.iter().map(|(seed, p)| Some((*seed, p.image_shuffled.as_deref()?))).collect();
        let none = MajorityBaseline::none();
        let score = |predictions: &[Prediction]| score(predictions, Some(&none));
        let shuffled = shuffled.filter(|seeds| !seeds.is_empty());
        Self {
            pooled: score(&pooled_predictions),
            by_seed: seeds.iter().map(|(_, p)| score(&p.predictions)).collect(),
            image_shuffled: shuffled.map(|seeds| score(&pool(seeds))),
            pooled_predictions,
        }
    }

    /// The scores of an experiment's runs on their own test split.
    pub fn of_own_test(runs: &[RunResults]) -> Self {
        Self::new(runs.iter().map(|run| (run.seed, &run.own_test)))
    }

    /// The sample standard deviation over seeds; `None` for a single seed.
    pub fn deviation(&self, metric: Metric) -> Option<f64> {
        let values: Option<Vec<f64>> =
            self.by_seed.iter().map(|scores| Some(scores.get(metric)?.value)).collect();
        let values = values.filter(|values| values.len() > 1)?;
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        Some((values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt())
    }

    /// The entry of a table: the score times 100, without a mark.
    pub fn entry(&self, metric: Metric) -> Option<ScoreEntry> {
        let pooled = self.pooled.get(metric)?;
        let shuffled = |scores: &Scores| Some(100.0 * scores.get(metric)?.value);
        Some(ScoreEntry {
            value: 100.0 * pooled.value,
            deviation: self.deviation(metric).map(|d| 100.0 * d),
            interval: pooled.interval.map(|i| (100.0 * i.lo, 100.0 * i.hi)),
            image_shuffled: self.image_shuffled.as_ref().and_then(shuffled),
            ..ScoreEntry::default()
        })
    }
}

/// The predictions of several seeds as one set.
///
/// Its score is the mean over seeds, except for BLEU, which is computed over the whole set. The bootstrap
/// resamples all predictions about an image together, of whichever seed.
pub fn pool<'p>(seeds: impl IntoIterator<Item = (u64, &'p [Prediction])>) -> Vec<Prediction> {
    let mut pooled = Vec::new();
    for (seed, predictions) in seeds {
        pooled.extend(predictions.iter().map(|p| Prediction { run: seed, ..p.clone() }));
    }
    pooled
}
