//! summary.md: what a run found, how it was made, and what its files are for.

use std::fmt::Write as _;

use super::event::Outcome;
use super::score_table::score_table;
use crate::digits::group_digits;
use crate::recipe::{Recipe, Schedule};

/// In the run directory.
pub(super) const SUMMARY: &str = "summary.md";

/// The files of a run directory, and what each is for. Not every run has all of them.
const FILES: [(&str, &str); 12] = [
    ("summary.md", "this page"),
    (
        "recipe.toml",
        "the recipe with every default filled in; `normed train recipe.toml --output NEW_FOLDER` repeats the run",
    ),
    ("metrics.json", "all scores with intervals, and what the run was made with"),
    ("adapter", "the trained weights, in PEFT's format"),
    ("model", "the trained model, in Hugging Face's format"),
    ("predictions.jsonl", "the answers to the test split"),
    ("predictions_blind.jsonl", "the answers with the images shuffled"),
    ("predictions_before.jsonl", "the answers before training"),
    ("events.jsonl", "everything that was logged, with times"),
    ("loss.svg", "the losses over the steps"),
    ("events.out.tfevents.normed", "the losses and scores, for TensorBoard"),
    ("fisher.csv", "the norms, ranked by Fisher information"),
];

/// Describes a finished run in Markdown. `examples` are the numbers of training, validation and test examples. No
/// path outside of the run directory is named, and no image or patient.
pub(super) fn describe_run(recipe: &Recipe, outcome: &Outcome, examples: [usize; 3]) -> String {
    let output = &outcome.output;
    let name = output.file_name().unwrap_or(output.as_os_str()).to_string_lossy();
    let mut text = format!("# Run {name}\n\n{}\n", outcome.finding);
    if let Some(test) = &outcome.test {
        let _ = write!(text, "\n## Scores on the test split\n\n{}", score_table(test));
    }
    text += "\n## What was trained\n\n";
    for item in training(recipe, outcome) {
        let _ = writeln!(text, "- {item}");
    }
    text += "\n## Data\n\n";
    for item in data(recipe, outcome, examples) {
        let _ = writeln!(text, "- {item}");
    }
    text += "\n## Settings\n\n";
    for item in settings(recipe) {
        let _ = writeln!(text, "- {item}");
    }
    text += "\n## Files\n\n| file | what it is for |\n|---|---|\n";
    // metrics.json is written after this file.
    let is_here =
        |name: &str| ["summary.md", "metrics.json"].contains(&name) || output.join(name).exists();
    for (name, meaning) in FILES.iter().filter(|(name, _)| is_here(name)) {
        let _ = writeln!(text, "| `{name}` | {meaning} |");
    }
    if let Some(made) = &outcome.provenance {
        let _ = write!(
            text,
            "\nMade with normed {} on {}, begun {}.\n",
            made.version, made.processor, made.began
        );
    }
    text + "\nFor research. Not a medical device.\n"
}

fn training(recipe: &Recipe, outcome: &Outcome) -> Vec<String> {
    let Outcome { trained, total, steps, .. } = outcome;
    let percent = 100.0 * *trained as f64 / (*total).max(1) as f64;
    let base = recipe.base.name();
    let base = base.map_or("none: a new model".to_owned(), |name| format!("`{name}`"));
    let mut items = vec![
        format!("Base model: {base}"),
        format!("Method: {}", recipe.tuning),
        format!(
            "Trained: {} of {} parameters ({percent:.4} %)",
            group_digits(*trained),
            group_digits(*total)
        ),
    ];
    if let Some(because) = &outcome.kept_because {
        items.push(format!("Kept: the weights after epoch {}, {because}", outcome.best_epoch));
    }
    let early = if outcome.stopped_early { ", stopped early" } else { "" };
    let memory = outcome.peak_memory_bytes.map(|bytes| bytes.div_ceil(1 << 20));
    let memory = memory.map_or(String::new(), |mebibytes| format!(", {mebibytes} MiB at most"));
    items.push(format!(
        "Cost: {} steps{early}, {:.0} s{memory}",
        group_digits(*steps),
        outcome.seconds
    ));
    items
}

fn data(recipe: &Recipe, outcome: &Outcome, [train, validate, test]: [usize; 3]) -> Vec<String> {
    let set = serde_json::to_value(&recipe.data).ok();
    let set = set.as_ref().and_then(|set| set["name"].as_str()).unwrap_or("unknown");
    let task = if recipe.data.task.is_vqa() { "questions" } else { "reports" };
    let [train, validate, test] = [train, validate, test].map(group_digits);
    let mut items = vec![
        format!("Data set: `{set}`, {task}"),
        format!("Examples: {train} to train, {validate} to validate, {test} to test"),
    ];
    let files = outcome.provenance.iter().flat_map(|made| &made.data_files);
    items.extend(files.map(|(name, hash)| format!("`{name}`: SHA-256 `{hash}`")));
    let overlap = outcome.test.as_ref().and_then(|test| test.overlap.as_ref()?.headline());
    items
        .extend(overlap.map(|headline| format!("Caution: {headline} (`metrics.json` lists them)")));
    items
}

fn settings(recipe: &Recipe) -> Vec<String> {
    let train = &recipe.train;
    let schedule = match train.schedule {
        Schedule::Cosine => "cosine",
        Schedule::Linear => "linear",
        Schedule::Constant => "constant",
    };
    let mut items = vec![
        format!("Learning rate: {:e}, {schedule} schedule", train.lr),
        format!("Epochs: {}, {} examples per step", train.epochs, train.examples_per_step()),
        format!("Seed: {}", recipe.seed),
        format!("Number format: {}", recipe.precision.name()),
    ];
    items.extend(recipe.image_size.map(|size| format!("Image size: {size} pixels")));
    items.push("All others: `recipe.toml`".to_owned());
    items
}
