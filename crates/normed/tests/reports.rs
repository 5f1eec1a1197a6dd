//! Runs on studies and their reports: several images per study, truncated texts, scores, the cache.

#[allow(dead_code)] // what other tests use
mod tiny;

use std::fs;
use std::path::Path;

use normed::metrics::{CaptionMetric, Metric, read_captions, score_captions};
use normed::recipe::{BestBy, CachePlace, Recipe};
use normed::train::{Event, Outcome, RunOptions, Subject, plan, run};
use serde_json::Value;

const FROZEN: &str = "method = \"full\"\ntowers = [\"text\", \"decoder\"]";

fn recipe(root: &Path, name: &str) -> Recipe {
    let mut recipe = Recipe::open(&root.join("report.toml"), &[]).unwrap();
    recipe.output = root.join(name);
    recipe.train.drop_path = 0.0;
    recipe
}

fn go(recipe: &Recipe) -> (Outcome, Vec<Event>) {
    let mut events = Vec::new();
    let options = RunOptions { test: true, ..RunOptions::default() };
    let outcome = run(recipe, &options, &mut |event| events.push(event.clone())).unwrap();
    (outcome.finished().unwrap(), events)
}

/// The validation scores after each epoch.
fn validations(events: &[Event], metric: Metric) -> Vec<f64> {
    let told = events.iter().filter_map(|event| match event {
        Event::Evaluated { subject: Subject::Validation, scores, .. } => Some(scores[&metric]),
        _ => None,
    });
    told.collect()
}

#[test]
fn a_run_on_studies_writes_scores_of_reports() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    tiny::make_reports(root, "method = \"full\"", "epochs = 6\n\n[generate]\nmax_new_tokens = 14");
    let recipe = recipe(root, "run");
    assert_eq!(recipe.train.metric, BestBy::Cider);
    let (outcome, events) = go(&recipe);

    let cider = Metric::Report(CaptionMetric::Cider);
    let told = validations(&events, cider);
    assert_eq!(told.len(), 6);
    let best = told.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    assert_eq!(outcome.best_value, Some(best));
    assert_eq!(told.iter().position(|value| *value == best), Some(outcome.best_epoch - 1));
    assert!(!events.iter().any(|event| matches!(event, Event::Truncated { .. })));

    // metrics.json holds the scores that the caption tools give to predictions.jsonl.
    let run = root.join("run");
    let captions = read_captions(&run.join("predictions.jsonl")).unwrap();
    let theirs = score_captions(&captions, None).unwrap();
    assert_eq!((theirs.n, theirs.clusters), (6, 3));
    let metrics: Value =
        serde_json::from_slice(&fs::read(run.join("metrics.json")).unwrap()).unwrap();
    for (metric, score) in &theirs.scores {
        let ours = &metrics["test"]["after"]["scores"][metric.name()];
        assert_eq!(ours["value"], score.value, "{metric:?}");
        let interval = score.interval.unwrap();
        assert_eq!(
            (&ours["interval"]["lo"], &ours["interval"]["hi"]),
            (&interval.lo.into(), &interval.hi.into())
        );
        assert!(ours["constant"]["answer"].is_string() && ours["clusters"] == 3);
    }
    let test = outcome.test.unwrap();
    let value = |scores: &normed::metrics::Scores| scores.get(cider).unwrap().value;
    let (before, after) = (value(test.before.as_ref().unwrap()), value(&test.after));
    assert!(after > before, "{before} to {after}");
    assert!(test.blind.is_some() && test.after.get(Metric::ExactMatch).is_none());
    let line = fs::read_to_string(run.join("predictions.jsonl")).unwrap();
    let line: Value = serde_json::from_str(line.lines().next().unwrap()).unwrap();
    assert_eq!(line["question"], "describe the findings of this study.");
    assert_eq!(line["answer_type"], "REPORT");
    let events = fs::read_to_string(run.join("events.jsonl")).unwrap();
    assert!(events.contains("\"bleu_4\":") && !events.contains("exact_match"), "{events}");
    let card = fs::read_to_string(run.join("adapter/README.md")).unwrap();
    let row = card.lines().find(|line| line.starts_with("| cider | ")).unwrap();
    assert!(row.ends_with(" | 6 |") && card.contains("image-to-text"), "{card}");
    // The summary has the same row, and says that six reports are too few.
    let summary = fs::read_to_string(run.join("summary.md")).unwrap();
    assert!(
        summary.contains(row) && summary.contains("on 6 test reports (3 groups, such as patients)")
    );
}

#[test]
fn the_cache_changes_no_byte_of_a_run_with_several_images_per_study() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    tiny::make_reports(
        root,
        FROZEN,
        "epochs = 2\nmetric = \"loss\"\n\n[generate]\nmax_new_tokens = 14",
    );
    let with = |name: &str, place| {
        let mut recipe = recipe(root, name);
        recipe.cache.place = place;
        go(&recipe).1
    };
    with("without", CachePlace::Off);
    let events = with("with", CachePlace::Run);
    let cached = events.iter().find_map(|event| match event {
        Event::Cached { images, computed, .. } => Some((*images, *computed)),
        _ => None,
    });
    // One image of a study with two is also another study's.
    assert_eq!(cached, Some((36, 36)));
    tiny::assert_same(&root.join("without"), &root.join("with"));
}

#[test]
fn reports_that_are_too_long_are_truncated_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    tiny::make_reports(root, "method = \"layer_norm\"", "\n[generate]\nmax_new_tokens = 6");
    let (_, events) = go(&recipe(root, "run"));
    let cut = events.iter().find_map(|event| match event {
        Event::Truncated { reports, total, tokens } => Some((*reports, *total, *tokens)),
        _ => None,
    });
    // Reports of studies with two images have ten words; 24 of 36 studies are for training.
    assert_eq!(cut, Some((12, 24, 6)));
    let predictions =
        normed::metrics::read_predictions(&root.join("run/predictions.jsonl")).unwrap();
    // Losses are of whole reports, however many tokens may be generated.
    assert!(predictions.iter().any(|p| p.target.text.split(' ').count() == 10));
    for p in predictions {
        assert_eq!(
            p.target.num_target_tokens,
            p.target.text.split(' ').count() + 1,
            "{}",
            p.target.text
        );
        assert!(!p.target.target_cut && p.prediction.split(' ').count() <= 6);
    }
}

#[test]
fn a_plan_counts_every_image() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    tiny::make_reports(root, "method = \"full\"", "\n[generate]\nmax_new_tokens = 14");
    let both = plan(&recipe(root, "run")).unwrap();
    let rows = fs::read_to_string(root.join("reports.jsonl")).unwrap();
    let one: String = rows
        .lines()
        .map(|line| {
            let mut row: Value = serde_json::from_str(line).unwrap();
            row["images"].as_array_mut().unwrap().truncate(1);
            format!("{row}\n")
        })
        .collect();
    fs::write(root.join("reports.jsonl"), one).unwrap();
    let one = plan(&recipe(root, "run")).unwrap();
    let of = |plan: &normed::train::Plan| plan.estimates[plan.chosen.unwrap()];
    let [both, one] = [of(&both), of(&one)];
    assert!(both.needs.activations > one.needs.activations);
    // The vision tower has twice as many operations.
    assert!(both.work.product_flops as f64 > 1.3 * one.work.product_flops as f64);
}
