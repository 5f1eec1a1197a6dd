//! The scores of a set of texts by all caption metrics.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::caption::Caption;
use super::meteor::{Lexicon, MeteorData};
use super::metric::CaptionMetric;
use super::sums::{CaptionSums, caption_sums, caption_sums_with};
use crate::Result;
use crate::metrics::bootstrap::{Interval, interval};

/// The value of one caption metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CaptionScore {
    /// BLEU and METEOR are computed over the whole set; the other metrics are means over texts.
    pub value: f64,
    /// The 95 % interval; absent where all texts are in one cluster. Resamples keep the document
    /// frequencies of the whole set for CIDEr.
    pub interval: Option<Interval>,
}

/// The caption scores of a set of texts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CaptionScores {
    /// The number of texts.
    pub n: usize,
    /// The number of clusters: studies, images or groups.
    pub clusters: usize,
    /// The scores over all texts.
    pub scores: BTreeMap<CaptionMetric, CaptionScore>,
    /// The scores of each single text, in the order of the texts.
    #[serde(skip)]
    pub items: Vec<BTreeMap<CaptionMetric, f64>>,
}

/// Scores `captions`, each of which has at least one reference, by all caption metrics. Without the tables
/// of METEOR, [`CaptionMetric::MeteorExactStem`] takes its place.
///
/// # Errors
/// If the paraphrase table of METEOR cannot be read.
pub fn score_captions(captions: &[Caption], meteor: Option<&MeteorData>) -> Result<CaptionScores> {
    let sums = match meteor {
        Some(data) => caption_sums_with(captions, |words| Lexicon::with(words, data))?,
        None => caption_sums(captions),
    };
    let mut clusters: BTreeMap<&str, CaptionSums> = BTreeMap::new();
    let mut total = CaptionSums::default();
    for (caption, sums) in captions.iter().zip(&sums) {
        total += *sums;
        *clusters.entry(&caption.cluster).or_default() += *sums;
    }
    let metrics: Vec<_> = match meteor {
        Some(_) => CaptionMetric::ALL
            .into_iter()
            .filter(|m| *m != CaptionMetric::MeteorExactStem)
            .collect(),
        None => CaptionMetric::WITHOUT_TABLES.to_vec(),
    };
    let score = |metric: CaptionMetric| {
        let interval = interval(&clusters, |sums: CaptionSums| sums.value(metric));
        Some((metric, CaptionScore { value: total.value(metric)?, interval }))
    };
    let values =
        |sums: &CaptionSums| metrics.iter().filter_map(|&m| Some((m, sums.value(m)?))).collect();
    Ok(CaptionScores {
        n: captions.len(),
        clusters: clusters.len(),
        scores: metrics.iter().copied().filter_map(score).collect(),
        items: sums.iter().map(values).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caption(id: &str, prediction: &str, references: &[&str]) -> Caption {
        Caption {
            id: id.into(),
            prediction: prediction.into(),
            references: references.iter().map(ToString::to_string).collect(),
            cluster: id.into(),
        }
    }

    #[test]
    fn texts_of_one_study_are_resampled_together() {
        let texts = |cluster: &dyn Fn(usize) -> String| -> Vec<Caption> {
            (0..40)
                .map(|i| Caption {
                    cluster: cluster(i),
                    ..caption(&i.to_string(), if i % 8 < 4 { "a b" } else { "c d" }, &["a b"])
                })
                .collect()
        };
        let width = |captions: &[Caption]| {
            let scores = score_captions(captions, None).expect("no tables");
            let interval = scores.scores[&CaptionMetric::RougeL].interval.expect("many clusters");
            interval.hi - interval.lo
        };
        let (alone, together) = (texts(&|i| i.to_string()), texts(&|i| (i / 4).to_string()));
        assert!(width(&together) > 1.5 * width(&alone));
    }
}
