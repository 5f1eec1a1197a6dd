//! `normed fetch`.

use std::collections::BTreeMap;
use std::process::ExitCode;

use indicatif::ProgressBar;
use normed::Result;
use normed::hub::{
    self, Event, FetchOptions, Fetched, LeftOutFile, LeftOutReason, ListedFile, RepoKind, Settings,
};
use serde_json::json;

use crate::args::FetchArgs;
use crate::format::{bytes, columns, duration, grouped, quoted};
use crate::interrupt;
use crate::output::{print_err, print_out, print_text, print_warning, verbosity};
use crate::progress::bytes_bar;

/// Fetches a model or a data set.
pub fn fetch(args: &FetchArgs) -> Result<ExitCode> {
    let kind = if args.dataset { RepoKind::Dataset } else { RepoKind::Model };
    let options = FetchOptions {
        revision: args.revision.clone(),
        include: args.include.clone(),
        output: args.output.clone(),
        overwrite: args.force,
        stop: interrupt::flag("stopping; press Ctrl-C again to abort at once")?,
        ..FetchOptions::new(kind, args.name.parse()?)
    };
    let mut progress = Progress { bar: ProgressBar::hidden(), done: 0 };
    let fetched = hub::fetch(&Settings::from_env()?, &options, &mut |event| progress.show(event));
    progress.bar.finish_and_clear();
    let Some(fetched) = fetched? else {
        print_err("stopped; the same command continues from here");
        return Ok(ExitCode::from(interrupt::STOPPED));
    };
    if args.format.json {
        print_out(json!({ "event": "fetched", "fetched": fetched }));
    } else if verbosity().quiet {
        print_out(fetched.directory.display());
    } else {
        print_text(summary(&fetched));
        print_out(fetched.directory.display());
        print_text(next(&fetched, &options));
    }
    Ok(ExitCode::SUCCESS)
}

/// Shows the events of a fetch.
struct Progress {
    bar: ProgressBar,
    /// Bytes of files that are finished.
    done: u64,
}

impl Progress {
    fn show(&mut self, event: &Event) {
        if verbosity().json {
            // There can be millions of pieces.
            if !matches!(event, Event::Received { .. }) {
                print_out(json!(event));
            }
            return;
        }
        match event {
            Event::Listed { files, .. } => {
                if !verbosity().quiet {
                    print_out(listing(event));
                    self.bar = bytes_bar(total(files));
                }
            }
            Event::LittleSpace { needed, free } => {
                let (needed, free) = (size(*needed), size(*free));
                self.warn(&format!(
                    "up to {needed} will be fetched, but only {free} of disk space are free"
                ));
            }
            Event::Received { path, at } => {
                if self.bar.message() != *path {
                    self.bar.set_message(path.clone());
                }
                self.bar.set_position(self.done + at);
            }
            Event::Finished { path, size: length, was_here, checked } => {
                self.done += length;
                self.bar.set_position(self.done);
                if *was_here {
                    self.bar.reset_eta();
                }
                if self.bar.is_hidden() && !verbosity().quiet {
                    let how = match (was_here, checked) {
                        (true, true) => "already here, checksum verified",
                        (true, false) => "already here",
                        (false, true) => "checksum verified",
                        (false, false) => "no checksum to verify",
                    };
                    print_text(format_args!("{path}: {}, {how}", size(*length)));
                }
            }
            Event::Differs { place } => self.warn(&format!(
                "{} differs from the file on the hub and is fetched again",
                place.display()
            )),
            Event::Locked { path } => {
                self.warn(&format!("{path} is being fetched by another process; waiting"));
            }
            Event::Waiting { place, cause, seconds } => {
                self.warn(&format!("{place}: {cause}; trying again in {}", duration(*seconds)));
            }
        }
    }

    fn warn(&self, text: &str) {
        self.bar.suspend(|| print_warning(text));
    }
}

/// The repository with its license, and the files to fetch with their sizes.
fn listing(event: &Event) -> String {
    let Event::Listed { id, commit, license, gated, files, left_out } = event else {
        return String::new();
    };
    let gated = if *gated { "; you have to accept its terms" } else { "" };
    let license = license_named(license.as_deref());
    let row = |file: &ListedFile| {
        let size = file.size.map_or_else(|| "?".to_owned(), size);
        vec![format!("  {}", file.path), size]
    };
    let rows = columns(&files.iter().map(row).collect::<Vec<_>>(), 1);
    format!(
        "{id} at {commit}, license: {license}{gated}\n{rows}\n{}{}",
        counted(files),
        listing_of_left_out(left_out)
    )
}

/// A line for each reason why files are not fetched, with the names of those that could matter.
fn listing_of_left_out(left_out: &[LeftOutFile]) -> String {
    const NAMED: usize = 6;
    let mut by_reason: BTreeMap<LeftOutReason, Vec<ListedFile>> = BTreeMap::new();
    for LeftOutFile { file, reason } in left_out {
        by_reason.entry(*reason).or_default().push(file.clone());
    }
    let mut lines = String::new();
    for (reason, files) in by_reason {
        lines.push_str("\nnot fetched: ");
        if let Some(text) = reason.text() {
            let names: Vec<_> = files.iter().take(NAMED).map(|file| file.path.as_str()).collect();
            let more = files.len() - names.len();
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            lines.push_str(&format!(
                "{}{more} ({}): {text}",
                names.join(", "),
                size(total(&files))
            ));
        } else {
            lines.push_str(&format!("{} (choose files with --include)", counted(&files)));
        }
    }
    lines
}

fn total(files: &[ListedFile]) -> u64 {
    files.iter().filter_map(|file| file.size).sum()
}

/// `12 files, 14.10 GiB`.
fn counted(files: &[ListedFile]) -> String {
    let s = if files.len() == 1 { "" } else { "s" };
    format!("{} file{s}, {}", grouped(files.len()), size(total(files)))
}

fn size(n: u64) -> String {
    bytes(usize::try_from(n).unwrap_or(usize::MAX))
}

fn license_named(license: Option<&str>) -> &str {
    license.unwrap_or("none is stated; ask its authors whether you may use it")
}

fn summary(fetched: &Fetched) -> String {
    let Some(online) = &fetched.online else {
        let id = &fetched.id;
        return format!("offline: {id} is taken from the cache; nothing was verified");
    };
    let s = if online.files == 1 { "" } else { "s" };
    let checked = match online.unchecked {
        0 => "checksums verified".to_owned(),
        n => format!("{n} of them without a checksum to verify"),
    };
    let license = license_named(online.license.as_deref());
    format!("{} file{s}, {}, {checked}\nlicense: {license}", online.files, size(online.bytes))
}

/// The command or recipe that uses what was fetched.
fn next(fetched: &Fetched, options: &FetchOptions) -> String {
    let name = match (&options.output, &options.revision) {
        (Some(output), _) => output.display().to_string(),
        (None, Some(revision)) => format!("{}@{revision}", fetched.id),
        (None, None) => fetched.id.to_string(),
    };
    match fetched.kind {
        RepoKind::Model => format!("next: normed inspect {}", quoted(&name)),
        RepoKind::Dataset => {
            format!("next: in a recipe,\n  [data]\n  name = \"parquet\"\n  root = {}", json!(name))
        }
    }
}
