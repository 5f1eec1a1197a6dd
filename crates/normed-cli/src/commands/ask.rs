//! `normed ask`.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::ExitCode;

use normed::{Error, Result};
use serde_json::json;

use crate::args::AskArgs;
use crate::format::probability;
use crate::output::{print_out, print_text, print_warning, verbosity};
use crate::row_answers::{RowOptions, RowSettings};

/// Asks a model a question about an image, or for a report, and prints the answer with its probability.
pub fn ask(args: &AskArgs) -> Result<ExitCode> {
    let settings = RowSettings::find(RowOptions {
        model: &args.model,
        task: args.task,
        prompt: args.prompt.as_ref(),
        generation: &args.generation,
        image: &args.image,
        image_root: PathBuf::new(),
    })?;
    match (settings.reader.task.is_vqa(), &args.question) {
        (true, None) => {
            return Err(Error::invalid("--question", "is missing")
                .with_remedy("ask a question, or add --task report for a report"));
        }
        (false, Some(_)) => {
            let cause = "is given, and the task is to write a report";
            return Err(Error::invalid("--question", cause)
                .with_remedy("add --task vqa, or leave the question out"));
        }
        (true, Some(question)) if question.trim().is_empty() => {
            return Err(Error::invalid("--question", "is empty"));
        }
        _ => {}
    }
    let name =
        |image: &PathBuf| match (image.is_file(), image.to_str()) {
            (true, Some(name)) => Ok(name.to_owned()),
            (true, None) => Err(Error::invalid(image.display(), "its name is not valid UTF-8")),
            (false, _) if image.is_dir() => Err(Error::invalid(image.display(), "is a folder")
                .with_remedy("name the file of an image")),
            (false, _) => Err(Error::io(image, &ErrorKind::NotFound.into())),
        };
    let images = args.images.iter().map(name).collect::<Result<Vec<_>>>()?;
    let row = json!({ "images": images, "question": args.question });
    let answer = settings.open()?.answer(&row.to_string(), 1)?;
    answer.check_finite().map_err(|cause| Error::failed("the model", cause))?;
    if answer.question_cut && !args.format.json {
        print_warning(
            "the question is longer than the model reads: it does not see the last words",
        );
    }
    if args.format.json {
        print_out(json!(answer));
    } else {
        print_text(&answer.prediction);
        if let Some(p) = answer.probability.filter(|_| !verbosity().quiet) {
            print_out(format_args!("probability {}", probability(p)));
        }
    }
    Ok(ExitCode::SUCCESS)
}
