//! The run directory: whose it is, and what may be done with it.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::event::Outcome;
use crate::files::{CONFIG_LIMIT, TEMPORARY_PREFIX, read_json, read_text, write_atomically};
use crate::recipe::Recipe;
use crate::{Error, Result};

const RECIPE: &str = "recipe.toml";
const METRICS: &str = "metrics.json";
const CHECKPOINT: &str = "checkpoint";

/// A run's directory, this process's alone while it is held.
#[derive(Debug)]
pub(super) struct RunDirectory {
    path: PathBuf,
    /// Locked; the system unlocks it whenever the process ends, however it ends.
    _lock: File,
}

impl RunDirectory {
    /// Makes the directory and writes recipe.toml, or takes up one that a run of the same recipe
    /// left. Nothing of another run's is ever overwritten.
    pub fn open(recipe: &Recipe, resume: bool) -> Result<Self> {
        let (path, text) = (&recipe.output, recipe.to_toml()?);
        fs::create_dir_all(path).map_err(|e| Error::io(path, &e))?;
        let recipe_path = path.join(RECIPE);
        if recipe_path.exists() {
            if !resume {
                return Err(Error::invalid(path.display(), "holds a run already")
                    .with_remedy("go on with it by --resume, or choose another --output"));
            }
            let written = read_text(&recipe_path, CONFIG_LIMIT)?;
            let changed = changed_keys(&written, &text)
                .map_err(|e| Error::invalid(recipe_path.display(), e))?;
            if !changed.is_empty() {
                return Err(Error::invalid(
                    path.display(),
                    format!("the recipe is not the one it began with: {}", changed.join("; ")),
                )
                .with_remedy("resume with the recipe as it was, or choose another --output"));
            }
        } else {
            if entries(path)?.iter().any(|name| !name.starts_with(TEMPORARY_PREFIX)) {
                return Err(Error::invalid(path.display(), "is not empty, and holds no run")
                    .with_remedy("choose another --output"));
            }
            write_atomically(&recipe_path, |out| out.write_all(text.as_bytes()))?;
        }
        let lock = File::open(&recipe_path).map_err(|e| Error::io(&recipe_path, &e))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::invalid(path.display(), "another process is running it"));
            }
            Err(TryLockError::Error(e)) => return Err(Error::io(&recipe_path, &e)),
        }
        let directory = Self { path: path.clone(), _lock: lock };
        sweep(path)?;
        Ok(directory)
    }

    /// The recipe of the run in the directory `path`, if there is a run in it.
    pub fn recipe(path: &Path) -> Result<Option<Recipe>> {
        let path = path.join(RECIPE);
        path.exists().then(|| Recipe::open(&path, &[])).transpose()
    }

    /// A file or directory in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the checkpoint is or will be.
    pub fn checkpoint(&self) -> PathBuf {
        self.path.join(CHECKPOINT).join("checkpoint.safetensors")
    }

    /// Where the states of a frozen prefix are, unless the recipe keeps them elsewhere: beside the
    /// checkpoint, with which they go.
    pub fn states(&self) -> PathBuf {
        self.path.join(CHECKPOINT).join("states")
    }

    /// Makes the directory that the checkpoint stands in.
    pub fn make_checkpoint_directory(&self) -> Result<()> {
        let path = self.path.join(CHECKPOINT);
        fs::create_dir_all(&path).map_err(|e| Error::io(&path, &e))
    }

    /// What came out, if the run is over.
    pub fn outcome(&self) -> Result<Option<Outcome>> {
        let outcome = read_outcome(&self.path)?;
        if outcome.is_some() {
            // The process may have been killed just before it did.
            self.remove_checkpoint()?;
        }
        Ok(outcome)
    }

    /// Ends the run: writes metrics.json, which says that all other files are complete, and then
    /// removes the checkpoint.
    pub fn finish(&self, outcome: &Outcome) -> Result<()> {
        let path = self.path.join(METRICS);
        let mut text =
            serde_json::to_vec_pretty(outcome).map_err(|e| Error::failed(path.display(), e))?;
        text.push(b'\n');
        write_atomically(&path, |out| out.write_all(&text))?;
        self.remove_checkpoint()
    }

    fn remove_checkpoint(&self) -> Result<()> {
        let path = self.path.join(CHECKPOINT);
        match fs::remove_dir_all(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io(&path, &e)),
            _ => Ok(()),
        }
    }
}

/// What came out of the run in the directory `path`, if it is over.
pub fn read_outcome(path: &Path) -> Result<Option<Outcome>> {
    let file = path.join(METRICS);
    if !file.exists() {
        return Ok(None);
    }
    let mut outcome: Outcome = read_json(&file)?;
    outcome.output = path.to_owned();
    Ok(Some(outcome))
}

/// Whether a process is at the run in the directory `path`.
pub fn is_running(path: &Path) -> Result<bool> {
    let file = path.join(RECIPE);
    match File::open(&file) {
        Ok(file) => Ok(matches!(file.try_lock(), Err(TryLockError::WouldBlock))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io(&file, &error)),
    }
}

/// The names in a directory.
fn entries(path: &Path) -> Result<Vec<String>> {
    let read = || -> std::io::Result<Vec<String>> {
        fs::read_dir(path)?.map(|e| Ok(e?.file_name().to_string_lossy().into_owned())).collect()
    };
    read().map_err(|e| Error::io(path, &e))
}

/// Removes what a killed process was writing, in the directory and below it.
fn sweep(path: &Path) -> Result<()> {
    for name in entries(path)? {
        let entry = path.join(&name);
        if name.starts_with(TEMPORARY_PREFIX) {
            fs::remove_file(&entry).map_err(|e| Error::io(&entry, &e))?;
        } else if entry.is_dir() {
            sweep(&entry)?;
        }
    }
    Ok(())
}

/// The keys in which two recipes differ, with both values; those of no effect on what comes out,
/// where the run directory is and what is cached, do not count.
fn changed_keys(before: &str, now: &str) -> Result<Vec<String>, toml::de::Error> {
    let (mut before, mut now): (Table, Table) = (toml::from_str(before)?, toml::from_str(now)?);
    for key in ["output", "cache"] {
        before.remove(key);
        now.remove(key);
    }
    let mut changed = Vec::new();
    compare("", &before, &now, &mut changed);
    Ok(changed)
}

fn compare(prefix: &str, before: &Table, now: &Table, changed: &mut Vec<String>) {
    let mut keys: Vec<&String> = before.keys().chain(now.keys()).collect();
    keys.sort();
    keys.dedup();
    for key in keys {
        let name = format!("{prefix}{key}");
        match (before.get(key), now.get(key)) {
            (Some(Value::Table(before)), Some(Value::Table(now))) => {
                compare(&format!("{name}."), before, now, changed);
            }
            (before, now) if before != now => {
                let show = |value: Option<&Value>| {
                    value.map_or_else(|| "absent".to_owned(), ToString::to_string)
                };
                changed.push(format!("{name} was {}, is {}", show(before), show(now)));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differing_keys_are_named_with_both_values() {
        let before = "seed = 1\noutput = 'a'\n[train]\nlr = 0.1\nepochs = 2\n";
        let now = "seed = 1\noutput = 'b'\nimage_size = 96\n[train]\nlr = 0.2\nepochs = 2\n";
        assert_eq!(
            changed_keys(before, now).unwrap(),
            ["image_size was absent, is 96", "train.lr was 0.1, is 0.2"]
        );
    }
}
