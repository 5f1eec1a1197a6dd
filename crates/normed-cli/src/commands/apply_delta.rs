//! `normed apply-delta`.

use std::process::ExitCode;

use normed::Result;
use normed::models::{self, DeltaApplied};

use crate::args::ApplyDeltaArgs;
use crate::output::print_out;

/// Writes the model that a delta makes of its base.
pub fn apply_delta(args: &ApplyDeltaArgs) -> Result<ExitCode> {
    let DeltaApplied { summed, new, added_rows, files } =
        models::apply_delta(&args.base, &args.delta, &args.out, args.precision)?;
    let rows = if added_rows > 0 {
        format!(", tables {added_rows} rows longer than the base's")
    } else {
        String::new()
    };
    print_out(format_args!(
        "{}: {summed} tensors added to the base's, {new} new{rows}; {files} files of weights",
        args.out.display()
    ));
    Ok(ExitCode::SUCCESS)
}
