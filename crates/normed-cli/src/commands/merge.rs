//! `normed merge`.

use std::process::ExitCode;

use normed::Result;
use normed::files::Inputs;
use normed::hub;
use normed::models::{self, MergeOptions, MergedModel};
use normed::weights::MergedTensors;
use serde_json::json;

use crate::args::MergeArgs;
use crate::format::surviving;
use crate::output::{print_err, print_out};
use crate::outputs::{OutputDirectory, add_model};
use crate::progress::counting_bar;

/// Merges an adapter into its base model.
pub fn merge(args: &MergeArgs) -> Result<ExitCode> {
    let base = hub::resolve_path(&args.base, hub::RepoKind::Model)?;
    let mut inputs = Inputs::default();
    add_model(&mut inputs, "the base model", &base);
    add_model(&mut inputs, "the adapter", &args.adapter);
    let directory = OutputDirectory::start(&args.out, args.overwrite.force, &inputs)?;
    let bar = counting_bar(1, "merging", args.verbosity);
    let output = directory.path();
    let options =
        MergeOptions { norm_dtype: args.norm_dtype, resize_vocabulary: args.resize_vocabulary };
    let made = models::merge(&base, &args.adapter, output, options, &mut |done, of| {
        bar.set_length(of as u64);
        bar.set_position(done as u64);
    })?;
    directory.commit()?;
    bar.finish_and_clear();
    let MergedModel { merged, tensors, warnings, .. } = made;
    let output = &args.out;
    let MergedTensors { changed, values, rounded_to, .. } = merged;
    warnings.iter().for_each(|warning| print_err(format_args!("warning: {warning}")));
    let rounded_to = rounded_to.into_iter().collect::<Vec<_>>().join(" and ");
    if args.verbosity.json {
        print_out(json!({
            "output": output, "changed": changed, "tensors": tensors, "values": values,
        }));
    } else if !args.verbosity.quiet {
        print_out(format_args!(
            "{changed} of {tensors} tensors changed, {}; the model is in {}",
            surviving(values, &rounded_to),
            output.display()
        ));
    }
    Ok(ExitCode::SUCCESS)
}
