//! `normed merge`.

use std::process::ExitCode;

use normed::files::Inputs;
use normed::models::{self, MergeOptions, MergedModel};
use normed::predict::ModelLocation;
use normed::weights::MergedTensors;
use normed::{Error, Result};
use serde_json::json;

use crate::args::MergeArgs;
use crate::format::surviving;
use crate::output::{print_out, print_text, print_warning, shows_progress};
use crate::outputs::{OutputDirectory, add_model};
use crate::progress::counting_bar;

/// Merges an adapter into its base model.
pub fn merge(args: &MergeArgs) -> Result<ExitCode> {
    let location = ModelLocation::combine(Some(&args.base), Some(&args.adapter), None)?;
    let ModelLocation { base, adapter: Some(adapter), .. } = location else {
        return Err(Error::invalid(args.adapter.display(), "holds no adapter"));
    };
    let mut inputs = Inputs::default();
    add_model(&mut inputs, "the base model", &base);
    add_model(&mut inputs, "the adapter", &adapter);
    let directory = OutputDirectory::start(&args.out, args.overwrite.force, &inputs)?;
    let bar = counting_bar(1, "merging");
    let output = directory.path();
    let options =
        MergeOptions { norm_dtype: args.norm_dtype, resize_vocabulary: args.resize_vocabulary };
    let made = models::merge(&base, &adapter, output, options, &mut |done, of| {
        bar.set_length(of as u64);
        bar.set_position(done as u64);
    })?;
    directory.commit()?;
    bar.finish_and_clear();
    let MergedModel { merged, tensors, warnings, .. } = made;
    let output = &args.out;
    let MergedTensors { changed, values, rounded_to, .. } = merged;
    warnings.iter().for_each(print_warning);
    let rounded_to = rounded_to.into_iter().collect::<Vec<_>>().join(" and ");
    if args.format.json {
        print_out(json!({
            "output": output, "changed": changed, "tensors": tensors, "values": values,
        }));
    } else if shows_progress() {
        print_text(format_args!(
            "{changed} of {tensors} tensors changed, {}; the model is in {}",
            surviving(values, &rounded_to),
            output.display()
        ));
    }
    Ok(ExitCode::SUCCESS)
}
