//! `normed init`.

use std::process::ExitCode;

use normed::Result;
use normed::files::{Inputs, write_atomically};
use normed::train::{Draft, DraftRequest, draft};

use crate::args::InitArgs;
use crate::format::{bytes, grouped, quoted, rough_duration};
use crate::output::{print_about, print_warning};

/// Writes a first recipe for a data file.
pub fn init(args: &InitArgs) -> Result<ExitCode> {
    let mut inputs = Inputs::default();
    inputs.add("the data file", &args.data);
    inputs.check_file(&args.out, args.overwrite.force)?;
    let request = DraftRequest {
        data: args.data.clone(),
        image_root: args.image_root.clone(),
        model: args.model.clone(),
        out: args.out.clone(),
    };
    let Draft { text, rows: [train, validate, test], cost, warnings } = draft(&request)?;
    warnings.iter().for_each(print_warning);
    if test == 0 {
        print_warning(format_args!(
            "no row is in the split `test`, so that a run reports no score. normed split --data {} --by group \
             makes one",
            quoted(&args.data.display())
        ));
    }
    write_atomically(&args.out, |out| out.write_all(text.as_bytes()))?;
    let say = |line: &str| print_about(&args.out, line);
    say(&format!(
        "rows: {} to train on, {} to choose the best epoch, {} to test",
        grouped(train),
        grouped(validate),
        grouped(test)
    ));
    let time = cost
        .run_seconds
        .map_or_else(String::new, |seconds| format!("about {} and ", rough_duration(seconds)));
    say(&format!(
        "training and validation take {time}about {} of memory at the present speed of this machine",
        bytes(cost.needs.peak)
    ));
    say(&format!(
        "the recipe is in {}; next: normed train {}",
        args.out.display(),
        quoted(&args.out.display())
    ));
    Ok(ExitCode::SUCCESS)
}
