//! `normed train` and `normed pretrain`: the same run, from an existing base model or a new one.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use normed::files::{Inputs, write_atomically};
use normed::recipe::{Base, Recipe};
use normed::train::{Completion, LrSweep, RunOptions, Withheld, find_lr, holds_run, run};
use normed::{Error, Result};
use serde_json::json;

use crate::args::TrainArgs;
use crate::format::quoted;
use crate::interrupt;
use crate::output::{print_detail, print_err, print_err_line, print_out, print_text, verbosity};
use crate::progress::Progress;

/// Trains a model as described in a recipe.
pub fn train(args: &TrainArgs) -> Result<ExitCode> {
    let recipe = Recipe::open(&args.recipe, &args.settings)?;
    match recipe.base {
        Base::Model(_) => run_recipe(recipe, args, "train"),
        Base::Init(_) => Err(Error::invalid(
            args.recipe.display(),
            "has an [init] section: it trains a base model",
        )
        .with_remedy(format!("normed pretrain {}", args.recipe.display()))),
    }
}

/// Trains a new base model, or continues training one.
pub fn pretrain(args: &TrainArgs) -> Result<ExitCode> {
    let recipe = Recipe::open(&args.recipe, &args.settings)?;
    match recipe.base {
        Base::Init(_) => run_recipe(recipe, args, "pretrain"),
        Base::Model(_) => {
            Err(Error::invalid(args.recipe.display(), "has a model, but no [init] section")
                .with_remedy(format!("normed train {}", args.recipe.display())))
        }
    }
}

fn run_recipe(mut recipe: Recipe, args: &TrainArgs, command: &str) -> Result<ExitCode> {
    if let Some(output) = &args.output {
        recipe.output.clone_from(output);
    }
    if let Some(memory) = args.memory {
        (recipe.memory, recipe.planned_for) = (Some(memory), None);
    }
    print_detail("recipe", args.recipe.display());
    print_detail("output", recipe.output.display());
    print_detail("precision", recipe.precision.name());
    if args.find_lr {
        return suggest_rate(&recipe, args);
    }
    if args.resume && !holds_run(&recipe.output) && !verbosity().quiet {
        print_err(format_args!(
            "there is no run to resume in {}, so that one starts from the beginning; if the run is elsewhere, stop and \
             name its folder by --output",
            recipe.output.display()
        ));
    }
    let stop = interrupt::flag("stopping after this step; press Ctrl-C again to abort at once")?;
    let options = RunOptions { resume: args.resume, test: !args.no_test, stop };
    let mut progress = Progress::new();
    let completion = run(&recipe, &options, &mut |event| progress.show(event))?;
    if completion != Completion::Stopped {
        return Ok(ExitCode::SUCCESS);
    }
    // To be copied as one line.
    print_err_line(format_args!("to continue: {}", resume_command(args, command)));
    Ok(ExitCode::from(interrupt::STOPPED))
}

/// Suggests a learning rate, and saves the curve that it was found on.
fn suggest_rate(recipe: &Recipe, args: &TrainArgs) -> Result<ExitCode> {
    let path = curve_path(recipe)?;
    let mut inputs = Inputs::default();
    inputs.add("the recipe", &args.recipe);
    inputs.check_file(&path, args.force)?;
    let stop = interrupt::flag("stopping after this step; press Ctrl-C again to abort at once")?;
    let mut progress = Progress::new();
    let swept = find_lr(recipe, &stop, &mut |event| progress.show(event))?;
    let Completion::Finished(swept) = swept else {
        return Ok(ExitCode::from(interrupt::STOPPED));
    };
    let svg = swept.to_svg()?;
    write_atomically(&path, |out| out.write_all(svg.as_bytes()))?;
    if args.format.json {
        let report = json!({
            "curve": path,
            "steps": swept.steps,
            "suggestion": swept.suggestion.ok(),
            "withheld": swept.suggestion.err(),
            "too_high": swept.too_high,
            "default": swept.default_lr,
        });
        print_out(report);
        return Ok(ExitCode::SUCCESS);
    }
    print_text(describe_sweep(&swept));
    print_text(format_args!("the curve is in {}", path.display()));
    Ok(ExitCode::SUCCESS)
}

/// What a sweep suggests, which rates it excludes, and the default.
fn describe_sweep(swept: &LrSweep) -> String {
    let default = swept.default_lr;
    let suggestion = match swept.suggestion {
        Ok(lr) => format!("suggested: train.lr = {lr:e}"),
        Err(Withheld::Noise) => {
            "no suggestion: the loss fell no more than it differs between the seeds".to_owned()
        }
    };
    let tried = match (swept.steps.first(), swept.steps.last()) {
        (Some(first), Some(last)) => format!("tried: {:.1e} to {:.1e}", first.lr, last.lr),
        _ => "tried: none".to_owned(),
    };
    let excluded = match swept.too_high {
        Some(lr) => format!("excluded: {lr:.1e} and more, where the loss rises"),
        None => "excluded: none, the loss did not rise at any rate".to_owned(),
    };
    let is_too_high = swept.too_high.is_some_and(|lr| default >= lr);
    let warning = if is_too_high { " (too high for this data)" } else { "" };
    format!("{suggestion}\n{tried}\n{excluded}\nthe method's default: {default:e}{warning}")
}

/// Where the curve of a learning-rate sweep goes: next to the run directory, in a folder that is made.
fn curve_path(recipe: &Recipe) -> Result<PathBuf> {
    let mut name = recipe.output.clone().into_os_string();
    name.push(".find_lr.svg");
    let path = PathBuf::from(name);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(|e| Error::io(parent, &e))?;
    }
    Ok(path)
}

/// The command that continues a stopped run.
fn resume_command(args: &TrainArgs, command: &str) -> String {
    let mut words = vec!["normed".to_owned(), command.to_owned(), quoted(&args.recipe.display())];
    words.extend(args.settings.iter().flat_map(|setting| ["--set".to_owned(), quoted(setting)]));
    if let Some(output) = &args.output {
        words.extend(["--output".to_owned(), quoted(&output.display())]);
    }
    if let Some(memory) = args.memory {
        words.extend(["--memory".to_owned(), memory.to_string()]);
    }
    words.extend(args.no_test.then(|| "--no-test".to_owned()));
    words.push("--resume".to_owned());
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Args, Command};
    use clap::Parser;

    #[test]
    fn the_command_to_resume_can_be_typed() {
        let line = ["normed", "train", "my recipes/a.toml", "--set", "tuning.also=[\"head\"]"];
        let Command::Train(args) = Args::parse_from(line).command else { panic!() };
        assert_eq!(
            resume_command(&args, "train"),
            "normed train 'my recipes/a.toml' --set 'tuning.also=[\"head\"]' --resume"
        );
    }
}
