//! `normed predict`.

use std::process::ExitCode;

use normed::Result;
use normed::metrics::write_predictions;
use serde_json::json;

use crate::answers::Answers;
use crate::args::PredictArgs;
use crate::output::print_out;

/// Answers questions and writes the answers to a file.
pub fn predict(args: &PredictArgs) -> Result<ExitCode> {
    let predictions = Answers::open(&args.answers)?.predict()?;
    write_predictions(&args.out, &predictions)?;
    let (n, out, verbosity) = (predictions.len(), args.out.display(), args.answers.verbosity);
    if verbosity.json {
        print_out(json!({ "predictions": n, "out": args.out }));
    } else if !verbosity.quiet {
        print_out(format_args!("{n} answers are in {out}"));
    }
    Ok(ExitCode::SUCCESS)
}
