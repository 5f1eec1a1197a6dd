//! `normed completions` and `normed man`: what is generated from the arguments themselves.

use std::fs;
use std::process::ExitCode;

use clap::CommandFactory;
use normed::{Error, Result};

use crate::args::{Args, CompletionsArgs, ManArgs};
use crate::output::print_out;

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
    clap_mangen::generate_to(Args::command().disable_help_subcommand(true), directory)
        .map_err(|e| Error::io(directory, &e))?;
    print_out(format_args!("manual pages are in {}", directory.display()));
    Ok(ExitCode::SUCCESS)
}
