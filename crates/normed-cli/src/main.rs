//! `normed`: the command line over the library. It reads arguments, prints, and sets the exit code;
//! the library does everything else.
//!
//! Exit codes: 0, success; 1, a failure of the machine or of the run; 2, wrong input; 130, stopped by
//! Ctrl-C with everything saved.

#![cfg_attr(not(test), warn(clippy::too_many_lines))]

mod answers;
mod args;
mod bug;
mod commands;
mod format;
mod interrupt;
mod model_settings;
mod output;
mod outputs;
mod progress;
mod row_answers;
mod stream;
mod study_progress;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use normed::{ErrorKind, Result};

use args::Command;

fn main() -> ExitCode {
    bug::record_panics();
    // After a panic nothing is used again but the record of it.
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(code)) => code,
        Ok(Err(error)) => {
            match error.kind() {
                ErrorKind::Bug => bug::report_error(&error),
                _ => output::print_error(&error),
            }
            ExitCode::from(error.exit_code())
        }
        Err(panic) => {
            bug::report_panic(&*panic);
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode> {
    let args = args::parse();
    output::set_verbosity(args.verbosity());
    // This thread works in the pool rather than wait for it: a step is a thousand short operations,
    // and to be woken after each costs more than some of them. It fails only if there is a pool.
    let threads = args.threads.unwrap_or(0); // 0 is rayon's default
    let _ =
        rayon::ThreadPoolBuilder::new().num_threads(threads).use_current_thread().build_global();
    output::print_detail("normed", normed::build::FULL_VERSION);
    output::print_detail("threads", rayon::current_num_threads());
    // Only for the test of what a panic looks like to a user.
    #[cfg(debug_assertions)]
    assert!(std::env::var_os("NORMED_TEST_PANIC").is_none(), "NORMED_TEST_PANIC is\nset");
    match &args.command {
        Command::Import(args) => commands::import(args),
        Command::Init(args) => commands::init(args),
        Command::Train(args) => commands::train(args),
        Command::Predict(args) => commands::predict(args),
        Command::Ask(args) => commands::ask(args),
        Command::Evaluate(args) => commands::evaluate(args),
        Command::Study(args) => commands::study(args),
        Command::Show(args) => commands::show(args),
        Command::Plan(args) => commands::plan(args),
        Command::Inspect(args) => commands::inspect(args),
        Command::Fetch(args) => commands::fetch(args),
        Command::Split(args) => commands::split(args),
        Command::Score(args) => commands::score(args),
        Command::Diff(args) => commands::diff(args),
        Command::Export(args) => commands::export(args),
        Command::Merge(args) => commands::merge(args),
        Command::Quantize(args) => commands::quantize(args),
        Command::Pretrain(args) => commands::pretrain(args),
        Command::Completions(args) => commands::completions(args),
        Command::Man(args) => commands::man(args),
        Command::ApplyDelta(args) => commands::apply_delta(args),
    }
}
