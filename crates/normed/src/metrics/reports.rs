//! Generated reports as texts that are scored, and the best report that an answerer who never looks can
//! write.

use std::collections::BTreeMap;

use super::captions::{Caption, Parts, parts};
use super::{Metric, Prediction};

/// Of the training reports, so many of the most frequent stand for election as the best constant.
const CANDIDATES: usize = 24;

/// By so many training reports, spread evenly over all, it is chosen.
const JUDGES: usize = 400;

/// What each report among `predictions` adds to the scores of all of them.
pub(super) fn parts_of_reports(predictions: &[&Prediction]) -> Vec<Parts> {
    let reports = predictions.iter().filter(|prediction| prediction.is_report());
    let captions: Vec<_> = reports.map(|p| caption(&p.id, &p.prediction, &p.target)).collect();
    parts(&captions)
}

/// What `text` scores in `metric` as the report of every study whose report is among `targets`.
pub(super) fn constant_score<'t>(
    metric: Metric,
    text: &str,
    targets: impl IntoIterator<Item = &'t str>,
) -> Option<f64> {
    let Metric::Report(metric) = metric else { return None };
    let mut total = Parts::default();
    parts(&everywhere(text, targets)).into_iter().for_each(|part| total += part);
    total.value(metric)
}

/// For every metric, the report that scores most as the report of all studies: of the 24 most frequent of
/// `reports`, by 400 of them. Of reports that are as frequent, and of judges, those are taken that are
/// spread evenly over all in alphabetical order.
pub(super) fn best_constants(reports: &[&str]) -> BTreeMap<Metric, String> {
    let mut sorted = reports.to_vec();
    sorted.sort_unstable();
    let judges = spread(&sorted, JUDGES);
    let mut best: BTreeMap<Metric, (f64, &str)> = BTreeMap::new();
    for candidate in candidates(&sorted) {
        let mut total = Parts::default();
        let parts = parts(&everywhere(candidate, judges.iter().copied()));
        parts.into_iter().for_each(|part| total += part);
        for metric in Metric::all(true) {
            let Metric::Report(of_text) = metric else { continue };
            let Some(value) = total.value(of_text) else { continue };
            if best.get(&metric).is_none_or(|(most, _)| value > *most) {
                best.insert(metric, (value, candidate));
            }
        }
    }
    best.into_iter().map(|(metric, (_, text))| (metric, text.to_owned())).collect()
}

/// The most frequent of `sorted`.
fn candidates<'t>(sorted: &[&'t str]) -> Vec<&'t str> {
    let mut counts: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
    for same in sorted.chunk_by(|a, b| a == b) {
        counts.entry(same.len()).or_default().push(same[0]);
    }
    let mut chosen = Vec::new();
    for (_, texts) in counts.into_iter().rev() {
        chosen.extend(spread(&texts, CANDIDATES - chosen.len()));
    }
    chosen
}

/// At most `most` of `all`, spread evenly.
fn spread<'t>(all: &[&'t str], most: usize) -> Vec<&'t str> {
    let n = most.min(all.len());
    (0..n).map(|i| all[i * all.len() / n]).collect()
}

fn everywhere<'t>(text: &str, targets: impl IntoIterator<Item = &'t str>) -> Vec<Caption> {
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
        About, CaptionMetric, Constants, ConstantsFrom, compare, paired_bootstrap, score,
    };
    use super::*;
    use crate::data::AnswerType;
    use crate::metrics::score_captions;

    const TEXTS: [&str; 4] = [
        "the heart is normal in size. the lungs are clear.",
        "the heart is enlarged. there is a small left effusion.",
        "the lungs are clear. no pneumothorax.",
        "low lung volumes. the heart is normal.",
    ];

    /// 40 reports of 20 patients; `text` says what the model wrote of report i.
    fn reports(run: u64, text: impl Fn(usize) -> &'static str) -> Vec<Prediction> {
        let report = |i: usize| Prediction {
            id: i.to_string(),
            question: "?".into(),
            prediction: text(i).into(),
            target: TEXTS[i % 4].into(),
            answer_type: AnswerType::Report,
            nll: 2.0,
            num_target_tokens: 4,
            cluster: (i / 2).to_string(),
            about: About::default(),
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
                ..caption(&p.id, &p.prediction, &p.target)
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

    /// What several runs wrote is one set whose CIDEr is the mean of theirs.
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
    fn the_best_constant_is_chosen_by_training_reports_for_each_metric() {
        let train = [TEXTS[1], TEXTS[2], TEXTS[2], TEXTS[3], TEXTS[0], TEXTS[0], TEXTS[0]];
        let constants = Constants::of_training(train.map(|text| (text, AnswerType::Report)));
        let predictions = reports(0, |i| TEXTS[i % 4]);
        let scores = score(&predictions, Some(&constants));
        assert_eq!(scores.constants_from, ConstantsFrom::Training);
        for metric in CaptionMetric::WITHOUT_TABLES {
            let score = scores.get(Metric::Report(metric)).unwrap();
            let constant = score.constant.as_ref().unwrap();
            assert!(TEXTS.contains(&constant.answer.as_str()), "{constant:?}");
            assert!(constant.value < score.value);
            // The constant's score is that of predictions that say it everywhere.
            let said: Vec<_> = predictions
                .iter()
                .map(|p| Prediction { prediction: constant.answer.clone(), ..p.clone() })
                .collect();
            let alone = super::super::score(&said, Some(&constants));
            assert_eq!(alone.get(Metric::Report(metric)).unwrap().value, constant.value);
        }
        let rouge = scores.get(Metric::Report(CaptionMetric::RougeL)).unwrap();
        assert_eq!(rouge.constant.as_ref().unwrap().answer, TEXTS[0]);
    }

    #[test]
    fn candidates_are_frequent_and_spread() {
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
