//! Complete runs of a tiny model: the files they write, and that a resumed run writes the same bytes.

mod tiny;

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use normed::data::ImageSize;
use normed::metrics::Metric;
use normed::models;
use normed::train::{Completion, Event, Outcome, RunOptions, Subject, run};
use normed::weights::{BaseCheck, load_adapter};

const LAYER_NORM: &str = "method = \"layer_norm\"";

/// Runs to the end.
fn finish(root: &Path, name: &str, resume: bool) -> (Outcome, Vec<Event>) {
    let options = RunOptions { resume, test: true, ..RunOptions::default() };
    let mut events = Vec::new();
    let outcome = run(&tiny::recipe(root, name), &options, &mut |event| events.push(event.clone()));
    (outcome.unwrap().finished().expect("nobody stopped it"), events)
}

#[test]
fn a_run_writes_all_its_files() {
    let dir = tempfile::tempdir().unwrap();
    // LayerNorms alone cannot teach a random model much.
    let tuning = "method = \"layer_norm\"\nalso = [\"head\", \"embeddings\"]";
    tiny::make(dir.path(), tuning, "epochs = 6");
    let (outcome, events) = finish(dir.path(), "run", false);
    let run = dir.path().join("run");
    for file in [
        "recipe.toml",
        "events.jsonl",
        "events.out.tfevents.normed",
        "metrics.json",
        "loss.svg",
        "predictions.jsonl",
        "predictions_before.jsonl",
        "predictions_blind.jsonl",
        "adapter/adapter_config.json",
        "adapter/adapter_model.safetensors",
        "adapter/README.md",
    ] {
        assert!(run.join(file).is_file(), "{file}");
    }
    assert!(!run.join("checkpoint").exists());

    // 48 examples, 8 per step.
    assert_eq!(outcome.steps, 36);
    let losses = |first: usize, last: usize| -> f64 {
        let of = events.iter().filter_map(|e| match e {
            Event::StepDone { step, loss, .. } if (first..=last).contains(step) => Some(*loss),
            _ => None,
        });
        of.sum::<f64>() / (last + 1 - first) as f64
    };
    assert!(losses(31, 36) < 0.8 * losses(1, 6), "{} {}", losses(1, 6), losses(31, 36));
    let test = outcome.test.unwrap();
    let nll = |scores: &normed::metrics::Scores| scores.get(Metric::NllPerToken).unwrap().value;
    assert!(nll(&test.after) < nll(&test.before.unwrap()));
    assert_eq!(test.after.n, 12);
    assert_eq!(test.blind.unwrap().n, 12);

    // The adapter is the best checkpoint: with it, the base model gives the answers of the run.
    let recipe = tiny::recipe(dir.path(), "run");
    let mut loaded = models::load(&dir.path().join("base"), None).unwrap();
    let hash = loaded.content_hash.clone();
    load_adapter(&run.join("adapter"), &mut loaded.params, BaseCheck::Is(&hash)).unwrap();
    let answers = predict_test_split(&loaded, &recipe);
    let written = normed::metrics::read_predictions(&run.join("predictions.jsonl")).unwrap();
    assert_eq!(answers, written);

    let mut best = events.iter().filter_map(|e| match e {
        Event::Evaluated { subject: Subject::Validation, scores, best: true, epoch, .. } => {
            Some((*epoch, scores.get(&Metric::ExactMatch).copied()))
        }
        _ => None,
    });
    assert_eq!(best.next_back().unwrap(), (outcome.best_epoch, outcome.best_value));
}

/// The test split's predictions, one example at a time.
fn predict_test_split(
    loaded: &models::LoadedModel,
    recipe: &normed::recipe::Recipe,
) -> Vec<normed::metrics::Prediction> {
    let dataset = recipe.data.open().unwrap().dataset;
    let indices = normed::data::indices_of(&*dataset, normed::data::Split::Test).unwrap();
    let collator = Arc::new(loaded.collator());
    let evaluation = normed::train::Evaluation {
        loaded,
        collator: &collator,
        dataset: &dataset,
        indices: &indices,
        batch_size: recipe.train.batch_size,
    };
    evaluation
        .predict(&recipe.generate, &mut |_| ControlFlow::Continue(()))
        .unwrap()
        .finished()
        .unwrap()
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    tiny::make(dir.path(), "method = \"full\"", "epochs = 4");
    for (name, threads) in [("one", 1), ("two", 2)] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| finish(dir.path(), name, false));
    }
    tiny::assert_same(&dir.path().join("one"), &dir.path().join("two"));
}

/// Runs until `n` steps are done, then asks to stop.
fn stop_after(root: &Path, name: &str, n: usize, resume: bool) {
    let stop = Arc::new(AtomicBool::new(false));
    let options = RunOptions { resume, test: true, stop: Arc::clone(&stop) };
    let mut steps = 0;
    let mut stopped = false;
    let outcome = run(&tiny::recipe(root, name), &options, &mut |event| {
        steps += usize::from(matches!(event, Event::StepDone { .. }));
        stopped |= matches!(event, Event::Stopped { .. });
        stop.store(steps == n, Ordering::Relaxed);
    });
    assert_eq!(outcome.unwrap(), Completion::Stopped);
    assert!(stopped && steps == n, "{steps}");
}

#[test]
fn a_resumed_run_writes_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    tiny::make(dir.path(), LAYER_NORM, "epochs = 4\npatience = 2");
    finish(dir.path(), "whole", false);
    // In the middle of an epoch, and after the last step of one, before its evaluation.
    stop_after(dir.path(), "broken", 8, false);
    stop_after(dir.path(), "broken", 4, true);
    let (_, events) = finish(dir.path(), "broken", true);
    assert!(matches!(events[0], Event::Started { resumed_at: Some(12), .. }), "{:?}", events[0]);
    tiny::assert_same(&dir.path().join("whole"), &dir.path().join("broken"));

    // A complete run reports its results again, and does nothing else.
    let (_, events) = finish(dir.path(), "broken", true);
    assert!(matches!(&events[..], [Event::Finished { .. }]));
}

#[test]
fn a_run_directory_is_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    tiny::make(root, LAYER_NORM, "epochs = 4");
    stop_after(root, "run", 3, false);
    let options = RunOptions::default();
    let fails = |recipe: &normed::recipe::Recipe, options: &RunOptions| {
        let error = run(recipe, options, &mut |_| {}).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        error.to_string()
    };
    let before = fs::read(root.join("run/events.jsonl")).unwrap();
    let error = fails(&tiny::recipe(root, "run"), &options);
    assert!(error.contains("--resume"), "{error}");

    let resume = RunOptions { resume: true, ..options.clone() };
    let mut changed = tiny::recipe(root, "run");
    changed.train.lr = 0.5;
    changed.seed = 6;
    let error = fails(&changed, &resume);
    assert!(error.contains("seed was 5, is 6; train.lr was 0.02, is 0.5"), "{error}");

    let row = "{\"id\":\"x\",\"image\":\"0.png\",\"question\":\"is it\",\"answer\":\"no\",\
               \"answer_type\":\"CLOSED\",\"split\":\"train\"}\n";
    let data = fs::read_to_string(root.join("data.jsonl")).unwrap();
    fs::write(root.join("data.jsonl"), data + row).unwrap();
    let error = fails(&tiny::recipe(root, "run"), &resume);
    assert!(error.contains("other data"), "{error}");
    assert_eq!(fs::read(root.join("run/events.jsonl")).unwrap(), before);

    fs::create_dir(root.join("mine")).unwrap();
    fs::write(root.join("mine/thesis.tex"), "").unwrap();
    for options in [&options, &resume] {
        let error = fails(&tiny::recipe(root, "mine"), options);
        assert!(error.contains("is not empty"), "{error}");
    }
}

/// Every image that the run uses is a part of what it was begun with: its pixels decide the weights.
#[test]
fn a_run_is_not_continued_with_other_images() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    tiny::make(root, LAYER_NORM, "epochs = 2");
    finish(root, "whole", false);
    stop_after(root, "run", 3, false);
    let recipe = tiny::recipe(root, "run");
    let options = RunOptions { resume: true, test: true, ..RunOptions::default() };
    let checkpoint = fs::read(root.join("run/checkpoint/checkpoint.safetensors")).unwrap();
    // Images of the training, the validation and the test split.
    for name in ["6.png", "4.png", "5.png"] {
        let path = root.join(name);
        let (before, time) =
            (fs::read(&path).unwrap(), fs::metadata(&path).unwrap().modified().unwrap());
        image::GrayImage::from_pixel(8, 8, image::Luma([9])).save(&path).unwrap();
        // Time stamps that are set back hide nothing.
        fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        let error = run(&recipe, &options, &mut |_| {}).unwrap_err();
        assert!(error.cause().contains("made with other data: the image "), "{error}");
        assert!(error.cause().contains(name) && error.exit_code() == 2, "{error}");
        // Without the record, the checkpoint itself knows the images that it learned from.
        if name != "5.png" {
            let record = root.join("run/checkpoint/images.jsonl");
            let kept = fs::read(&record).unwrap();
            fs::remove_file(&record).unwrap();
            let error = run(&recipe, &options, &mut |_| {}).unwrap_err();
            assert!(error.cause().contains("other data: an image has changed"), "{error}");
            fs::write(&record, kept).unwrap();
        }
        fs::write(&path, before).unwrap();
    }
    assert_eq!(fs::read(root.join("run/checkpoint/checkpoint.safetensors")).unwrap(), checkpoint);
    // The same bytes at another time are the same images.
    finish(root, "run", true);
    tiny::assert_same(&root.join("whole"), &root.join("run"));
}

#[test]
fn methods_run_and_without_trained_parameters_there_is_no_adapter() {
    for method in ["none", "attention", "ffn"] {
        let dir = tempfile::tempdir().unwrap();
        tiny::make(dir.path(), &format!("method = \"{method}\""), "epochs = 1\nmetric = \"last\"");
        let (outcome, _) = finish(dir.path(), "run", false);
        assert_eq!(outcome.steps, if method == "none" { 0 } else { 6 });
        let adapter = dir.path().join("run/adapter");
        assert_eq!(adapter.exists(), method != "none");
        assert_eq!(outcome.test.unwrap().after.n, 12);
    }
}

#[test]
fn a_base_model_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    tiny::make(root, LAYER_NORM, "epochs = 4");
    let words = fs::read_to_string(root.join("recipe.toml")).unwrap().replace(
        "model = \"base\"",
        "init.vocab = \"words.txt\"\ninit.vision_from = \"base\"\n\
         init.vision = { hidden_size = 16, num_hidden_layers = 2, num_attention_heads = 2, \
         intermediate_size = 32, image_size = 24, patch_size = 8 }\n\
         init.text = { hidden_size = 16, num_hidden_layers = 1, num_attention_heads = 2, \
         intermediate_size = 32, max_position_embeddings = 16 }",
    );
    fs::write(root.join("recipe.toml"), words.replace(&format!("[tuning]\n{LAYER_NORM}\n"), ""))
        .unwrap();
    fs::write(root.join("words.txt"), tiny::WORDS).unwrap();
    let (outcome, _) = finish(root, "run", false);
    // Everything is trained except the key biases, which do not affect a softmax.
    assert!(outcome.trained < outcome.total && outcome.trained > outcome.total * 9 / 10);
    assert!(outcome.test.unwrap().before.is_none());
    let made = models::load(&root.join("run/model"), None).unwrap();
    assert_eq!(made.image_processor.largest_size(), ImageSize::square(24));
    let answers = predict_test_split(&made, &tiny::recipe(root, "run"));
    assert_eq!(answers.len(), 12);
}

#[test]
fn a_nan_in_the_base_stops_the_run_and_names_an_example() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    tiny::make(root, LAYER_NORM, "epochs = 4");
    let mut base = models::load(&root.join("base"), None).unwrap();
    let id = base.params.find("text_decoder.cls.predictions.bias").unwrap();
    base.params.get_mut(id).value_mut().data_mut()[0] = f32::NAN;
    models::save(&base, &root.join("base"), false).unwrap();
    let options = RunOptions::default();
    let error = run(&tiny::recipe(root, "run"), &options, &mut |_| {}).unwrap_err();
    assert_eq!(error.exit_code(), 1);
    assert!(error.to_string().starts_with("example "), "{error}");
    assert!(!root.join("run/adapter").exists());
}
