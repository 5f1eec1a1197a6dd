//! The adapter's README.md: what it is, what it was trained on, how well it does.

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::Path;

use super::event::Outcome;
use crate::metrics::Scores;
use crate::recipe::Recipe;

/// A model card as the Hugging Face hub and PEFT lay it out. `base` is the base model's path and
/// content hash.
pub(super) fn model_card(recipe: &Recipe, outcome: &Outcome, (base, hash): (&str, &str)) -> String {
    let percent = 100.0 * outcome.trained as f64 / outcome.total.max(1) as f64;
    let Outcome { trained, total, steps, best_epoch, .. } = outcome;
    let licence = licence(Path::new(base));
    let line = licence.as_ref().map(|name| format!("license: {name}\n")).unwrap_or_default();
    let known = licence.map(|name| format!(", which is `{name}`")).unwrap_or_default();
    let reports = !recipe.data.task.is_vqa();
    let tag = if reports { "image-to-text" } else { "visual-question-answering" };
    let data = serde_json::to_value(&recipe.data).ok();
    let data = data.as_ref().and_then(|data| data["name"].as_str()).unwrap_or("unknown");
    let mut text = format!(
        "---\nbase_model: {base:?}\n{line}library_name: peft\ntags:\n- medical\n\
         - {tag}\n---\n\n\
         # An adapter trained by normed\n\n\
         For research. Not a medical device: nothing here was tested for use on patients.\n\n\
         - Base model: `{base}`, weights with SHA-256 `{hash}`\n\
         - Data: `{data}`\n\
         - Trained by: {}\n\
         - Trained: {trained} of {total} parameters ({percent:.4} %)\n\
         - Kept: the parameters after epoch {best_epoch}, of {steps} optimizer steps in all\n\
         - Licence: the base model's{known}; the terms of the data hold beside it\n",
        recipe.tuning
    );
    if let Some(test) = &outcome.test {
        text += "\n## On the test split\n\n\
                 | metric | before | after | 95 % interval | image-blind | best constant |\n\
                 |---|---|---|---|---|---|\n";
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
                show(row.constant),
            );
        }
        text += match reports {
            false => {
                "\nImage-blind: the images shuffled among the questions. Best constant: the one answer \
                 that earns most on the training answers.\n"
            }
            true => {
                "\nImage-blind: the images shuffled among the studies. Best constant: of the most frequent \
                 training reports the one that scores most on training reports.\n"
            }
        };
    }
    if let Ok(recipe) = recipe.to_toml() {
        let _ = write!(text, "\n## The recipe\n\n```toml\n{recipe}```\n");
    }
    text
}

/// What the base's own card says of its licence.
fn licence(base: &Path) -> Option<String> {
    let mut text = String::new();
    let card = std::fs::File::open(base.join("README.md")).ok()?;
    card.take(FRONT).read_to_string(&mut text).ok()?;
    let front = text.strip_prefix("---")?.split("\n---").next()?;
    let name = front.lines().find_map(|line| line.strip_prefix("license:"))?.trim();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    (!name.is_empty() && name.chars().all(plain)).then(|| name.to_owned())
}

/// Bytes of a card in which its licence is looked for.
const FRONT: u64 = 1 << 16;

fn show(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"))
}
