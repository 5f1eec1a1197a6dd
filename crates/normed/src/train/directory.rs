//! The run directory: its files, its lock, and the rule that no other run's files are overwritten.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::event::Outcome;
use super::provenance::Provenance;
use crate::files::{
    CONFIG_LIMIT, TEMPORARY_PREFIX, create_private_directory, read_json, read_text,
    write_atomically,
};
use crate::recipe::Recipe;
use crate::{Error, Result};

const RECIPE: &str = "recipe.toml";
const METRICS: &str = "metrics.json";
const CHECKPOINT: &str = "checkpoint";

/// The directory of a run. No other process can open it as such while this value exists.
#[derive(Debug)]
pub(super) struct RunDirectory {
    path: PathBuf,
    /// Whether this process made the directory a run's.
    is_new: bool,
    /// A locked file. The system unlocks it when the process ends, even if it is killed.
    _lock: File,
}

impl RunDirectory {
    /// Makes the directory and writes recipe.toml, or opens the directory of a run to `resume`. Fails if
    /// the directory holds another run or other files.
    pub fn open(recipe: &Recipe, provenance: &Provenance, resume: bool) -> Result<Self> {
        let (path, text) = (&recipe.output, recipe.to_toml()?);
        create_private_directory(path)?;
        let recipe_path = path.join(RECIPE);
        let is_new = !recipe_path.exists();
        if !is_new {
            if !resume {
                return Err(Error::invalid(path.display(), "it already contains a run").with_remedy(
                    "continue that run with --resume, choose another --output, or remove the folder",
                ));
            }
            let written = read_text(&recipe_path, CONFIG_LIMIT)?;
            let changed = changed_keys(&written, &text)
                .map_err(|e| Error::invalid(recipe_path.display(), e))?;
            if !changed.is_empty() {
                return Err(Error::invalid(
                    path.display(),
                    format!("the recipe differs from that of the run: {}", changed.join("; ")),
                )
                .with_remedy("resume with the original recipe, or choose another --output"));
            }
        } else {
            if entries(path)?.iter().any(|name| !name.starts_with(TEMPORARY_PREFIX)) {
                return Err(Error::invalid(path.display(), "it is not empty, and contains no run")
                    .with_remedy("choose another --output"));
            }
            let text = provenance.to_toml_comments() + &text;
            write_atomically(&recipe_path, |out| out.write_all(text.as_bytes()))?;
        }
        let lock = File::open(&recipe_path).map_err(|e| Error::io(&recipe_path, &e))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::invalid(path.display(), "another process is running this run"));
            }
            Err(TryLockError::Error(e)) => return Err(Error::io(&recipe_path, &e)),
        }
        let directory = Self { path: path.clone(), is_new, _lock: lock };
        remove_temporary_files(path)?;
        Ok(directory)
    }

    /// Whether this process made the directory a run's.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// Removes a run that ended in an error before it logged anything, so that it can be started again with a
    /// corrected recipe or corrected data. What cannot be removed stays: the run's own error is the one to report.
    pub fn remove_unstarted(path: &Path) {
        let is_unstarted =
            |names: Vec<String>| names.iter().all(|name| name == RECIPE || name == CHECKPOINT);
        if entries(path).is_ok_and(is_unstarted) {
            let _ = fs::remove_dir_all(path.join(CHECKPOINT));
            let _ = fs::remove_file(path.join(RECIPE));
            let _ = fs::remove_dir(path);
        }
    }

    /// Removes a run that this process started and that failed before its first step, with what it logged.
    pub fn remove_new(path: &Path) {
        let _ = fs::remove_dir_all(path);
    }

    /// The recipe of the run in the directory `path`, if it contains a run.
    pub fn recipe(path: &Path) -> Result<Option<Recipe>> {
        let path = path.join(RECIPE);
        path.exists().then(|| Recipe::open(&path, &[])).transpose()
    }

    /// The path of the file or directory `name` in the directory.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The path of the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of the checkpoint, which may not exist yet.
    pub fn checkpoint(&self) -> PathBuf {
        self.path.join(CHECKPOINT).join("checkpoint.safetensors")
    }

    /// The path of the record of the run's images, which is deleted with the checkpoint.
    pub fn image_record(&self) -> PathBuf {
        self.path.join(CHECKPOINT).join("images.jsonl")
    }

    /// The path of the feature cache, unless the recipe sets another. It is deleted with the checkpoint.
    pub fn feature_cache(&self) -> PathBuf {
        self.path.join(CHECKPOINT).join("states")
    }

    /// Makes the checkpoint's directory.
    pub fn make_checkpoint_directory(&self) -> Result<()> {
        let path = self.path.join(CHECKPOINT);
        create_private_directory(&path)
    }

    /// The run's results, if it is complete.
    pub fn outcome(&self) -> Result<Option<Outcome>> {
        let outcome = read_outcome(&self.path)?;
        if outcome.is_some() {
            // A process may have been killed between writing the results and removing the checkpoint.
            self.remove_checkpoint()?;
        }
        Ok(outcome)
    }

    /// Completes the run: writes metrics.json, whose existence means that all other files are complete, and
    /// then removes the checkpoint.
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

/// Reads the results of the run in the directory `path`; none if the run is not complete.
///
/// # Errors
///
/// If the directory's `metrics.json` cannot be read.
pub fn read_outcome(path: &Path) -> Result<Option<Outcome>> {
    let file = path.join(METRICS);
    if !file.exists() {
        return Ok(None);
    }
    let mut outcome: Outcome = read_json(&file)?;
    outcome.output = path.to_owned();
    Ok(Some(outcome))
}

/// Whether the directory `path` holds a run, which can be continued.
pub fn holds_run(path: &Path) -> bool {
    path.join(RECIPE).exists()
}

/// Whether a process is running the run in the directory `path`.
///
/// # Errors
///
/// If the directory's `recipe.toml` exists and cannot be opened.
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

/// Removes files that a killed process was writing, in the directory and below it.
fn remove_temporary_files(path: &Path) -> Result<()> {
    for name in entries(path)? {
        let entry = path.join(&name);
        if name.starts_with(TEMPORARY_PREFIX) {
            fs::remove_file(&entry).map_err(|e| Error::io(&entry, &e))?;
        } else if entry.is_dir() {
            remove_temporary_files(&entry)?;
        }
    }
    Ok(())
}

/// The keys in which two recipes differ, with both values. `output` and `[cache]`, which do not affect the
/// results, are ignored.
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
    fn changed_keys_are_named_with_both_values() {
        let before = "seed = 1\noutput = 'a'\n[train]\nlr = 0.1\nepochs = 2\n";
        let now = "seed = 1\noutput = 'b'\nimage_size = 96\n[train]\nlr = 0.2\nepochs = 2\n";
        assert_eq!(
            changed_keys(before, now).unwrap(),
            ["image_size was absent, is 96", "train.lr was 0.1, is 0.2"]
        );
    }
}
