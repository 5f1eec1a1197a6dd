//! `normed init`: recipes that run.

mod program;
#[allow(dead_code)] // what only the library's own tests use
#[path = "../../normed/tests/tiny/mod.rs"]
mod tiny;

use std::fs;

use normed::recipe::{BestBy, Recipe};
use serde_json::{Value, json};

use program::{normed, succeeds};

/// The tiny data, with reports and with rows of two images.
fn workspace() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    tiny::make_reports(dir.path(), "method = \"layer_norm\"", "");
    let mut rows = String::new();
    for i in 0..24 {
        let split = if i < 18 { "train" } else { "test" };
        let row = json!({ "id": i, "images": [format!("{i}.png"), format!("{}.png", i + 1)],
            "question": "Is it bright?", "answer": if i > 12 { "yes" } else { "no" }, "split": split });
        rows += &format!("{row}\n");
    }
    fs::write(dir.path().join("pairs.jsonl"), rows).unwrap();
    dir
}

#[test]
fn a_drafted_recipe_plans_and_trains() {
    let dir = workspace();
    let here = dir.path();
    fs::create_dir(here.join("recipes")).unwrap();
    for (data, settings) in [
        ("data.jsonl", ["batch_size = 4", "epochs = 25", "max_new_tokens = 10"]),
        ("reports.jsonl", ["batch_size = 2", "epochs = 25", "task = \"report\""]),
        ("pairs.jsonl", ["batch_size = 2", "epochs = 30", "holdout = 0.1"]),
    ] {
        let (stdout, stderr) = succeeds(
            here,
            &["init", data, "--model", "base", "--out", "recipes/first.toml", "--force"],
        );
        assert!(stdout.contains("next: normed train recipes/first.toml"), "{stdout}");
        assert!(stdout.contains("training and validation take about "), "{stdout}");
        assert_eq!(stderr.contains("have no `answer_type`"), data == "pairs.jsonl", "{stderr}");
        let text = fs::read_to_string(here.join("recipes/first.toml")).unwrap();
        for setting in settings {
            assert!(text.lines().any(|line| line.starts_with(setting)), "{setting}: {text}");
        }
        assert!(text.contains(&format!("file = \"../{data}\"")), "{text}");
        assert!(text.contains("model = \"../base\""), "{text}");
        // Every setting has a comment, and those that are commented out are keys, too.
        let is_setting = |line: &&str| line.contains(" = ");
        assert!(text.lines().filter(is_setting).all(|line| line.contains(" # ")), "{text}");
        let example = |line: &str| match line.strip_prefix("# ") {
            Some(rest) if rest.contains(" = ") => rest.to_owned(),
            _ => line.to_owned(),
        };
        let all: Vec<_> = text.lines().map(example).collect();
        assert!(all.len() > 15 && all.join("\n") != text.trim_end());
        fs::write(here.join("recipes/all.toml"), all.join("\n")).unwrap();
        Recipe::open(&here.join("recipes/all.toml"), &[]).unwrap();

        let (stdout, _) = succeeds(here, &["plan", "recipes/first.toml", "--json"]);
        // Warnings come first, each on its line.
        let plan: Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
        assert!(plan["steps"].as_u64().unwrap() >= 225, "{plan}");
        let output = format!("run_{data}");
        let set = ["--set", "train.epochs=1", "--output", &output, "--quiet"];
        succeeds(here, &[&["train", "recipes/first.toml"], &set[..]].concat());
        assert!(here.join(&output).join("metrics.json").exists());
    }
}

#[test]
fn data_without_validation_or_tests_are_said() {
    let dir = workspace();
    let here = dir.path();
    let text = fs::read_to_string(here.join("pairs.jsonl")).unwrap();
    let first: Vec<_> = text.lines().take(1).collect();
    fs::write(here.join("one.jsonl"), first.join("\n")).unwrap();
    let (_, stderr) =
        succeeds(here, &["init", "one.jsonl", "--model", "base", "--out", "one.toml"]);
    assert!(stderr.contains("no row is in the split `test`"), "{stderr}");
    let recipe = Recipe::open(&here.join("one.toml"), &[]).unwrap();
    assert_eq!((recipe.train.metric, recipe.train.batch_size), (BestBy::Last, 1));

    fs::write(here.join("two.jsonl"), text.replace("train", "test")).unwrap();
    let output = normed(here, &["init", "two.jsonl", "--model", "base", "--out", "two.toml"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr.contains("two.jsonl: no row is in the split `train`"), "{stderr}");
    assert!(stderr.contains("normed split --data two.jsonl --by group"), "{stderr}");

    fs::write(here.join("recipe.toml"), "mine").unwrap();
    let output = normed(here, &["init", "one.jsonl", "--model", "base"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("recipe.toml: exists already"), "{stderr}");
}
