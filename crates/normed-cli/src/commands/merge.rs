//! `normed merge`.

use std::process::ExitCode;

use normed::Result;
use normed::hub;
use normed::models::{self, MergedModel};
use serde_json::json;

use crate::args::MergeArgs;
use crate::output::{print_err, print_out};
use crate::progress::counting_bar;

/// Merges an adapter into its base model.
pub fn merge(args: &MergeArgs) -> Result<ExitCode> {
    let base = hub::resolve_path(&args.base, hub::RepoKind::Model)?;
    let bar = counting_bar(1, "merging", args.verbosity);
    let made = models::merge(&base, &args.adapter, &args.out, &mut |done, of| {
        bar.set_length(of as u64);
        bar.set_position(done as u64);
    })?;
    bar.finish_and_clear();
    let MergedModel { output, changed, tensors, warnings } = made;
    warnings.iter().for_each(|warning| print_err(format_args!("warning: {warning}")));
    if args.verbosity.json {
        print_out(json!({ "output": output, "changed": changed, "tensors": tensors }));
    } else if !args.verbosity.quiet {
        print_out(format_args!(
            "{changed} of {tensors} tensors changed; the model is in {}",
            output.display()
        ));
    }
    Ok(ExitCode::SUCCESS)
}
