//! `normed split`.

use std::path::Path;
use std::process::ExitCode;

use normed::Result;
use normed::data::{JoinedNames, SplitAssignment, SplitRows, SplitRule};
use normed::files::{Inputs, write_atomically};

use crate::args::{SplitArgs, SplitBy};
use crate::format::grouped;
use crate::output::{print_done, print_warning};
use crate::progress::counting_bar;

/// Divides the rows of a file into train, validation and test splits.
pub fn split(args: &SplitArgs) -> Result<ExitCode> {
    let rule = SplitRule {
        by_group: args.by == SplitBy::Group,
        validate: args.validate,
        test: args.test,
        seed: args.seed,
        compares_pixels: !args.no_pixels,
    };
    let rows = SplitRows::open(&args.data, args.image_root.as_deref())?;
    let mut inputs = Inputs::default();
    inputs.add("the data file", &args.data);
    rows.image_files().for_each(|path| inputs.add("an image of the data", &path));
    inputs.check_file(&args.out, args.overwrite.force)?;
    let images = rows.image_files().count();
    let bar = counting_bar(images, "comparing images");
    let SplitAssignment { lines, sizes, joined } = rows.assign(&rule, &|| bar.inc(1))?;
    bar.finish_and_clear();
    write_atomically(&args.out, |out| out.write_all(lines.as_bytes()))?;
    let sets = match args.by {
        SplitBy::Group => "groups",
        SplitBy::Image => "images",
    };
    for size in sizes {
        let (name, rows) = (size.split.name(), grouped(size.rows));
        let clusters = grouped(size.clusters);
        print_done(&args.out, format_args!("{name:<8}  {rows} rows from {clusters} {sets}"));
    }
    show_joined(&joined, &args.out);
    Ok(ExitCode::SUCCESS)
}

/// Says which names were found to belong together, with an example of each kind.
pub fn show_joined(joined: &JoinedNames, out: &Path) {
    let JoinedNames { aliases, copies, groups, unread } = joined;
    for (pairs, what) in [
        (aliases, "image names lead to a file that has another name already"),
        (copies, "images are copies of another image, pixel by pixel"),
        (groups, "groups share an image with another group"),
    ] {
        if let Some((name, first)) = pairs.first() {
            let n = grouped(pairs.len());
            print_done(out, format_args!("joined    {n} {what} ({name} and {first})"));
        }
    }
    if let Some(first) = unread.first() {
        print_warning(format_args!(
            "{} images could not be read ({first}), so that only their paths were compared",
            grouped(unread.len())
        ));
    }
}
