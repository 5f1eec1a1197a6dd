//! Generated reports: their caption sums, and the majority report as a baseline.

use std::collections::BTreeMap;

use super::captions::{Caption, CaptionSums, caption_sums};
use super::{Metric, Prediction};

/// How many of the most frequent training reports are candidates for the majority report.
const CANDIDATES: usize = 24;

/// On how many training reports the candidates are scored.
const SCORED_ON: usize = 400;

/// The caption sums of each report among `predictions`, as one set.
pub(super) fn report_sums(predictions: &[&Prediction]) -> Vec<CaptionSums> {
    let reports = predictions.iter().filter(|prediction| prediction.is_report());
    let captions: Vec<_> = reports.map(|p| caption(&p.id, &p.prediction, &p.target.text)).collect();
    caption_sums(&captions)
}

/// The score of `text` in `metric` if it is the report of every study; `targets` are the true reports.
pub(super) fn score_of_one_report<'t>(
    metric: Metric,
    text: &str,
    targets: impl IntoIterator<Item = &'t str>,
) -> Option<f64> {
    let Metric::Report(metric) = metric else { return None };
    let mut total = CaptionSums::default();
    caption_sums(&repeated(text, targets)).into_iter().for_each(|sums| total += sums);
    total.value(metric)
}

/// For every metric, the report that scores highest as the report of all studies.
///
/// The candidates are the 24 most frequent of `reports`; they are scored on at most 400 of them. Where
/// there are more, both are picked at even distances in alphabetical order.
pub(super) fn majority_reports(reports: &[&str]) -> BTreeMap<Metric, String> {
    let mut sorted = reports.to_vec();
    sorted.sort_unstable();
    let targets = pick_evenly(&sorted, SCORED_ON);
    let mut best: BTreeMap<Metric, (f64, &str)> = BTreeMap::new();
    for candidate in candidates(&sorted) {
        let mut total = CaptionSums::default();
        let sums = caption_sums(&repeated(candidate, targets.iter().copied()));
        sums.into_iter().for_each(|sums| total += sums);
        for metric in Metric::all(true) {
            let Metric::Report(caption_metric) = metric else { continue };
            let Some(value) = total.value(caption_metric) else { continue };
            if best.get(&metric).is_none_or(|(most, _)| value > *most) {
                best.insert(metric, (value, candidate));
            }
        }
    }
    best.into_iter().map(|(metric, (_, text))| (metric, text.to_owned())).collect()
}

/// The most frequent texts of `sorted`, at most [`CANDIDATES`].
fn candidates<'t>(sorted: &[&'t str]) -> Vec<&'t str> {
    let mut counts: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
    for same in sorted.chunk_by(|a, b| a == b) {
        counts.entry(same.len()).or_default().push(same[0]);
    }
    let mut chosen = Vec::new();
    for (_, texts) in counts.into_iter().rev() {
        chosen.extend(pick_evenly(&texts, CANDIDATES - chosen.len()));
    }
    chosen
}

/// At most `most` of `all`, at even distances.
fn pick_evenly<'t>(all: &[&'t str], most: usize) -> Vec<&'t str> {
    let n = most.min(all.len());
    (0..n).map(|i| all[i * all.len() / n]).collect()
}

/// `text` as the prediction for each of `targets`.
fn repeated<'t>(text: &str, targets: impl IntoIterator<Item = &'t str>) -> Vec<Caption> {
    let targets = targets.into_iter().enumerate();
    targets.map(|(i, target)| caption(&i.to_string(), text, target)).collect()
}

fn caption(id: &str, prediction: &str, target: &str) -> Caption {
    Caption {
        id: id.to_owned(),
        prediction: prediction.to_owned(),
        references: vec![target.to_owned()],
        cluster: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        BaselineSource, CaptionMetric, ExampleAttributes, MajorityBaseline, compare,
        paired_bootstrap, score,
    };
    use super::*;
    use crate::data::{Answer, AnswerType};
    use crate::metrics::{Target, score_captions};

    const TEXTS: [&str; 4] = [
        "the heart is normal in size. the lungs are clear.",
        "the heart is enlarged. there is a small left effusion.",
        "the lungs are clear. no pneumothorax.",
        "low lung volumes. the heart is normal.",
    ];

    /// 40 reports of 20 patients; `text(i)` is the prediction for report i.
    fn reports(run: u64, text: impl Fn(usize) -> &'static str) -> Vec<Prediction> {
        let report = |i: usize| Prediction {
            id: i.to_string(),
            image: None,
            question: "?".into(),
            prediction: text(i).into(),
            probability: None,
            target: Target {
                text: TEXTS[i % 4].into(),
                answer_type: AnswerType::Report,
                nll: 2.0,
                num_target_tokens: 4,
                target_cut: false,
            },
            question_cut: false,
            cluster: (i / 2).to_string(),
            attributes: ExampleAttributes::default(),
            run,
        };
        (0..40).map(report).collect()
    }

    fn right(i: usize) -> &'static str {
        TEXTS[if i.is_multiple_of(3) { i % 4 } else { 0 }]
    }

    #[test]
    fn reports_are_scored_as_the_caption_tools_do_and_nothing_else_counts() {
        let predictions = reports(0, right);
        let scores = score(&predictions, None);
        let captions: Vec<_> = predictions
            .iter()
            .map(|p| Caption {
                cluster: p.cluster.clone(),
                ..caption(&p.id, &p.prediction, &p.target.text)
            })
            .collect();
        let theirs = score_captions(&captions, None).unwrap();
        for metric in CaptionMetric::WITHOUT_TABLES {
            let ours = scores.get(Metric::Report(metric)).unwrap();
            let want = &theirs.scores[&metric];
            assert_eq!((ours.value, ours.interval), (want.value, want.interval), "{metric:?}");
            assert_eq!((ours.n, ours.clusters), (40, 20));
        }
        assert_eq!(scores.get(Metric::NllPerToken).unwrap().value, 0.5);
        let names: Vec<_> = scores.rows().iter().map(|row| row.name).collect();
        assert_eq!(names.len(), CaptionMetric::WITHOUT_TABLES.len() + 1);
        assert!(!names.contains(&"exact_match") && names.ends_with(&["nll_per_token"]));
        let json = serde_json::to_string(&scores).unwrap();
        assert_eq!(serde_json::from_str::<super::super::Scores>(&json).unwrap(), scores);
    }

    /// The reports of several runs, scored as one set, have the mean of the CIDEr of the runs.
    #[test]
    fn several_runs_have_the_references_of_one() {
        let cider = Metric::Report(CaptionMetric::Cider);
        let of = |predictions: &[Prediction]| score(predictions, None).get(cider).unwrap().value;
        let (a, b) = (
            reports(1, right),
            reports(2, |i| {
                if i.is_multiple_of(2) { TEXTS[1] } else { "the heart is large. a zebra runs." }
            }),
        );
        let mean = (of(&a) + of(&b)) / 2.0;
        let pool = [a, b].concat();
        assert!((of(&pool) - mean).abs() < 1e-12, "{} {mean}", of(&pool));
    }

    #[test]
    fn each_metric_has_its_own_majority_report_of_the_training_split() {
        let train = [TEXTS[1], TEXTS[2], TEXTS[2], TEXTS[3], TEXTS[0], TEXTS[0], TEXTS[0]];
        let train = train.map(|text| Answer::new(text, AnswerType::Report));
        let baseline = MajorityBaseline::from_training(&train);
        let predictions = reports(0, |i| TEXTS[i % 4]);
        let scores = score(&predictions, Some(&baseline));
        assert_eq!(scores.baseline_source, BaselineSource::Training);
        for metric in CaptionMetric::WITHOUT_TABLES {
            let score = scores.get(Metric::Report(metric)).unwrap();
            let majority = score.majority.as_ref().unwrap();
            assert!(TEXTS.contains(&majority.answer.as_str()), "{majority:?}");
            assert!(majority.value < score.value);
            // Its score is that of predictions that repeat it for every study.
            let repeated: Vec<_> = predictions
                .iter()
                .map(|p| Prediction { prediction: majority.answer.clone(), ..p.clone() })
                .collect();
            let alone = super::super::score(&repeated, Some(&baseline));
            assert_eq!(alone.get(Metric::Report(metric)).unwrap().value, majority.value);
        }
        let rouge = scores.get(Metric::Report(CaptionMetric::RougeL)).unwrap();
        assert_eq!(rouge.majority.as_ref().unwrap().answer, TEXTS[0]);
    }

    #[test]
    fn candidates_are_the_most_frequent_and_picked_evenly() {
        let rare: Vec<String> = (0..100).map(|i| format!("{i:03}")).collect();
        let mut all: Vec<&str> = rare.iter().map(String::as_str).collect();
        all.extend(["often"; 3]);
        let chosen = candidates(&all);
        assert_eq!((chosen.len(), chosen[0], chosen[1], chosen[2]), (24, "often", "000", "004"));
        assert!(candidates(&[]).is_empty());
    }

    #[test]
    fn sets_of_reports_are_compared() {
        let (better, worse) = (reports(0, |i| TEXTS[i % 4]), reports(0, right));
        let cider = Metric::Report(CaptionMetric::Cider);
        for metric in [cider, Metric::Report(CaptionMetric::Bleu4)] {
            let of = |set: &[Prediction]| score(set, None).get(metric).unwrap().value;
            let comparison = compare(&better, &worse).unwrap();
            let difference = comparison.get(metric).unwrap();
            assert!((difference.value - (of(&better) - of(&worse))).abs() < 1e-12);
            assert!(difference.excludes_zero());
            assert!(paired_bootstrap(metric, &better, &worse).unwrap().unwrap() < 0.01);
        }
        let comparison = compare(&better, &better).unwrap();
        assert_eq!(comparison.get(cider).unwrap().value, 0.0);
        assert_eq!(comparison.get(Metric::ExactMatch), None);
    }
}
