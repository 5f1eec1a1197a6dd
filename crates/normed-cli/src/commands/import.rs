//! `normed import`.

use std::process::ExitCode;

use normed::Result;
use normed::data::{
    ChosenColumn, Import, ImportColumns, ImportOptions, ImportSummary, Imported, SplitRule,
};
use normed::files::{Inputs, write_atomically};

use super::split::show_joined;
use crate::args::ImportArgs;
use crate::format::{columns, counted, grouped};
use crate::output::{print_about, print_err, print_warning};
use crate::progress::counting_bar;

/// How many bad rows are listed.
const LISTED: usize = 10;

/// How many characters of the longest question are shown.
const SHOWN: usize = 60;

/// Makes the rows of a data set from a spreadsheet and a folder of images.
pub fn import(args: &ImportArgs) -> Result<ExitCode> {
    let mut inputs = Inputs::default();
    inputs.add("the table", &args.file);
    inputs.check_file(&args.out, args.overwrite.force)?;
    let import = Import::open(options(args))?;
    import.image_files().for_each(|path| inputs.add("an image of the data", &path));
    inputs.check_file(&args.out, args.overwrite.force)?;
    let makes_splits = !import.has_splits();
    let bar = match makes_splits && !args.no_pixels {
        true => counting_bar(import.image_files().count(), "comparing images"),
        false => indicatif::ProgressBar::hidden(),
    };
    let imported = import.finish(&|| bar.inc(1))?;
    bar.finish_and_clear();
    write_atomically(&args.out, |out| out.write_all(imported.lines.as_bytes()))?;
    show(args, &imported, makes_splits);
    Ok(ExitCode::SUCCESS)
}

fn options(args: &ImportArgs) -> ImportOptions {
    ImportOptions {
        file: args.file.clone(),
        out: args.out.clone(),
        image_root: args.image_root.clone(),
        columns: ImportColumns {
            image: args.image.clone(),
            question: args.question.clone(),
            answer: args.answer.clone(),
            answer_type: args.answer_type.clone(),
            report: args.report.clone(),
            group: args.group.clone(),
            split: args.split.clone(),
            id: args.id.clone(),
            wide: args.wide.clone(),
            keep: args.keep.clone(),
        },
        sheet: args.sheet.clone(),
        delimiter: args.delimiter,
        encoding: args.encoding.clone(),
        skip_bad: args.skip_bad,
        split: SplitRule {
            by_group: true,
            validate: args.validate,
            test: args.test,
            seed: args.seed,
            compares_pixels: !args.no_pixels,
        },
    }
}

fn show(args: &ImportArgs, imported: &Imported, makes_splits: bool) {
    let say = |line: &str| print_about(&args.out, line);
    imported.columns.iter().for_each(|column| say(&column_line(column)));
    imported.notes.iter().for_each(|note| say(note));
    if !imported.unused.is_empty() {
        let names: Vec<_> = imported.unused.iter().map(|name| format!("`{name}`")).collect();
        say(&format!("left out: {} (--keep COLUMN copies a column)", names.join(", ")));
    }
    if !imported.bad_rows.is_empty() {
        let rows = if imported.bad_rows.len() == 1 { "row is" } else { "rows are" };
        print_warning(format_args!("{} {rows} left out:", grouped(imported.bad_rows.len())));
        for (place, cause) in imported.bad_rows.iter().take(LISTED) {
            print_err(format_args!("  {place}: {cause}"));
        }
        if imported.bad_rows.len() > LISTED {
            print_err(format_args!("  and {} more", grouped(imported.bad_rows.len() - LISTED)));
        }
    }
    imported.warnings.iter().for_each(print_warning);
    if let Some(summary) = &imported.summary {
        if makes_splits {
            let by = if summary.groups > 0 { "group" } else { "image" };
            let percent = |part: f64| format!("{} %", (100.0 * part).round());
            say(&format!(
                "splits: made by {by}, {} validate and {} test, seed {}",
                percent(args.validate),
                percent(args.test),
                args.seed
            ));
        }
        say(&format!("\n{}\n", table(summary)));
        say(&content_line(summary));
    }
    if let Some(joined) = &imported.joined {
        show_joined(joined, &args.out);
    }
    say(&format!("the rows are in {}", args.out.display()));
}

fn column_line(column: &ChosenColumn) -> String {
    let ChosenColumn { role, name, is_guessed, others } = column;
    let others: Vec<_> = others.iter().map(|other| format!("`{other}`")).collect();
    let guessed = match (is_guessed, others.is_empty()) {
        (false, _) => String::new(),
        (true, true) => ", guessed".to_owned(),
        (true, false) => format!(", guessed; it could also be {}", others.join(" or ")),
    };
    format!("{role}: column `{name}`{guessed}")
}

/// Rows, images and groups by split.
fn table(summary: &ImportSummary) -> String {
    let has_groups = summary.groups > 0;
    let line = |name: &str, rows: usize, images: usize, groups: usize| {
        let mut cells = vec![name.to_owned(), grouped(rows), grouped(images)];
        cells.extend(has_groups.then(|| grouped(groups)));
        cells
    };
    let mut rows = vec![["split", "rows", "images", "groups"].map(str::to_owned).to_vec()];
    rows[0].truncate(3 + usize::from(has_groups));
    for split in &summary.splits {
        rows.push(line(split.split.name(), split.rows, split.images, split.groups));
    }
    rows.push(line("all", summary.rows, summary.images, summary.groups));
    columns(&rows, 1)
}

fn content_line(summary: &ImportSummary) -> String {
    let ImportSummary { answers, closed, open, longest, is_report, .. } = summary;
    let length = counted(longest.chars().count(), "character");
    let start: String = longest.chars().take(SHOWN).collect();
    let start = start.split_whitespace().collect::<Vec<_>>().join(" ");
    let dots = if longest.chars().count() > SHOWN { "..." } else { "" };
    match is_report {
        true => format!("longest report: {length} (\"{start}{dots}\")"),
        false => format!(
            "{}; {} and {}\nlongest question: {length} \
             (\"{start}{dots}\")",
            counted(*answers, "different answer"),
            counted(*closed, "closed question"),
            counted(*open, "open question"),
        ),
    }
}
