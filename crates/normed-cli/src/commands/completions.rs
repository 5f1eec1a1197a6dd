//! `normed completions` and `normed man`: what is generated from the arguments themselves.

use std::fs;
use std::io;
use std::process::ExitCode;

use clap::CommandFactory;
use normed::files::{Inputs, write_atomically};
use normed::{Error, Result};

use crate::args::{Args, CompletionsArgs, ManArgs};
use crate::output::{print_out, print_text};

/// Prints the script that completes commands and options in a shell.
pub fn completions(args: &CompletionsArgs) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "normed", &mut script);
    print_out(String::from_utf8_lossy(&script).trim_end());
    Ok(ExitCode::SUCCESS)
}

/// Writes the manual pages: `normed.1` and one for each command.
pub fn man(args: &ManArgs) -> Result<ExitCode> {
    let directory = &args.directory;
    fs::create_dir_all(directory).map_err(|e| Error::io(directory, &e))?;
    let mut command = Args::command().disable_help_subcommand(true);
    command.build();
    let mut pages = Vec::new();
    render_pages(&command, &mut pages).map_err(|e| Error::failed(directory.display(), e))?;
    for (name, _) in &pages {
        Inputs::default().check_file(&directory.join(name), args.overwrite.force)?;
    }
    for (name, page) in pages {
        write_atomically(&directory.join(name), |out| out.write_all(&page))?;
    }
    print_text(format_args!("manual pages are in {}", directory.display()));
    Ok(ExitCode::SUCCESS)
}

/// Adds the pages of `command` and its subcommands to `pages`: the name of each file, and its text.
fn render_pages(command: &clap::Command, pages: &mut Vec<(String, Vec<u8>)>) -> io::Result<()> {
    for subcommand in command.get_subcommands().filter(|command| !command.is_hide_set()) {
        render_pages(subcommand, pages)?;
    }
    let page = clap_mangen::Man::new(command.clone());
    let mut text = Vec::new();
    page.render(&mut text)?;
    pages.push((page.get_filename(), text));
    Ok(())
}
