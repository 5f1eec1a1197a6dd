//! Runs with parameter groups, the learning-rate finder, and norms selected by their Fisher information.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use normed::recipe::Recipe;
use normed::tensor::{Module, Tower};
use normed::train::{Completion, Event, RunOptions, Withheld, find_lr, run};
use normed::weights::read_safetensors;
use serde_json::Value;

#[allow(dead_code, reason = "not every test that includes this module needs it")]
mod tiny;

fn recipe(root: &Path, settings: &[&str], name: &str) -> Recipe {
    let settings: Vec<_> = settings.iter().map(|&s| s.to_owned()).collect();
    let mut recipe = Recipe::open(&root.join("recipe.toml"), &settings).unwrap();
    recipe.output = root.join(name);
    recipe
}

fn options(resume: bool) -> RunOptions {
    RunOptions { resume, ..RunOptions::default() }
}

#[test]
fn parameter_groups_have_their_own_learning_rate() {
    let dir = tempfile::tempdir().unwrap();
    tiny::make(dir.path(), "method = \"full\"", "epochs = 1\nweight_decay = 0.0");
    let moved = |settings: &[&str], name: &str| -> BTreeMap<String, f64> {
        let recipe = recipe(dir.path(), settings, name);
        run(&recipe, &options(false), &mut |_| {}).unwrap();
        let base = recipe.open_base().unwrap();
        let file = dir.path().join(name).join("adapter/adapter_model.safetensors");
        let tuned = read_safetensors(&file).unwrap();
        let mut sums = BTreeMap::new();
        for (_, p) in base.params.iter() {
            let (module, leaf) = p.name().rsplit_once('.').unwrap();
            let key = format!("base_model.model.{module}.ln_tuning_layers.{leaf}");
            let Some(stored) = tuned.tensors.get(&key) else { continue };
            let (new, old) = (stored.to_tensor().unwrap(), p.value());
            let sum: f32 = new.data().iter().zip(old.data()).map(|(a, b)| (a - b).abs()).sum();
            let kind = if matches!(p.role().module, Module::Norm(_)) { "norms" } else { "rest" };
            let side = if p.role().tower == Tower::Vision { "vision" } else { "text" };
            let entry = sums.entry(format!("{side} {kind}")).or_insert((0.0, 0));
            *entry = (entry.0 + f64::from(sum), entry.1 + p.len());
        }
        sums.into_iter().map(|(k, (sum, n))| (k, sum / n as f64)).collect()
    };
    // An Adam step changes each element by about its learning rate.
    let slow = moved(&["train.lr=1e-3", "train.vision_lr=1e-5", "train.norm_lr=1e-2"], "grouped");
    for (kind, rate) in
        [("vision norms", 1e-2), ("text norms", 1e-2), ("vision rest", 1e-5), ("text rest", 1e-3)]
    {
        assert!((rate..20.0 * rate).contains(&slow[kind]), "{kind}: {}", slow[kind]);
    }
    let recipe = recipe(dir.path(), &["train.vision_lr=0.1", "tuning.towers=[\"text\"]"], "none");
    let error = run(&recipe, &options(false), &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("train.vision_lr"), "{error}");
}

#[test]
fn find_lr_suggests_a_rate_and_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    tiny::make(dir.path(), "method = \"layer_norm\"", "");
    let recipe = recipe(dir.path(), &["tuning.method=\"full\""], "run");
    let sweep = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let stop = AtomicBool::new(false);
        pool.install(|| find_lr(&recipe, &stop, &mut |_| {})).unwrap().finished().unwrap()
    };
    let found = sweep(1);
    assert_eq!(found, sweep(2), "it depends on the number of threads");
    let lr = found.suggestion.unwrap();
    assert!((1e-4..=0.3).contains(&lr), "{lr}");
    // The smallest rate changes nothing yet, since the probe is the same as the base model's.
    assert!(found.steps[0].change.abs() < 1e-2, "{found:?}");
    assert!(found.too_high.is_none_or(|high| lr < high) && found.default_lr == 3e-4);
    assert!(!recipe.output.exists());

    // Added parameters are initialized as well.
    let adapters = self::recipe(dir.path(), &["tuning.method=\"adapter\""], "adapters");
    let found =
        find_lr(&adapters, &AtomicBool::new(false), &mut |_| {}).unwrap().finished().unwrap();
    assert!(found.steps[0].change.abs() < 1e-2 && found.suggestion.is_ok(), "{found:?}");

    // The LayerNorms of this small random model hardly learn in 41 steps.
    let norms = self::recipe(dir.path(), &[], "norms");
    let found = find_lr(&norms, &AtomicBool::new(false), &mut |_| {}).unwrap().finished().unwrap();
    assert_eq!(found.suggestion, Err(Withheld::Noise), "{found:?}");

    let stop = AtomicBool::new(true);
    assert_eq!(find_lr(&recipe, &stop, &mut |_| {}).unwrap(), Completion::Stopped);
    let frozen = self::recipe(dir.path(), &["tuning.method=\"none\""], "run");
    assert!(find_lr(&frozen, &AtomicBool::new(false), &mut |_| {}).is_err());
}

const SUBSET: &str = "method = \"layer_norm\"\nkeep = \"30 %\"";

fn ranking(dir: &Path) -> Value {
    serde_json::from_slice(&fs::read(dir.join("fisher.json")).unwrap()).unwrap()
}

#[test]
fn the_norms_with_the_largest_information_are_trained() {
    let dir = tempfile::tempdir().unwrap();
    tiny::make(dir.path(), SUBSET, "epochs = 1\nfisher_examples = 12");
    let mut told = Vec::new();
    let one = recipe(dir.path(), &[], "one");
    run(&one, &options(false), &mut |event| {
        if let Event::NormsSelected { .. } | Event::ParametersSelected { .. } = event {
            told.push(event.clone());
        }
    })
    .unwrap();
    let Event::NormsSelected { norms, kept, examples: 12 } = told[0] else { panic!("{told:?}") };
    assert_eq!(kept, (0.3 * norms as f64).round() as usize);
    let first = ranking(&one.output);
    let rows = first["ranking"].as_array().unwrap();
    assert_eq!(rows.len(), norms);
    let fisher: Vec<_> = rows.iter().map(|row| row["fisher"].as_f64().unwrap()).collect();
    assert!(fisher.windows(2).all(|pair| pair[0] >= pair[1]) && fisher[0] > 0.0, "{fisher:?}");
    assert!(rows.iter().enumerate().all(|(i, row)| row["kept"] == (i < kept)));
    let csv = fs::read_to_string(one.output.join("fisher.csv")).unwrap();
    assert_eq!(csv.lines().count(), norms + 1);

    // The adapter holds the selected norms and no others.
    let file = one.output.join("adapter/adapter_model.safetensors");
    let tuned = read_safetensors(&file).unwrap();
    for row in rows {
        let name = row["name"].as_str().unwrap();
        let key = format!("base_model.model.{name}.ln_tuning_layers.weight");
        assert_eq!(tuned.tensors.contains_key(&key), row["kept"] == true, "{name}");
    }

    // Batch size, label smoothing and dropout do not affect the ranking.
    let settings = ["train.batch_size=2", "train.grad_accum_steps=4", "train.dropout=0.3"];
    let two = recipe(dir.path(), &settings, "two");
    run(&two, &options(false), &mut |_| {}).unwrap();
    assert_eq!(ranking(&two.output)["ranking"], first["ranking"]);
}

#[test]
fn a_resumed_run_keeps_its_selection() {
    let dir = tempfile::tempdir().unwrap();
    tiny::make(dir.path(), SUBSET, "epochs = 2\nfisher_examples = 8\ncheckpoint_every_steps = 2");
    let whole = recipe(dir.path(), &[], "whole");
    run(&whole, &options(false), &mut |_| {}).unwrap();

    let broken = recipe(dir.path(), &[], "broken");
    let stopping = options(false);
    let stop = std::sync::Arc::clone(&stopping.stop);
    run(&broken, &stopping, &mut |event| {
        if let Event::StepDone { step: 3, .. } = event {
            stop.store(true, Ordering::Relaxed);
        }
    })
    .unwrap();
    let path = broken.output.join("fisher.json");
    let before = fs::read(&path).unwrap();
    let mut compared = 0;
    run(&broken, &options(true), &mut |event| {
        compared += usize::from(matches!(
            event,
            Event::Progress { subject: normed::train::Subject::Norms, .. }
        ));
    })
    .unwrap();
    assert_eq!(compared, 0, "it estimated again");
    assert_eq!(fs::read(&path).unwrap(), before);
    tiny::assert_same(&whole.output, &broken.output);

    // A run that was stopped before the selection starts again.
    let early = recipe(dir.path(), &[], "early");
    let stopped = options(false);
    stopped.stop.store(true, Ordering::Relaxed);
    assert!(run(&early, &stopped, &mut |_| {}).unwrap() == Completion::Stopped);
    assert!(!early.output.join("fisher.json").exists());
    run(&early, &options(true), &mut |_| {}).unwrap();
    tiny::assert_same(&whole.output, &early.output);
}

#[test]
fn keep_is_an_option_of_norm_methods() {
    let dir = tempfile::tempdir().unwrap();
    tiny::make(dir.path(), SUBSET, "");
    let open = |setting: &str| {
        let settings = [setting.to_owned()];
        Recipe::open(&dir.path().join("recipe.toml"), &settings).map_err(|e| e.to_string())
    };
    assert!(open("tuning.method=\"ffn\"").unwrap_err().contains("keep: no such key"));
    assert!(open("tuning.keep=1.5").unwrap_err().contains("must be a fraction"));
    let recipe = open("tuning.keep=0.3").unwrap();
    assert_eq!(recipe, open("seed=5").unwrap(), "a fraction is a percentage");
}
