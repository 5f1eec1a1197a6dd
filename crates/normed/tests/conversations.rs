//! Conversations from their file to a run and its predictions: several turns, several images and none at all.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use normed::data::{Dataset, Split, indices_of};
use normed::metrics::{Prediction, read_predictions};
use normed::models::{self, GenerationConfig};
use normed::recipe::{CachePlace, Recipe};
use normed::train::{Evaluation, Event, Likelihood, RunOptions, plan, run};
use serde_json::{Value, json};

mod new_llava;
#[allow(dead_code, reason = "not every test that includes this module needs it")]
mod tiny;

/// A list of 24 conversations as people mix them: about one image, about two of which the second comes later, and
/// about none.
fn conversations() -> Value {
    let row = |i: usize| {
        let split = ["train", "train", "train", "test", "validate", "train"][i % 6];
        let turn = |from: &str, value: &str| json!({"from": from, "value": value});
        let turns = |first: &str, second: &str| {
            json!([
                turn("human", first),
                turn("gpt", ["yes", "no"][i % 2]),
                turn("human", second),
                turn("gpt", ["little", "a lot"][i % 2])
            ])
        };
        match i % 3 {
            0 => json!({"id": format!("one-{i}"), "image": format!("{i}.png"), "split": split,
                "conversations": turns("<image>\nIs it bright?", "How much light is it?")}),
            1 => json!({"id": format!("two-{i}"), "split": split,
                "images": [format!("{i}.png"), format!("{}.png", i + 10)],
                "conversations": turns("<image>\nIs it bright?", "How much light is it here? <image>")}),
            _ => json!({"split": split, "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": [{"type": "text", "text": "Is light bright?"}]},
                {"role": "assistant", "content": [{"type": "text", "text": "yes"}]}]}),
        }
    };
    (0..24).map(row).collect()
}

/// The recipe `tune.toml` of [`new_llava::make_llava`] over the conversations, in the run directory `name`.
fn tune(root: &Path, name: &str, settings: &[&str]) -> Recipe {
    let file = format!("data.file={}", root.join("talks.json").display());
    let more = [file.as_str(), "train.batch_size=3", "train.metric=loss"];
    let settings: Vec<_> = more.iter().chain(settings).map(|s| (*s).to_owned()).collect();
    let recipe = Recipe::open(&root.join("tune.toml"), &settings).unwrap();
    Recipe { output: root.join(name), ..recipe }
}

fn go(recipe: &Recipe) -> Vec<Event> {
    let mut events = Vec::new();
    let options = RunOptions { test: true, ..RunOptions::default() };
    let outcome = run(recipe, &options, &mut |event| events.push(event.clone())).unwrap();
    assert!(outcome.finished().unwrap().test.unwrap().blind.is_some());
    events
}

fn with_llava() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    new_llava::make_llava(root);
    fs::write(root.join("talks.json"), conversations().to_string()).unwrap();
    let made = Recipe::open(&root.join("make.toml"), &[]).unwrap();
    let made = Recipe { output: root.join("made"), ..made };
    run(&made, &RunOptions::default(), &mut |_| {}).unwrap();
    dir
}

#[test]
fn a_llava_is_tuned_on_conversations_with_and_without_images() {
    let dir = with_llava();
    let root = dir.path();
    let planned = plan(&tune(root, "run", &[])).unwrap();
    // 16 rows are for training: 8 without an image have one answer, the others two.
    assert_eq!(planned.steps, Some((8 + 8 * 2) / (3 * 2)));
    let events = go(&tune(root, "run", &[]));
    let warned = |text: &str| {
        let is = |e: &Event| matches!(e, Event::Warning { message } if message.contains(text));
        events.iter().any(is)
    };
    assert!(warned("are taken for CLOSED"));

    let predictions = read_predictions(&root.join("run/predictions.jsonl")).unwrap();
    let ids: Vec<_> = predictions.iter().map(|p| p.id.as_str()).collect();
    let want = [
        "one-3#1", "one-3#2", "one-9#1", "one-9#2", "one-15#1", "one-15#2", "one-21#1", "one-21#2",
    ];
    assert_eq!(ids, want);
    assert_eq!(
        (predictions[1].question.as_str(), predictions[0].cluster.as_str()),
        ("How much light is it?", "3.png")
    );

    // Cached features change nothing, where some examples have none.
    let mut cached = tune(root, "cached", &["tuning.towers=[\"decoder\"]"]);
    cached.cache.place = CachePlace::Run;
    let mut plain = tune(root, "plain", &["tuning.towers=[\"decoder\"]"]);
    plain.cache.place = CachePlace::Off;
    let told = go(&cached).into_iter().any(|event| matches!(event, Event::Cached { .. }));
    go(&plain);
    assert!(told);
    tiny::assert_same(&root.join("plain"), &root.join("cached"));
}

/// An example's likelihood depends on what was said before, and not on the rest of its batch.
#[test]
fn likelihoods_depend_on_the_history_alone() {
    let dir = with_llava();
    let root = dir.path();
    let loaded = models::load(&root.join("made/model"), None).unwrap();
    let collator = Arc::new(loaded.collator());
    let open = |rows: &Value| {
        fs::write(root.join("talks.json"), rows.to_string()).unwrap();
        tune(root, "run", &[]).data.open().unwrap().dataset
    };
    let likelihoods = |dataset: &Arc<dyn Dataset>, batch_size| {
        let indices: Vec<usize> = (0..dataset.len()).collect();
        let evaluation = Evaluation {
            loaded: &loaded,
            collator: &collator,
            dataset,
            indices: &indices,
            batch_size,
        };
        let rule = GenerationConfig { max_new_tokens: 2, ..GenerationConfig::default() };
        let predictions = evaluation.predict(&rule, &mut |_| ControlFlow::Continue(()));
        let predictions: Vec<Prediction> = predictions.unwrap().finished().unwrap();
        predictions.iter().map(|p| Likelihood::from(p).nll).collect::<Vec<_>>()
    };
    let dataset = open(&conversations());
    assert_eq!(dataset.len(), 16 * 2 + 8);
    let (one, many) = (likelihoods(&dataset, 1), likelihoods(&dataset, 7));
    let near = |a: &f64, b: &f64| (a - b).abs() < 1e-4 * b.abs();
    assert!(one.iter().zip(&many).all(|(a, b)| near(a, b)), "{one:?} {many:?}");

    // Another first answer changes the likelihood of the second alone.
    let mut rows = conversations();
    rows[0]["conversations"][1]["value"] = json!("a lot of light");
    let other = likelihoods(&open(&rows), 1);
    let changed: Vec<_> = (0..one.len()).filter(|&i| !near(&one[i], &other[i])).collect();
    assert_eq!(changed, [0, 1]);
}

/// A MISS reads the last question of a conversation and at least one image.
#[test]
fn a_miss_reads_the_last_question_and_names_what_it_does_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    tiny::make(root, "method = \"layer_norm\"", "epochs = 1");
    fs::write(root.join("talks.json"), conversations().to_string()).unwrap();
    let open = |settings: &[&str]| {
        let file = format!("data.file={}", root.join("talks.json").display());
        let settings: Vec<_> =
            [file.as_str()].iter().chain(settings).map(|s| (*s).to_owned()).collect();
        let recipe = Recipe::open(&root.join("recipe.toml"), &settings).unwrap();
        Recipe { output: root.join("run"), ..recipe }
    };
    for result in
        [plan(&open(&[])).err(), run(&open(&[]), &RunOptions::default(), &mut |_| {}).err()]
    {
        let error = result.unwrap().to_string();
        assert!(error.contains("talks.json:1: example `3`: it has no image"), "{error}");
    }
    let recipe = Recipe { output: root.join("skip"), ..open(&["data.on_bad_example=skip"]) };
    let planned = plan(&recipe).unwrap();
    let warned = |text: &str| planned.warnings.iter().any(|warning| warning.contains(text));
    assert!(warned("16 of 32 questions follow earlier turns"), "{:?}", planned.warnings);
    assert!(warned("8 rows are skipped"), "{:?}", planned.warnings);
    let events = go(&recipe);
    let skipped = events.iter().find_map(|event| match event {
        Event::Skipped { rows } => Some(rows.len()),
        _ => None,
    });
    assert_eq!(skipped, Some(8));
}

/// Questions of one row stay together, and rows without an image are groups of their own.
#[test]
fn turns_of_a_row_are_in_one_split() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    tiny::make(root, "method = \"layer_norm\"", "epochs = 1");
    fs::write(root.join("talks.json"), conversations().to_string()).unwrap();
    let settings = [format!("data.file={}", root.join("talks.json").display())];
    let dataset = Recipe::open(&root.join("recipe.toml"), &settings).unwrap().data.open().unwrap();
    let dataset = dataset.dataset;
    let mut clusters = std::collections::BTreeMap::<String, usize>::new();
    for i in indices_of(&*dataset, Split::Train).unwrap() {
        *clusters.entry(dataset.get(i).unwrap().image_name).or_default() += 1;
    }
    assert!(clusters.iter().all(|(name, &n)| n == if name.contains("png") { 2 } else { 1 }));
    assert_eq!(clusters.len(), 16);
}
