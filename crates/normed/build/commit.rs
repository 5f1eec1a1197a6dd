//! Finds the commit of a directory with git.

use std::path::Path;
use std::process::Command;

/// The newest commit that changes one of `paths` (relative to the repository's root, which must be
/// `root`): its hash in ten digits, with `-dirty` behind it where files there are not committed, and its
/// date as `2026-11-30`. None where git is missing or `root` is not the root of a repository.
pub fn newest(root: &Path, paths: &[&str]) -> Option<(String, String)> {
    let root = root.canonicalize().ok()?;
    // An archive unpacked inside another project's repository is not that project's commit.
    let top = git(&root, &["rev-parse", "--show-toplevel"])?;
    if Path::new(&top).canonicalize().ok()? != root {
        return None;
    }
    let log = ["log", "-1", "--abbrev=10", "--format=%h %cs", "--"];
    let line = git(&root, &[&log[..], paths].concat())?;
    let (commit, date) = line.split_once(' ')?;
    let changed = git(&root, &[&["status", "--porcelain", "--"], paths].concat())?;
    let dirty = if changed.is_empty() { "" } else { "-dirty" };
    Some((format!("{commit}{dirty}"), date.to_owned()))
}

/// What git prints; none where it fails.
fn git(root: &Path, args: &[&str]) -> Option<String> {
    let output = Command::new("git").arg("-C").arg(root).args(args).output().ok()?;
    let text = output.status.success().then(|| String::from_utf8(output.stdout).ok())??;
    Some(text.trim().to_owned())
}
