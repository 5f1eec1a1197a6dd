//! The model card of an adapter: README.md with its base model, its training and its scores.

use std::fmt::Write as _;
use std::path::Path;

use super::event::{Outcome, TestScores};
use crate::files::{CONFIG_LIMIT, read_text};
use crate::hub::shared_name;
use crate::metrics::Scores;
use crate::recipe::Recipe;

/// Writes a model card in the layout of the Hugging Face hub and of PEFT. It is meant for others, so it holds no
/// path of this machine. `base` and `hash` are the base model's folder and content hash.
pub(super) fn model_card(
    recipe: &Recipe,
    outcome: &Outcome,
    (base, hash): (&Path, &str),
) -> String {
    let percent = 100.0 * outcome.trained as f64 / outcome.total.max(1) as f64;
    let Outcome { trained, total, steps, best_epoch, .. } = outcome;
    let license = read_license(base);
    let base = shared_name(base);
    let license_line =
        license.as_ref().map(|name| format!("license: {name}\n")).unwrap_or_default();
    let license_name = license.map(|name| format!(" (`{name}`)")).unwrap_or_default();
    let reports = !recipe.data.task.is_vqa();
    let tag = if reports { "image-to-text" } else { "visual-question-answering" };
    let data = serde_json::to_value(&recipe.data).ok();
    let data = data.as_ref().and_then(|data| data["name"].as_str()).unwrap_or("unknown");
    let mut text = format!(
        "---\nbase_model: {base:?}\n{license_line}library_name: peft\ntags:\n- medical\n\
         - {tag}\n---\n\n\
         # An adapter trained by normed\n\n\
         For research only. This is not a medical device; it was not tested for use on patients.\n\n\
         - Base model: `{base}`, weights with SHA-256 `{hash}`\n\
         - Data: `{data}`\n\
         - Method: {}\n\
         - Trained parameters: {trained} of {total} ({percent:.4} %)\n\
         - Checkpoint: after epoch {best_epoch} ({steps} optimizer steps in total)\n\
         - License: that of the base model{license_name}; the terms of the data apply as well\n",
        recipe.tuning
    );
    if let Some(test) = &outcome.test {
        text += &scores_table(test, reports);
    }
    if let Ok(recipe) = recipe.to_shared_toml() {
        let _ = write!(
            text,
            "\n## Recipe\n\nFolders and files by their names alone:\n\n```toml\n{recipe}```\n"
        );
    }
    text
}

/// The scores on the test split, as Markdown.
fn scores_table(test: &TestScores, reports: bool) -> String {
    let mut text = "\n## Scores on the test split\n\n\
         | metric | before | after | 95 % interval | image-shuffled | majority answer |\n\
         |---|---|---|---|---|---|\n"
        .to_owned();
    let column = |scores: &Option<Scores>, i: usize| {
        scores.as_ref().and_then(|scores| scores.rows()[i].value)
    };
    for (i, row) in test.after.rows().iter().enumerate().filter(|(_, row)| row.n > 0) {
        let interval = match (row.lo, row.hi) {
            (Some(lo), Some(hi)) => format!("{lo:.3} to {hi:.3}"),
            _ => "-".to_owned(),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| {} (n = {}) | {} | {} | {interval} | {} | {} |",
            row.name,
            row.n,
            show(column(&test.before, i)),
            show(row.value),
            show(column(&test.blind, i)),
            show(row.majority),
        );
    }
    text + match reports {
        false => {
            "\nBefore: the base model. Image-shuffled: the adapter, with the images shuffled between \
             questions. Majority answer: one answer to every question, the one that scores best on the \
             training split.\n"
        }
        true => {
            "\nBefore: the base model. Image-shuffled: the adapter, with the images shuffled between \
             studies. Majority answer: one report for every study; of the most frequent training \
             reports, the one that scores best on the training split.\n"
        }
    }
}

/// The license in the base model's own card, if it has one.
fn read_license(base: &Path) -> Option<String> {
    let text = read_text(&base.join("README.md"), CONFIG_LIMIT).ok()?;
    let front = text.strip_prefix("---")?.split("\n---").next()?;
    let name = front.lines().find_map(|line| line.strip_prefix("license:"))?.trim();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    (!name.is_empty() && name.chars().all(plain)).then(|| name.to_owned())
}

fn show(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"))
}
