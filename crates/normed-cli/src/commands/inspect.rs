//! `normed inspect`.

use std::collections::BTreeMap;
use std::process::ExitCode;

use normed::Result;
use normed::data::{IMAGE_TOKEN, PromptRule, TextRule};
use normed::models::{self, Layout, LoadOverrides, ModelDeclaration};
use normed::predict::find_base;
use normed::recipe::parse_tuning;
use normed::tuning::{NormCandidates, ParameterTable, Selection, Tuning};
use serde_json::{Value, json};

use crate::args::InspectArgs;
use crate::format::{grouped, percent, table};
use crate::output::{print_detail, print_out, print_text};

/// Prints the parameters of a model by tower and role, and what a method would train.
pub fn inspect(args: &InspectArgs) -> Result<ExitCode> {
    let dir = find_base(&args.model)?;
    print_detail("model", dir.display());
    let mut model = models::declare_model(
        &dir,
        LoadOverrides { template: args.template, ..LoadOverrides::default() },
    )?;
    let tuning = tuning(args)?;
    let tuned = tuning.as_ref().map(|tuning| tuning.apply(&mut model.params)).transpose()?;
    let table = ParameterTable::new(&model.params);
    let candidates =
        tuning.as_ref().map(|tuning| tuning.norm_candidates(&model.params)).unwrap_or_default();
    if args.json {
        print_out(as_json(&model, &table, tuning.as_ref(), tuned.as_ref(), &candidates));
    } else {
        print_text(as_text(&model, &table, tuned.as_ref(), &candidates));
    }
    Ok(ExitCode::SUCCESS)
}

/// The tuning that --method and --set describe, if any.
fn tuning(args: &InspectArgs) -> Result<Option<Tuning>> {
    let method = args.method.iter().map(|method| format!("method={method}"));
    let settings: Vec<_> = method.chain(args.settings.iter().cloned()).collect();
    if settings.is_empty() { Ok(None) } else { parse_tuning(&settings).map(Some) }
}

fn as_json(
    model: &ModelDeclaration,
    table: &ParameterTable,
    tuning: Option<&Tuning>,
    tuned: Option<&Selection>,
    candidates: &[NormCandidates],
) -> Value {
    let rule = model.text_rule.as_ref();
    let question = rule.and_then(TextRule::as_question);
    let prompt = match rule {
        Some(TextRule::Prompt(rule)) => Some(prompt(rule, model.max_image_tokens)),
        _ => None,
    };
    let inert: Vec<_> =
        inert(model).map(|(name, reason)| json!({ "name": name, "reason": reason })).collect();
    let kept = candidates.iter().map(|some| {
        let frozen = some.fewest_dropped_elements(&model.params);
        json!({ "of": some.norms.len(), "kept": some.kept_count(), "frozen_at_least": frozen })
    });
    let kept: Vec<_> = kept.collect();
    json!({
        "architecture": model.architecture,
        "layout": match model.layout {
            Layout::HuggingFace => "hugging_face",
            Layout::Original => "original",
        },
        "question_start": question.map(|rule| rule.question_start),
        "decoder_start": question.map(|rule| rule.decoder_start),
        "end": rule.map(TextRule::end_token),
        "prompt": prompt,
        "tuning": tuning,
        "asked": tuned.map(|tuned| tuned.selected),
        "parameters": table.parameters,
        "trained": table.trained,
        "percent": table.percent,
        "rows": table.rows,
        "kept_norms": kept,
        "inert": inert,
    })
}

fn as_text(
    model: &ModelDeclaration,
    table: &ParameterTable,
    tuned: Option<&Selection>,
    candidates: &[NormCandidates],
) -> String {
    let mut text = format!("{}, {}\n\n", model.architecture, model.summary);
    if let Some(TextRule::Prompt(rule)) = &model.text_rule {
        text.push_str(&prompt_text(rule, model.max_image_tokens));
    }
    text.push_str(&parameter_table(table, tuned.is_some()));
    if let Some(tuned) = tuned.filter(|tuned| tuned.selected > tuned.trained) {
        let part = percent(100.0 * tuned.selected as f64 / tuned.total as f64);
        text.push_str(&format!(
            "\n\nselected: {} ({part}), of which {} cannot affect the loss",
            grouped(tuned.selected),
            grouped(tuned.selected - tuned.trained)
        ));
    }
    for some in candidates {
        text.push_str(&format!(
            "\n\na run trains the {} of {} norms with the largest Fisher information; at least {} parameters \
             stay frozen",
            some.kept_count(),
            some.norms.len(),
            grouped(some.fewest_dropped_elements(&model.params))
        ));
    }
    for (reason, patterns) in inert_by_reason(model) {
        text.push_str(&format!("\n\nnever trained, as it cannot affect the loss: {reason}"));
        for (pattern, names) in patterns {
            match names.as_slice() {
                [name] => text.push_str(&format!("\n  {name}")),
                names => text.push_str(&format!("\n  {pattern}, {} blocks", names.len())),
            }
        }
    }
    text
}

/// Parameters by tower and role; with how many are trained, if a method is given.
fn parameter_table(parameters: &ParameterTable, has_method: bool) -> String {
    let line = |tower: &str, role: &str, parameters, trained, part| {
        let mut cells = vec![tower.to_owned(), role.to_owned(), grouped(parameters)];
        if has_method {
            cells.extend([grouped(trained), percent(part)]);
        }
        cells
    };
    let mut head = vec!["tower", "role", "parameters"];
    if has_method {
        head.extend(["trained", ""]);
    }
    let mut rows = Vec::new();
    for row in &parameters.rows {
        let (tower, role) = (row.tower.name(), row.role.name());
        rows.push(line(tower, role, row.parameters, row.trained, row.percent));
    }
    rows.push(line("total", "", parameters.parameters, parameters.trained, parameters.percent));
    table(&head, &rows, 2, 2)
}

/// An example prompt as JSON. The token id -1 stands for an image, which takes `image_tokens` positions.
fn prompt(rule: &PromptRule, image_tokens: usize) -> Value {
    let ids = rule
        .sample_prompt()
        .ids
        .iter()
        .map(|&id| if id == IMAGE_TOKEN { -1 } else { i64::from(id) });
    json!({
        "template": rule.template(),
        "text": rule.sample_prompt().text,
        "ids": ids.collect::<Vec<_>>(),
        "image_tokens": image_tokens,
        "context": rule.context(),
        "date": rule.date(),
    })
}

fn prompt_text(rule: &PromptRule, image_tokens: usize) -> String {
    let id = |&id: &u32| match id {
        IMAGE_TOKEN => format!("<image> x {image_tokens}"),
        id => id.to_string(),
    };
    let ids = rule.sample_prompt().ids.iter().map(id).collect::<Vec<_>>().join(" ");
    let date = rule.date().map_or_else(String::new, |date| {
        format!("\n  the template asks for today's date and gets {date} on every day")
    });
    format!(
        "example prompt in the template {} (answers end with token {}; {} positions in all)\n  \
         {:?}\n  {ids}{date}\n\n",
        rule.template().name(),
        rule.end_token(),
        rule.context(),
        rule.sample_prompt().text
    )
}

/// The parameters that cannot affect the loss, by reason and by name with a star for the number of the block.
fn inert_by_reason(model: &ModelDeclaration) -> BTreeMap<&str, BTreeMap<String, Vec<&str>>> {
    let mut reasons: BTreeMap<&str, BTreeMap<String, Vec<&str>>> = BTreeMap::new();
    for (_, parameter) in model.params.iter() {
        let Some(reason) = parameter.inert_reason() else { continue };
        let pattern = match parameter.role().layer {
            Some(layer) => parameter.name().replacen(&format!(".{layer}."), ".*.", 1),
            None => parameter.name().to_owned(),
        };
        let names = reasons.entry(reason).or_default().entry(pattern).or_default();
        names.push(parameter.name());
    }
    reasons
}

/// The parameters that cannot affect the loss, each with the reason.
fn inert(model: &ModelDeclaration) -> impl Iterator<Item = (&str, &'static str)> {
    model.params.iter().filter_map(|(_, p)| Some((p.name(), p.inert_reason()?)))
}
