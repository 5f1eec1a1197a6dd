//! `normed evaluate`.

use std::process::ExitCode;

use normed::files::is_stream;
use normed::metrics::{Finding, PredictionSets, describe_finding, score, write_predictions};
use normed::{Error, Result};
use serde_json::json;

use crate::answers::{Answers, OutputFiles, Purpose};
use crate::args::EvaluateArgs;
use crate::format;
use crate::output::{print_about, print_text, reserve_for};
use crate::outputs::blind_path;

/// Answers questions and prints the scores of the answers.
pub fn evaluate(args: &EvaluateArgs) -> Result<ExitCode> {
    args.out.iter().for_each(|out| reserve_for(out));
    let answers = Answers::open(&args.answers, &output_files(args)?, Purpose::Score)?;
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
    let sets = PredictionSets {
        predictions: &predictions,
        image_shuffled: blind.as_deref(),
        before: None,
    };
    let finding = Finding::new(&scores, &sets)?;
    let finding = finding.map(|finding| describe_finding(&finding, "The model", answers.split));
    let blind = blind.map(|blind| score(&blind, constants));
    let text = if args.answers.format.json {
        json!({ "scores": scores, "blind": blind, "finding": finding }).to_string()
    } else {
        let others: Vec<_> = blind.iter().map(|blind| ("image-shuffled", blind)).collect();
        let hint = if args.blind { "" } else { " Whether it uses the images, --blind tells." };
        let finding = finding.map(|finding| format!("\n\n{finding}{hint}"));
        format::scores(&scores, &others) + &finding.unwrap_or_default()
    };
    match &args.out {
        Some(out) => print_about(out, text),
        None => print_text(text),
    }
    Ok(ExitCode::SUCCESS)
}

/// The files that `--out` names.
fn output_files(args: &EvaluateArgs) -> Result<OutputFiles> {
    let mut paths: Vec<_> = args.out.iter().cloned().collect();
    if let (Some(out), true) = (&args.out, args.blind) {
        if is_stream(out) {
            let cause = "is a pipe or a device, and --blind writes a second file next to it";
            return Err(Error::invalid(out.display(), cause).with_remedy("name a file"));
        }
        paths.push(blind_path(out));
    }
    Ok(OutputFiles { paths, overwrite: args.overwrite.force })
}
