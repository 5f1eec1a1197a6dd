//! `normed predict`.

use std::process::ExitCode;

use normed::Result;
use normed::metrics::write_predictions;
use serde_json::json;

use crate::answers::{Answers, OutputFiles};
use crate::args::PredictArgs;
use crate::output::print_about;

/// Answers questions and writes the answers to a file.
pub fn predict(args: &PredictArgs) -> Result<ExitCode> {
    let outputs = OutputFiles { paths: vec![args.out.clone()], overwrite: args.overwrite.force };
    let predictions = Answers::open(&args.answers, &outputs)?.predict()?;
    write_predictions(&args.out, &predictions)?;
    let (n, out, verbosity) = (predictions.len(), args.out.display(), args.answers.verbosity);
    if verbosity.json {
        print_about(&args.out, json!({ "predictions": n, "out": args.out }));
    } else if !verbosity.quiet {
        print_about(&args.out, format_args!("{n} answers are in {out}"));
    }
    Ok(ExitCode::SUCCESS)
}
