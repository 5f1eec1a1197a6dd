//! `normed inspect`.

use std::process::ExitCode;

use normed::Result;
use normed::models::{self, Description, Layout};
use normed::tuning::{Method, Table, Tuning};
use serde_json::{Value, json};

use crate::args::InspectArgs;
use crate::format::{columns, grouped, percent};
use crate::output::say;

/// Prints the parameters of a model by tower and role, and what a method would train.
pub fn inspect(args: &InspectArgs) -> Result<ExitCode> {
    let mut model = models::describe(&args.dir)?;
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

    let mut reasons: Vec<_> = inert(model).map(|(_, reason)| reason).collect();
    reasons.sort_unstable();
    reasons.dedup();
    for reason in reasons {
        text.push_str(&format!("\n\nnever trained, as no loss can move it: {reason}"));
        let names = inert(model).filter(|(_, why)| *why == reason);
        names.for_each(|(name, _)| text.push_str(&format!("\n  {name}")));
    }
    text
}

/// The parameters that no loss can move, with the reason.
fn inert(model: &Description) -> impl Iterator<Item = (&str, &'static str)> {
    model.params.iter().filter_map(|(_, p)| Some((p.name.as_str(), p.inert?)))
}
