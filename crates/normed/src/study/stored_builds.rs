//! The outcomes in a study's directory, by the build of normed that stored them.
//!
//! A file name is an address: a hash of everything but the code, a hyphen, and the start of the hash of the
//! code. So outcomes of another build are found, and are never mistaken for those of this one.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;

use crate::build::{FULL_VERSION, SOURCE_HASH};
use crate::files::{CONFIG_LIMIT, read_text};
use crate::train::read_outcome;
use crate::{Error, Result};

/// Digits of an address that stand for the code.
const BUILD_DIGITS: usize = 8;

/// Before the version, in the first line of a task's recipe file.
const STORED_BY: &str = "# stored by normed ";

/// The outcomes of other builds in one directory.
#[derive(Debug, Default)]
pub(super) struct StoredBuilds {
    /// For each content hash, the newest outcome: its time, its address, and the version of the build.
    newest: BTreeMap<String, (SystemTime, String, String)>,
}

/// The address of an outcome with this content hash, computed by this build.
pub(super) fn own_address(content: &str) -> String {
    format!("{content}-{}", &SOURCE_HASH[..BUILD_DIGITS])
}

/// The first line of a task's recipe file.
pub(super) fn stored_by_line() -> String {
    format!("{STORED_BY}{FULL_VERSION}\n")
}

impl StoredBuilds {
    /// Lists the outcomes of other builds in `directory`: run directories, and files of predictions.
    pub fn read(directory: &Path) -> Result<Self> {
        let mut stored = Self::default();
        if !directory.exists() {
            return Ok(stored);
        }
        let failed = |e: std::io::Error| Error::io(directory, &e);
        for entry in std::fs::read_dir(directory).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let is_predictions = path.extension().is_some_and(|ending| ending == "jsonl");
            let Some(address) = path.file_stem().and_then(|stem| stem.to_str()) else { continue };
            let Some((content, build)) = address.split_once('-') else { continue };
            let is_own = SOURCE_HASH.starts_with(build);
            if is_own || build.len() != BUILD_DIGITS {
                continue;
            }
            let is_run = path.is_dir() && read_outcome(&path)?.is_some();
            if !is_run && !is_predictions {
                continue;
            }
            let time = path.metadata().and_then(|data| data.modified()).map_err(failed)?;
            let found = (time, address.to_owned(), version_of(&path)?);
            let newest = stored.newest.entry(content.to_owned()).or_insert_with(|| found.clone());
            if found > *newest {
                *newest = found;
            }
        }
        Ok(stored)
    }

    /// The newest outcome of another build with this content hash: its address, and the build's version.
    pub fn newest(&self, content: &str) -> Option<(&str, &str)> {
        self.newest.get(content).map(|(_, address, version)| (address.as_str(), version.as_str()))
    }
}

/// The version of the build that stored an outcome, from the recipe file next to it.
fn version_of(outcome: &Path) -> Result<String> {
    let recipe = outcome.with_extension("toml");
    let text = if recipe.exists() { read_text(&recipe, CONFIG_LIMIT)? } else { String::new() };
    let version = text.lines().next().and_then(|line| line.strip_prefix(STORED_BY));
    Ok(version.unwrap_or("an unknown version").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn predictions_of_other_builds_are_found_by_their_content() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write("abc-00000001.jsonl", "");
        write("abc-00000001.toml", "# stored by normed 0.1.9 (0123456789, 2026-11-30)\nseed = 1\n");
        write("abc-00000001_blind.jsonl", "");
        write(&format!("{}.jsonl", own_address("def")), "");
        write("old.jsonl", "");
        // A run without an outcome was never finished.
        std::fs::create_dir(dir.path().join("ghi-00000001")).unwrap();
        let stored = StoredBuilds::read(dir.path()).unwrap();
        let want = Some(("abc-00000001", "0.1.9 (0123456789, 2026-11-30)"));
        assert_eq!(stored.newest("abc"), want);
        assert_eq!(["def", "old", "ghi"].map(|content| stored.newest(content)), [None; 3]);
        assert!(StoredBuilds::read(&dir.path().join("absent")).unwrap().newest("abc").is_none());
    }
}
