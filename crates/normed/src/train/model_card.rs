//! The model card of an adapter: README.md with its base model, its training and its scores.

use std::fmt::Write as _;
use std::path::Path;

use super::event::Outcome;
use super::score_table::score_table;
use crate::files::{CONFIG_LIMIT, read_text};
use crate::hub::shared_name;
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
        text += &format!("\n## Scores on the test split\n\n{}", score_table(test));
    }
    if let Ok(recipe) = recipe.to_shared_toml() {
        let _ = write!(
            text,
            "\n## Recipe\n\nFolders and files by their names alone:\n\n```toml\n{recipe}```\n"
        );
    }
    text
}

/// The license in the base model's own card, if it has one.
fn read_license(base: &Path) -> Option<String> {
    let text = read_text(&base.join("README.md"), CONFIG_LIMIT).ok()?;
    let front = text.strip_prefix("---")?.split("\n---").next()?;
    let name = front.lines().find_map(|line| line.strip_prefix("license:"))?.trim();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    (!name.is_empty() && name.chars().all(plain)).then(|| name.to_owned())
}
