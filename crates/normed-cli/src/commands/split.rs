//! `normed split`.

use std::process::ExitCode;

use normed::Result;
use normed::data::{SplitRule, assign_splits};
use normed::files::{Inputs, write_atomically};

use crate::args::{SplitArgs, SplitBy};
use crate::format::grouped;
use crate::output::print_about;

/// Divides the rows of a file into train, validation and test splits.
pub fn split(args: &SplitArgs) -> Result<ExitCode> {
    let rule = SplitRule {
        by_group: args.by == SplitBy::Group,
        validate: args.validate,
        test: args.test,
        seed: args.seed,
    };
    let mut inputs = Inputs::default();
    inputs.add("the data file", &args.data);
    inputs.check_file(&args.out, args.overwrite.force)?;
    let (lines, sizes) = assign_splits(&args.data, &rule)?;
    write_atomically(&args.out, |out| out.write_all(lines.as_bytes()))?;
    let sets = match args.by {
        SplitBy::Group => "groups",
        SplitBy::Image => "images",
    };
    for size in sizes {
        let (name, rows) = (size.split.name(), grouped(size.rows));
        let clusters = grouped(size.clusters);
        print_about(&args.out, format_args!("{name:<8}  {rows} rows from {clusters} {sets}"));
    }
    Ok(ExitCode::SUCCESS)
}
