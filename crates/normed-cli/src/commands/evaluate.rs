//! `normed evaluate`.

use std::process::ExitCode;

use normed::Result;
use normed::metrics::{score, write_predictions};
use serde_json::json;

use crate::answers::Answers;
use crate::args::EvaluateArgs;
use crate::format;
use crate::output::say;

/// Answers questions and prints the answers' scores.
pub fn evaluate(args: &EvaluateArgs) -> Result<ExitCode> {
    let answers = Answers::open(&args.answers)?;
    let predictions = answers.predict()?;
    if let Some(out) = &args.out {
        write_predictions(out, &predictions)?;
    }
    let constants = answers.constants.as_ref();
    let scores = score(&predictions, constants);
    let blind = if args.blind { Some(score(&answers.predict_blind()?, constants)) } else { None };
    if args.answers.voice.json {
        say(json!({ "scores": scores, "blind": blind }));
    } else {
        let beside: Vec<_> = blind.iter().map(|blind| ("blind", blind)).collect();
        say(format::scores(&scores, &beside));
    }
    Ok(ExitCode::SUCCESS)
}
