//! `normed plan`.

use std::process::ExitCode;

use normed::Result;
use normed::recipe::Recipe;
use normed::train::{BatchSetting, CostEstimate, MemoryNeeds, Plan};

use crate::args::PlanArgs;
use crate::format::{
    bytes, columns, counted, duration, grouped, percent, rough_duration, scaled, table,
};
use crate::output::{print_out, print_text, print_warning};

/// Prints the memory and time of a run for every batch size and recomputation setting. If none of them fits
/// the memory limit, that is an error.
pub fn plan(args: &PlanArgs) -> Result<ExitCode> {
    let mut recipe = Recipe::open(&args.recipe, &args.settings)?;
    if let Some(memory) = args.memory {
        (recipe.memory, recipe.planned_for) = (Some(memory), None);
    }
    let plan = normed::train::plan(&recipe)?;
    plan.warnings.iter().for_each(print_warning);
    match args.json {
        true => print_out(serde_json::json!(plan)),
        false => print_text(as_text(&plan)),
    }
    plan.chosen_estimate(&recipe)?;
    Ok(ExitCode::SUCCESS)
}

/// What the times of a plan count.
const TIMES: &str = "A run time counts training and validation, without tests. Times follow the present speed of this \
    machine: other work on it makes them longer.";

fn as_text(plan: &Plan) -> String {
    let part = 100.0 * plan.trained as f64 / plan.total.max(1) as f64;
    let mut text = format!(
        "trains {} of {} parameters ({})",
        grouped(plan.trained),
        grouped(plan.total),
        percent(part)
    );
    match (plan.steps, &plan.data_error) {
        (Some(steps), _) => {
            text += &format!(
                "\n{} of {}",
                counted(steps, "step"),
                counted(plan.examples_per_step, "example")
            );
        }
        (None, Some(why)) => {
            text += &format!(
                "\nwithout the data, texts are assumed to have the maximum length ({why})"
            );
        }
        (None, None) => {}
    }
    if let Some(chosen) = plan.chosen {
        text += &format!("\n\n{}", details(&plan.estimates[chosen]));
    }
    format!("{text}\n\n{}\n\n{TIMES}", settings(plan))
}

/// The memory and work of the chosen setting.
fn details(estimate: &CostEstimate) -> String {
    let MemoryNeeds { weights, optimizer, data, activations, workspace, program, peak } =
        estimate.needs;
    let rows = [
        ("weights", weights),
        ("optimizer", optimizer),
        ("data", data),
        ("activations", activations),
        ("workspace", workspace),
        ("program", program),
        ("peak", peak),
    ];
    let rows = rows.map(|(name, n)| vec![name.to_owned(), bytes(n)]);
    let work = [
        ("per step: multiply-adds of matrix products", scaled(estimate.work.product_flops)),
        ("multiply-adds of attention", scaled(estimate.work.attention_flops)),
        ("elements of other operations", scaled(estimate.work.elementwise)),
    ];
    let work = work.map(|(name, n)| vec![name.to_owned(), n]);
    format!("{}\n\n{}", columns(&rows, 1), columns(&work, 1))
}

/// All settings; the chosen one has a star.
fn settings(plan: &Plan) -> String {
    let head = [
        "",
        "recompute",
        "batch",
        "accumulation",
        "peak memory",
        "activations",
        "step time",
        "run time",
    ];
    let mut rows = Vec::new();
    for (i, estimate) in plan.estimates.iter().enumerate() {
        let BatchSetting { batch_size, grad_accum_steps, recompute } = estimate.setting;
        rows.push(vec![
            if plan.chosen == Some(i) { "*" } else { "" }.to_owned(),
            recompute.name().to_owned(),
            batch_size.to_string(),
            grad_accum_steps.to_string(),
            bytes(estimate.needs.peak),
            bytes(estimate.needs.activations),
            duration(estimate.step_seconds),
            estimate.run_seconds.map_or_else(|| "-".to_owned(), rough_duration),
        ]);
    }
    table(&head, &rows, 2, 3)
}
