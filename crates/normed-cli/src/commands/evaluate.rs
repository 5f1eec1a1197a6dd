//! `normed evaluate`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use normed::Result;
use normed::metrics::{score, write_predictions};
use serde_json::json;

use crate::answers::Answers;
use crate::args::EvaluateArgs;
use crate::format;
use crate::output::print_out;

/// Answers questions and prints the scores of the answers.
pub fn evaluate(args: &EvaluateArgs) -> Result<ExitCode> {
    let answers = Answers::open(&args.answers)?;
    let predictions = answers.predict()?;
    let blind = args.blind.then(|| answers.predict_blind()).transpose()?;
    if let Some(out) = &args.out {
        // The main file is written last: if it is there, so is the other.
        if let Some(blind) = &blind {
            write_predictions(&blind_path(out), blind)?;
        }
        write_predictions(out, &predictions)?;
    }
    let constants = answers.constants.as_ref();
    let scores = score(&predictions, constants);
    let blind = blind.map(|blind| score(&blind, constants));
    if args.answers.verbosity.json {
        print_out(json!({ "scores": scores, "blind": blind }));
    } else {
        let others: Vec<_> = blind.iter().map(|blind| ("image-shuffled", blind)).collect();
        print_out(format::scores(&scores, &others));
    }
    Ok(ExitCode::SUCCESS)
}

/// The file for the image-shuffled answers: `answers_blind.jsonl` next to `answers.jsonl`.
fn blind_path(out: &Path) -> PathBuf {
    let stem = out.file_stem().unwrap_or_default().to_string_lossy();
    out.with_file_name(format!("{stem}_blind.jsonl"))
}
