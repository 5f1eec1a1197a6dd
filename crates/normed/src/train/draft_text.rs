//! The text of a drafted recipe: each setting with a comment.

use super::plan::BatchSetting;
use crate::data::Task;

/// The settings of a draft, and what their comments say of the data.
pub(super) struct Chosen {
    pub model: String,
    pub file: String,
    pub image_root: Option<String>,
    /// The recipe's name.
    pub name: String,
    pub task: Task,
    /// Rows to train on, to validate on, to test on.
    pub rows: [usize; 3],
    pub holdout: Option<f32>,
    /// Whether no rows choose the best epoch.
    pub metric_is_last: bool,
    pub epochs: usize,
    pub setting: BatchSetting,
    pub steps: usize,
    pub default_lr: f32,
    pub max_new_tokens: usize,
    pub longest_answer: usize,
}

/// The column in which comments start, where a setting leaves room.
const COLUMN: usize = 36;

/// Writes the recipe. Settings that are commented out have their default, or a value that is an example.
pub(super) fn write_draft(chosen: &Chosen) -> String {
    let mut draft = Lines::default();
    draft.plain(&format!(
        "# A first recipe for {}, by normed init. Change what you like.\n\
         #   normed plan FILE.toml       estimates memory and time\n\
         #   normed train FILE.toml      trains; results go to the folder `output`",
        chosen.file
    ));
    draft.table("");
    draft.set(
        "model",
        &quoted(&chosen.model),
        "base model: a folder, or the ORG/NAME of a fetched model",
    );
    draft.set(
        "output",
        &quoted(&format!("runs/{}", chosen.name)),
        "results, relative to the current folder",
    );
    write_data(&mut draft, chosen);
    draft.table("tuning");
    draft.set(
        "method",
        "\"layer_norm\"",
        "or \"attention\", \"lora\", \"bitfit\", \"full\" and others (docs/methods.md)",
    );
    write_train(&mut draft, chosen);
    draft.table("generate");
    draft.set(
        "max_new_tokens",
        &chosen.max_new_tokens.to_string(),
        &format!("longest answer in tokens; the longest in the data has {}", chosen.longest_answer),
    );
    draft.text
}

fn write_data(draft: &mut Lines, chosen: &Chosen) {
    let [train, validate, test] = chosen.rows;
    draft.table("data");
    draft.set("name", "\"jsonl\"", "rows as JSON");
    draft.set(
        "file",
        &quoted(&chosen.file),
        &format!("{train} rows to train on, {validate} to choose the best epoch, {test} to test"),
    );
    match &chosen.image_root {
        Some(root) => draft.set("image_root", &quoted(root), "folder that image paths start from"),
        None => draft.example(
            "image_root",
            "\"images\"",
            "folder that image paths start from, if not the file's",
        ),
    }
    draft.example(
        "on_bad_example",
        "\"skip\"",
        "leave out rows that cannot be used, instead of stopping",
    );
    if let Task::Report { prompt } = &chosen.task {
        draft.set(
            "task",
            "\"report\"",
            "write a report per row, since rows have reports and no questions",
        );
        draft.set("prompt", &quoted(prompt), "what the model is asked for each report");
    }
}

fn write_train(draft: &mut Lines, chosen: &Chosen) {
    let BatchSetting { batch_size, grad_accum_steps, recompute } = chosen.setting;
    draft.table("train");
    draft.set(
        "epochs",
        &chosen.epochs.to_string(),
        &format!("passes over the training rows: {} steps", chosen.steps),
    );
    draft.set("batch_size", &batch_size.to_string(), "rows per forward pass");
    if grad_accum_steps > 1 {
        draft.set(
            "grad_accum_steps",
            &grad_accum_steps.to_string(),
            "forward passes per step, to need less memory",
        );
    }
    if recompute.name() != "none" {
        draft.set(
            "recompute",
            &quoted(recompute.name()),
            "computes again instead of keeping, to need less memory",
        );
    }
    let lr = format!("{}", chosen.default_lr);
    draft.example("lr", &lr, "learning rate; this is the method's default. --find-lr suggests one");
    if let Some(holdout) = chosen.holdout {
        draft.set(
            "holdout",
            &holdout.to_string(),
            "fraction of the training images or groups that chooses the best epoch: no row is `validate`",
        );
    }
    match chosen.metric_is_last {
        true => {
            draft.set("metric", "\"last\"", "keep the last epoch: too few images to hold some out")
        }
        false => {
            draft.example("patience", "5", "stop after as many epochs without a better score");
        }
    }
}

/// A text as TOML writes it.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[derive(Default)]
struct Lines {
    text: String,
}

impl Lines {
    fn plain(&mut self, line: &str) {
        self.text += line;
        self.text.push('\n');
    }

    /// Starts a table; the keys above all tables have none.
    fn table(&mut self, name: &str) {
        self.text.push('\n');
        if !name.is_empty() {
            self.plain(&format!("[{name}]"));
        }
    }

    fn set(&mut self, key: &str, value: &str, comment: &str) {
        self.plain(&format!("{:<COLUMN$}# {comment}", format!("{key} = {value} ")));
    }

    /// A setting that is commented out.
    fn example(&mut self, key: &str, value: &str, comment: &str) {
        self.plain(&format!("{:<COLUMN$}# {comment}", format!("# {key} = {value} ")));
    }
}
