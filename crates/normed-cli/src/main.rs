//! `normed`: the command line over the library. It reads arguments, prints, and sets the exit code;
//! everything else is the library's.
//!
//! Exit codes: 0, done; 1, a failure of the machine or the run; 2, a mistake in what was given;
//! 130, stopped by Ctrl-C with everything saved.

mod answers;
mod args;
mod commands;
mod format;
mod interrupt;
mod output;
mod progress;
mod tuned;

use std::process::ExitCode;

use clap::Parser;

use args::{Args, Command};

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(report_panic));
    // This thread works in the pool rather than wait for it: a step is a thousand short operations,
    // and to be woken after each costs more than some of them. It fails only if there is a pool.
    let _ = rayon::ThreadPoolBuilder::new().use_current_thread().build_global();
    let args = Args::parse();
    let result = match &args.command {
        Command::Train(args) => commands::train(args),
        Command::Plan(args) => commands::plan(args),
        Command::Study(args) => commands::study(args),
        Command::Pretrain(args) => commands::pretrain(args),
        Command::Evaluate(args) => commands::evaluate(args),
        Command::Predict(args) => commands::predict(args),
        Command::Fetch(args) => commands::fetch(args),
        Command::Inspect(args) => commands::inspect(args),
        Command::ApplyDelta(args) => commands::apply_delta(args),
        Command::Quantize(args) => commands::quantize(args),
        Command::Export(args) => commands::export(args),
        Command::Diff(args) => commands::diff(args),
        Command::Merge(args) => commands::merge(args),
        Command::Score(args) => commands::score(args),
        Command::Split(args) => commands::split(args),
    };
    result.unwrap_or_else(|error| {
        output::print_err(format_args!("error: {error}"));
        ExitCode::from(error.exit_code())
    })
}

/// A panic is our mistake, never the user's: says so in one line, and ends the process, whatever
/// thread it is in.
fn report_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let cause = panic.payload_as_str().unwrap_or("no message").replace('\n', " ");
    let place =
        panic.location().map(|l| format!(" ({}:{})", l.file(), l.line())).unwrap_or_default();
    output::print_err(format_args!(
        "error: this is a bug in normed: {cause}{place}; please report it"
    ));
    std::process::exit(1);
}
