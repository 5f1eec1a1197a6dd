//! The reference of recipe keys, written from the tables that recipes are read by.

use std::fmt::Write;

use super::field::{KeyDescription, describe_fields};
use super::parser::one_of_names;
use super::read::root_fields;
use super::read_data::{DATA_SETS, common_keys, image_fields};
use super::read_init::{
    ARCHITECTURES, from_fields, language_fields, llava_fields, miss_fields, text_fields,
    vision_fields,
};
use super::read_train::{cache_fields, generate_fields, train_fields};
use super::read_tuning::{method_keys, rule_keys};
use crate::tuning::methods;

/// The reference of all keys of a recipe, as Markdown: name, accepted values, default and meaning.
pub fn key_reference() -> String {
    let mut page = "\
# Recipe keys

A recipe is a TOML file. Every command that reads one also takes `--set KEY=VALUE`, which overrides a key:
`--set train.lr=1e-3`. A path in a recipe is relative to the recipe, a path in `--set` to the current
directory.

This page is generated from the tables that the program reads recipes by.
"
    .to_owned();
    section(&mut page, "Top level", "", &describe_fields(&root_fields()));
    section(&mut page, "`[data]`", "Every data set has these keys.", &common_keys());
    for data_set in &DATA_SETS {
        let title = format!("`[data]` with `name = \"{}\"`", data_set.name);
        section(&mut page, &title, data_set.summary, &data_set.keys());
    }
    let text = "How files become images.";
    section(&mut page, "`[data.image]`", text, &describe_fields(&image_fields()));
    tuning(&mut page);
    let text = "How the model is trained.";
    section(&mut page, "`[train]`", text, &describe_fields(&train_fields()));
    let text = "How answers and reports are generated.";
    section(&mut page, "`[generate]`", text, &describe_fields(&generate_fields()));
    let text = "Where the outputs of a frozen image encoder are kept.";
    section(&mut page, "`[cache]`", text, &describe_fields(&cache_fields()));
    init(&mut page);
    page
}

fn tuning(page: &mut String) {
    let text = "What is trained. Instead of one rule for all towers, each tower can have a rule of its own: \
                `vision.method = \"lora\"`. A tower without a rule is then frozen.";
    section(page, "`[tuning]`", text, &rule_keys());
    for method in methods() {
        let title = format!("`[tuning]` with `method = \"{method}\"`");
        let description = method.description();
        let text =
            format!("{} Default of `train.lr`: {}.", description.summary, description.default_lr);
        match method_keys(method) {
            keys if keys.is_empty() => _ = write!(page, "\n## {title}\n\n{text}\n"),
            keys => section(page, &title, &text, &keys),
        }
    }
}

fn init(page: &mut String) {
    let architecture = KeyDescription {
        name: "architecture",
        accepts: one_of_names(&ARCHITECTURES),
        default: format!("`\"{}\"`", ARCHITECTURES[0]),
        meaning: "What the new model is.",
    };
    let text = "A new base model, for `normed pretrain`. The section takes the place of `model`.";
    let [miss, llava] = [describe_fields(&miss_fields()), describe_fields(&llava_fields())]
        .map(|keys| [vec![architecture.clone()], keys].concat());
    section(page, "`[init]` for a MISS", text, &miss);
    let text = "`architecture = \"llava\"`.";
    section(page, "`[init]` for a LLaVA", text, &llava);
    let text = "A model that is trained further.";
    section(page, "`[init]` with `from`", text, &describe_fields(&from_fields()));
    let text = "The vision tower of a new model.";
    section(page, "`[init.vision]`", text, &describe_fields(&vision_fields()));
    let text = "The two text towers of a new MISS.";
    section(page, "`[init.text]`", text, &describe_fields(&text_fields()));
    let text = "The language model of a new LLaVA.";
    section(page, "`[init.language]`", text, &describe_fields(&language_fields()));
}

fn section(page: &mut String, title: &str, text: &str, keys: &[KeyDescription]) {
    let text = if text.is_empty() { String::new() } else { format!("{text}\n\n") };
    // Writing to a String cannot fail.
    let _ = write!(page, "\n## {title}\n\n{text}| Key | Value | Default | Meaning |\n");
    let _ = page.write_str("|---|---|---|---|\n");
    for KeyDescription { name, accepts, default, meaning } in keys {
        let accepts = accepts.trim_start_matches("a ").trim_start_matches("an ");
        let accepts = accepts.replace('|', "\\|");
        let _ = writeln!(page, "| `{name}` | {accepts} | {default} | {meaning} |");
    }
}
