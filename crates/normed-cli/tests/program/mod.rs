//! Runs the program in a folder.

use std::path::Path;
use std::process::{Command, Output};

pub fn normed(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_normed")).args(args).current_dir(dir).output().unwrap()
}

/// Standard output and standard error of a command that succeeds.
#[track_caller]
pub fn succeeds(dir: &Path, args: &[&str]) -> (String, String) {
    let output = normed(dir, args);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success(), "{args:?}: {stderr}");
    (stdout, stderr)
}
