//! `normed predict`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use normed::metrics::write_predictions;
use normed::{Error, Result};
use serde_json::json;

use crate::answers::{Answers, OutputFiles, Purpose};
use crate::args::PredictArgs;
use crate::format::counted;
use crate::output::{print_done, print_event, reserve_for};
use crate::stream;

/// Answers questions and writes the answers to a file.
pub fn predict(args: &PredictArgs) -> Result<ExitCode> {
    let out = args.out.as_ref().ok_or_else(|| {
        Error::invalid("--out", "is missing").with_remedy("name the file for the answers")
    })?;
    if args.answers.data.as_deref().is_some_and(is_dash) {
        if !is_dash(out) {
            let cause =
                "is a file, and the answers to rows of standard input go to standard output";
            return Err(
                Error::invalid("--out", cause).with_remedy("redirect it: normed ... > FILE")
            );
        }
        return stream::answer(&args.answers);
    }
    let out = match is_dash(out) {
        true => PathBuf::from("/dev/stdout"),
        false => out.clone(),
    };
    reserve_for(&out);
    let outputs = OutputFiles { paths: vec![out.clone()], overwrite: args.overwrite.force };
    let predictions = Answers::open(&args.answers, &outputs, Purpose::Ask)?.ask()?;
    write_predictions(&out, &predictions)?;
    let n = predictions.len();
    match args.answers.format.json {
        true => print_event(json!({ "predictions": n, "out": out })),
        false => {
            let (answers, are) = (counted(n, "answer"), if n == 1 { "is" } else { "are" });
            print_done(&out, format_args!("{answers} {are} in {}", out.display()));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn is_dash(path: &Path) -> bool {
    path.as_os_str() == "-"
}
