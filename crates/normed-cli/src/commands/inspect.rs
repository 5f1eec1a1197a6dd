//! `normed inspect`.

use std::collections::BTreeMap;
use std::process::ExitCode;

use normed::Result;
use normed::hub;
use normed::models::{self, Description, Layout};
use normed::tuning::{Method, Table, Tuning};
use serde_json::{Value, json};

use crate::args::InspectArgs;
use crate::format::{columns, grouped, percent};
use crate::output::say;

/// Prints the parameters of a model by tower and role, and what a method would train.
pub fn inspect(args: &InspectArgs) -> Result<ExitCode> {
    let dir = hub::find_or(&args.dir, hub::Kind::Model)?;
    let mut model = models::describe(&dir)?;
    if let Some(method) = args.method {
        Tuning::new(method).apply(&mut model.params)?;
    }
    let table = Table::of(&model.params);
    if args.json {
        say(as_json(&model, &table, args.method));
    } else {
        say(as_text(&model, &table, args.method));
    }
    Ok(ExitCode::SUCCESS)
}

fn as_json(model: &Description, table: &Table, method: Option<Method>) -> Value {
    let inert: Vec<_> =
        inert(model).map(|(name, reason)| json!({ "name": name, "reason": reason })).collect();
    json!({
        "architecture": model.architecture,
        "layout": match model.layout {
            Layout::HuggingFace => "hugging_face",
            Layout::Original => "original",
        },
        "question_start": model.text_rule.question_start,
        "decoder_start": model.text_rule.decoder_start,
        "end": model.text_rule.end,
        "method": method,
        "parameters": table.parameters,
        "trained": table.trained,
        "percent": table.percent,
        "rows": table.rows,
        "inert": inert,
    })
}

fn as_text(model: &Description, table: &Table, method: Option<Method>) -> String {
    let (layout, question_start) = match model.layout {
        Layout::HuggingFace => ("Hugging Face layout", "[CLS]"),
        Layout::Original => ("original layout", "[ENC]"),
    };
    let rule = &model.text_rule;
    let mut text = format!(
        "{}, {layout}: questions start with {question_start} ({}), answers with [DEC] ({}); both end \
         with [SEP] ({})\n\n",
        model.architecture, rule.question_start, rule.decoder_start, rule.end
    );

    let line = |tower: &str, role: &str, parameters, trained, part| {
        let mut cells = vec![tower.to_owned(), role.to_owned(), grouped(parameters)];
        if method.is_some() {
            cells.extend([grouped(trained), percent(part)]);
        }
        cells
    };
    let mut rows = vec![vec!["tower".to_owned(), "role".to_owned(), "parameters".to_owned()]];
    if let Some(method) = method {
        rows[0].extend([method.name().to_owned(), String::new()]);
    }
    for row in &table.rows {
        let (tower, role) = (row.tower.name(), row.role.name());
        rows.push(line(tower, role, row.parameters, row.trained, row.percent));
    }
    rows.push(line("total", "", table.parameters, table.trained, table.percent));
    text.push_str(&columns(&rows, 2));

    for (reason, patterns) in inert_by_reason(model) {
        text.push_str(&format!("\n\nnever trained, as no loss can move it: {reason}"));
        for (pattern, count) in patterns {
            let blocks = if count > 1 { format!(", {count} blocks") } else { String::new() };
            text.push_str(&format!("\n  {pattern}{blocks}"));
        }
    }
    text
}

/// What no loss can move, by reason, with the number of a block as a star; and how many blocks that stands for.
fn inert_by_reason(model: &Description) -> BTreeMap<&str, BTreeMap<String, usize>> {
    let mut reasons: BTreeMap<&str, BTreeMap<String, usize>> = BTreeMap::new();
    for (_, parameter) in model.params.iter() {
        let Some(reason) = parameter.inert else { continue };
        let pattern = match parameter.role.layer {
            Some(layer) => parameter.name.replacen(&format!(".{layer}."), ".*.", 1),
            None => parameter.name.clone(),
        };
        *reasons.entry(reason).or_default().entry(pattern).or_default() += 1;
    }
    reasons
}

/// The parameters that no loss can move, with the reason.
fn inert(model: &Description) -> impl Iterator<Item = (&str, &'static str)> {
    model.params.iter().filter_map(|(_, p)| Some((p.name.as_str(), p.inert?)))
}
