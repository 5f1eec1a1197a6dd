//! The outcomes in a study's directory, by the build of normed that stored them.
//!
//! A name ends with an address: a hash of everything but the code, a hyphen, and the start of the hash of the
//! code. So outcomes of another build are found, and are never mistaken for those of this one. What stands before
//! the address tells people what it is, and does not count.

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

/// The outcomes in one directory.
#[derive(Debug, Default)]
pub(super) struct StoredBuilds {
    /// The name of the run directory or of the file of predictions for each address, begun or complete.
    names: BTreeMap<String, String>,
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
    /// Lists the outcomes in `directory`: run directories, and files of predictions.
    pub fn read(directory: &Path) -> Result<Self> {
        let mut stored = Self::default();
        if !directory.exists() {
            return Ok(stored);
        }
        let failed = |e: std::io::Error| Error::io(directory, &e);
        for entry in std::fs::read_dir(directory).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let is_predictions = path.extension().is_some_and(|ending| ending == "jsonl");
            let Some(name) = path.file_stem().and_then(|stem| stem.to_str()) else { continue };
            let Some((content, build)) = split_name(name) else { continue };
            if !path.is_dir() && !is_predictions {
                continue;
            }
            let address = format!("{content}-{build}");
            stored.names.insert(address.clone(), name.to_owned());
            if SOURCE_HASH.starts_with(build) || path.is_dir() && read_outcome(&path)?.is_none() {
                continue;
            }
            let time = path.metadata().and_then(|data| data.modified()).map_err(failed)?;
            let found = (time, address, version_of(&path)?);
            let newest = stored.newest.entry(content.to_owned()).or_insert_with(|| found.clone());
            if found > *newest {
                *newest = found;
            }
        }
        Ok(stored)
    }

    /// The name of the outcome with this address: the one that it has, or else `label` and the address.
    pub fn name_of(&self, address: &str, label: &str) -> String {
        self.names.get(address).cloned().unwrap_or_else(|| format!("{label}-{address}"))
    }

    /// Gives the outcome with this address its name, unless it has one. Two methods of a study that are the same
    /// under two names share an outcome, which has the first name.
    pub fn reserve(&mut self, address: &str, label: &str) {
        let name = self.name_of(address, label);
        self.names.insert(address.to_owned(), name);
    }

    /// The newest outcome of another build with this content hash: its address, and the build's version.
    pub fn newest(&self, content: &str) -> Option<(&str, &str)> {
        self.newest.get(content).map(|(_, address, version)| (address.as_str(), version.as_str()))
    }
}

/// The hashes of content and code at the end of a name; none if it has no address.
fn split_name(name: &str) -> Option<(&str, &str)> {
    let (rest, build) = name.rsplit_once('-')?;
    let content = rest.rsplit_once('-').map_or(rest, |(_, content)| content);
    let is_hash = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_hexdigit());
    (build.len() == BUILD_DIGITS && is_hash(build) && is_hash(content)).then_some((content, build))
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
        write("lora-seed1-lr1e-3-abd-00000001.jsonl", "");
        let own = own_address("def");
        write(&format!("lora-seed1-on-b-{own}.jsonl"), "");
        write("old.jsonl", "");
        // A run without an outcome was never finished.
        std::fs::create_dir(dir.path().join("full-seed1-acc-00000001")).unwrap();
        let mut stored = StoredBuilds::read(dir.path()).unwrap();
        let want = Some(("abc-00000001", "0.1.9 (0123456789, 2026-11-30)"));
        assert_eq!(stored.newest("abc"), want);
        assert_eq!(stored.newest("abd"), Some(("abd-00000001", "an unknown version")));
        assert_eq!(["def", "old", "acc"].map(|content| stored.newest(content)), [None; 3]);
        // What is there keeps its name, whatever it is called today.
        assert_eq!(stored.name_of("abc-00000001", "new"), "abc-00000001");
        assert_eq!(stored.name_of(&own, "new"), format!("lora-seed1-on-b-{own}"));
        assert_eq!(stored.name_of("acc-00000001", "new"), "full-seed1-acc-00000001");
        assert_eq!(stored.name_of("aff-00000001", "new"), "new-aff-00000001");
        stored.reserve("aff-00000001", "new");
        stored.reserve("aff-00000001", "twin");
        assert_eq!(stored.name_of("aff-00000001", "other"), "new-aff-00000001");
        assert!(StoredBuilds::read(&dir.path().join("absent")).unwrap().newest("abc").is_none());
    }
}
