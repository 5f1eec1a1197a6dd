//! `normed quantize`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use normed::files::Inputs;
use normed::models::{self, QuantizedModel};
use normed::predict::find_base;
use normed::{Error, Result};
use serde_json::json;

use crate::args::QuantizeArgs;
use crate::format::bytes;
use crate::output::{print_out, print_text, shows_progress};
use crate::outputs::{OutputDirectory, add_model};
use crate::progress::counting_bar;

/// Writes a quantized copy of a model.
pub fn quantize(args: &QuantizeArgs) -> Result<ExitCode> {
    let model = find_base(&args.model)?;
    let output = match &args.output {
        Some(output) => output.clone(),
        None => default_output(&args.model, args.to.name())?,
    };
    let mut inputs = Inputs::default();
    add_model(&mut inputs, "the model", &model);
    let directory = OutputDirectory::start(&output, args.overwrite.force, &inputs)?;
    let bar = counting_bar(1, "quantizing");
    let made = models::quantize(&model, args.to, directory.path(), &mut |done, of| {
        bar.set_length(of as u64);
        bar.set_position(done as u64);
    })?;
    directory.commit()?;
    bar.finish_and_clear();
    let QuantizedModel { matrices, before, after, .. } = made;
    if args.format.json {
        print_out(json!({
            "output": output, "to": args.to, "matrices": matrices,
            "bytes_before": before, "bytes_after": after,
        }));
    } else if shows_progress() {
        print_text(format_args!(
            "{matrices} matrices are {}: {} instead of {}; the model is in {}",
            args.to,
            bytes(after),
            bytes(before),
            output.display()
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// The path of `dir` with `-kind` appended to its name.
fn default_output(dir: &Path, kind: &str) -> Result<PathBuf> {
    // `.` has a name only in full.
    let dir = match dir.file_name() {
        Some(_) => dir.to_owned(),
        None => dir.canonicalize().map_err(|e| Error::io(dir, &e))?,
    };
    let Some(name) = dir.file_name() else {
        return Err(Error::invalid(dir.display(), "has no name to append to")
            .with_remedy("choose the new folder with --output"));
    };
    let mut name = name.to_owned();
    name.push(format!("-{kind}"));
    Ok(dir.with_file_name(name))
}
