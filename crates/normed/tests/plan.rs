//! Plans of a tiny model, and runs with a memory limit.

mod tiny;

use std::fs;
use std::path::Path;

use normed::recipe::{ByteSize, Recipe};
use normed::tensor::Recompute;
use normed::train::{Event, RunOptions, plan, run};

const LAYER_NORM: &str = "method = \"layer_norm\"";

fn settings(root: &Path, settings: &[&str]) -> Recipe {
    let settings: Vec<_> = settings.iter().map(|s| (*s).to_owned()).collect();
    Recipe::open(&root.join("recipe.toml"), &settings).unwrap()
}

#[test]
fn a_plan_lists_every_batch_setting_and_needs_no_weights() {
    let dir = tempfile::tempdir().unwrap();
    tiny::make(dir.path(), LAYER_NORM, "epochs = 3");
    fs::remove_file(dir.path().join("base/model.safetensors")).unwrap();
    let plan = plan(&tiny::recipe(dir.path(), "run")).unwrap();
    // Eight examples per step, at most four per pass; 48 examples per epoch.
    assert_eq!((plan.examples_per_step, plan.steps), (8, Some(18)));
    let sizes: Vec<_> = plan.estimates.iter().map(|estimate| estimate.setting.batch_size).collect();
    assert_eq!(sizes, [4, 4, 4, 4, 2, 2, 2, 2, 1, 1, 1, 1]);
    assert!(plan.estimates.iter().all(|w| w.setting.batch_size * w.setting.grad_accum_steps == 8));
    let own = plan.estimates[plan.chosen.unwrap()].setting;
    assert_eq!((own.batch_size, own.recompute), (4, Recompute::None));
    for estimates in plan.estimates.chunks(4) {
        let kept: Vec<_> = estimates.iter().map(|estimate| estimate.needs.activations).collect();
        assert!(kept.is_sorted_by(|a, b| a > b), "{kept:?}");
    }
    assert!(plan.trained > 0 && plan.trained < plan.total);
}

/// In every precision. An operation that reads the elements of a planned value would panic.
#[test]
fn every_method_can_be_planned() {
    let methods = [
        "method = \"attention\"",
        "method = \"ffn\"",
        "method = \"full\"",
        "method = \"bitfit\"",
        "method = \"lora\"",
        "method = \"lora\"\nuse_dora = true",
        "method = \"ia3\"",
        "method = \"prefix\"",
        "method = \"p_tuning_v2\"",
        "method = \"prompt\"",
        "method = \"adapter\"",
        "method = \"adapter\"\nparallel = true",
        "method = [\"layer_norm\", \"lora\"]",
    ];
    for method in methods {
        for precision in ["f32", "bf16", "int8"] {
            let dir = tempfile::tempdir().unwrap();
            tiny::make(dir.path(), method, "epochs = 1");
            let plan = plan(&settings(dir.path(), &[&format!("precision={precision}")])).unwrap();
            assert!(plan.chosen.is_some() && plan.trained > 0, "{method}");
        }
    }
}

#[test]
fn without_data_texts_have_the_greatest_length() {
    let dir = tempfile::tempdir().unwrap();
    tiny::make(dir.path(), LAYER_NORM, "epochs = 1");
    let recipe = tiny::recipe(dir.path(), "run");
    let known = plan(&recipe).unwrap();
    fs::remove_file(dir.path().join("data.jsonl")).unwrap();
    let unknown = plan(&recipe).unwrap();
    assert_eq!(unknown.steps, None);
    assert!(unknown.data_error.unwrap().contains("data.jsonl"));
    assert!(unknown.estimates[0].needs.peak > known.estimates[0].needs.peak);
}

#[test]
fn the_fastest_setting_that_fits_is_chosen() {
    let dir = tempfile::tempdir().unwrap();
    tiny::make(dir.path(), LAYER_NORM, "epochs = 1");
    let peaks: Vec<_> = plan(&tiny::recipe(dir.path(), "run")).unwrap().estimates;
    let least = peaks.iter().map(|estimate| estimate.needs.peak).min().unwrap();
    for estimate in &peaks {
        let mut recipe = tiny::recipe(dir.path(), "run");
        recipe.memory = Some(ByteSize(estimate.needs.peak as u64));
        let plan = plan(&recipe).unwrap();
        let chosen = plan.chosen_estimate(&recipe).unwrap();
        assert!(chosen.needs.peak <= estimate.needs.peak);
        for other in plan.estimates.iter().filter(|other| other.needs.peak <= estimate.needs.peak) {
            assert!(chosen.run_seconds <= other.run_seconds);
        }
    }
    let mut recipe = tiny::recipe(dir.path(), "run");
    recipe.memory = Some(ByteSize(least as u64 - 1));
    let error = run(&recipe, &RunOptions::default(), &mut |_| {}).unwrap_err();
    let text = error.to_string();
    assert_eq!(error.exit_code(), 2);
    assert!(
        text.contains("the smallest possible peak is") && text.contains("use one of these"),
        "{text}"
    );
    assert!(!dir.path().join("run").exists());
}

/// The losses of a run with these settings.
fn losses(root: &Path, name: &str, of: &[&str], resume: bool) -> Vec<f64> {
    let mut recipe = settings(root, of);
    recipe.output = root.join(name);
    let options = RunOptions { resume, ..RunOptions::default() };
    let mut losses = Vec::new();
    run(&recipe, &options, &mut |event| {
        if let Event::StepDone { loss, .. } = event {
            losses.push(*loss);
        }
    })
    .unwrap();
    losses
}

#[test]
fn batch_settings_affect_the_result_only_by_rounding() {
    let dir = tempfile::tempdir().unwrap();
    tiny::make(dir.path(), LAYER_NORM, "epochs = 2\nmetric = \"last\"");
    let f32 = "precision=f32";
    let whole = losses(dir.path(), "whole", &[f32], false);
    assert_eq!(whole.len(), 12);
    for (i, (batch, passes)) in [(4, 2), (2, 4), (1, 8)].into_iter().enumerate() {
        for level in Recompute::ALL {
            let of = [
                format!("train.batch_size={batch}"),
                format!("train.grad_accum_steps={passes}"),
                format!("train.recompute={}", level.name()),
            ];
            let of: Vec<_> = of.iter().map(String::as_str).chain([f32]).collect();
            let other = losses(dir.path(), &format!("{i}-{}", level.name()), &of, false);
            for (a, b) in whole.iter().zip(&other) {
                assert!((a - b).abs() < 1e-3 * a, "{batch} {level:?}: {a} {b}");
            }
        }
    }
}

#[test]
fn a_resumed_run_keeps_its_setting() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    tiny::make(root, LAYER_NORM, "epochs = 1\nmetric = \"last\"");
    let first = losses(root, "run", &["memory=8GiB"], false);
    let written = Recipe::open(&root.join("run/recipe.toml"), &[]).unwrap();
    assert_eq!((written.memory, written.planned_for), (None, Some(ByteSize(8 << 30))));
    assert_eq!(written.train.batch_size * written.train.grad_accum_steps, 8);

    // Another setting might have been the fastest at the start: a resumed run keeps it.
    for (name, batch, passes) in [("other", 1, 8), ("more", 2, 4)] {
        let mut began = written.clone();
        (began.train.batch_size, began.train.grad_accum_steps) = (batch, passes);
        began.train.recompute = Recompute::Blocks;
        began.output = root.join(name);
        fs::create_dir(root.join(name)).unwrap();
        let path = root.join(name).join("recipe.toml");
        fs::write(&path, began.to_toml().unwrap()).unwrap();
        let steps = losses(root, name, &["memory=8GiB"], true);
        assert_eq!(steps.len(), first.len());
        let after = Recipe::open(&path, &[]).unwrap();
        assert_eq!(after.train, began.train);
    }

    // The run's own recipe.toml gives the same bytes.
    let mut again = written;
    again.output = root.join("again");
    run(&again, &RunOptions::default(), &mut |_| {}).unwrap();
    tiny::assert_same(&root.join("run"), &root.join("again"));
}
