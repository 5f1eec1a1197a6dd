//! `normed quantize`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use normed::models::{self, QuantizedModel};
use normed::{Error, Result};
use serde_json::json;

use crate::args::QuantizeArgs;
use crate::format::grouped;
use crate::output::print_out;
use crate::progress::counting_bar;

/// Writes a model again, quantised.
pub fn quantize(args: &QuantizeArgs) -> Result<ExitCode> {
    let output = match &args.output {
        Some(output) => output.clone(),
        None => beside(&args.model, args.to.name())?,
    };
    let bar = counting_bar(1, "quantising", args.verbosity);
    let made = models::quantize(&args.model, args.to, &output, &mut |done, of| {
        bar.set_length(of as u64);
        bar.set_position(done as u64);
    })?;
    bar.finish_and_clear();
    let QuantizedModel { output, matrices, before, after } = made;
    if args.verbosity.json {
        print_out(json!({
            "output": output, "to": args.to, "matrices": matrices,
            "bytes_before": before, "bytes_after": after,
        }));
    } else if !args.verbosity.quiet {
        let megabytes = |bytes: usize| grouped(bytes.div_ceil(1_000_000));
        print_out(format_args!(
            "{matrices} matrices in {}: {} MB instead of {} MB, in {}",
            args.to,
            megabytes(after),
            megabytes(before),
            output.display()
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// `dir`, its last name with `-kind` behind it.
fn beside(dir: &Path, kind: &str) -> Result<PathBuf> {
    // `.` has a name only in full.
    let dir = match dir.file_name() {
        Some(_) => dir.to_owned(),
        None => dir.canonicalize().map_err(|e| Error::io(dir, &e))?,
    };
    let Some(name) = dir.file_name() else {
        return Err(Error::invalid(dir.display(), "has no name to make another of")
            .with_remedy("name the new directory with --output"));
    };
    let mut name = name.to_owned();
    name.push(format!("-{kind}"));
    Ok(dir.with_file_name(name))
}
