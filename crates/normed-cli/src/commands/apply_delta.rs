//! `normed apply-delta`.

use std::process::ExitCode;

use normed::Result;
use normed::files::Inputs;
use normed::models::{self, DeltaApplied};

use crate::args::ApplyDeltaArgs;
use crate::output::print_text;
use crate::outputs::{OutputDirectory, add_model};

/// Writes the model that a base and a weight delta make.
pub fn apply_delta(args: &ApplyDeltaArgs) -> Result<ExitCode> {
    let mut inputs = Inputs::default();
    add_model(&mut inputs, "the base model", &args.base);
    add_model(&mut inputs, "the delta", &args.delta);
    let directory = OutputDirectory::start(&args.out, args.overwrite.force, &inputs)?;
    let DeltaApplied { summed, new, added_rows, files } =
        models::apply_delta(&args.base, &args.delta, directory.path(), args.precision)?;
    directory.commit()?;
    let rows = if added_rows > 0 {
        format!(", {added_rows} rows added to the token tables")
    } else {
        String::new()
    };
    print_text(format_args!(
        "{}: {summed} tensors are base plus delta, {new} are new{rows}; {files} weight files",
        args.out.display()
    ));
    Ok(ExitCode::SUCCESS)
}
