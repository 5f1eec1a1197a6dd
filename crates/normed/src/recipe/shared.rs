//! A recipe as others may read it: without the paths of this machine.

use std::fmt::Display;
use std::path::Path;

use toml::{Table, Value};

use super::Recipe;
use crate::hub::shared_name;
use crate::{Error, Result};

impl Recipe {
    /// The recipe as TOML for others: as [`Recipe::to_toml`], but each folder and file by its [`shared_name`], and
    /// without the run's directory.
    ///
    /// # Errors
    /// As [`Recipe::to_toml`].
    pub fn to_shared_toml(&self) -> Result<String> {
        let failed = |error: &dyn Display| Error::failed("recipe", error);
        let mut table: Table = self.to_toml()?.parse().map_err(|error| failed(&error))?;
        table.remove("output");
        table.iter_mut().for_each(|(key, value)| shorten_paths(key, value));
        toml::to_string(&table).map_err(|error| failed(&error))
    }
}

/// Replaces absolute paths, which all paths are once a recipe is open, by their names.
fn shorten_paths(key: &str, value: &mut Value) {
    match value {
        // A prompt that begins with a slash is no path.
        Value::String(text) if key != "prompt" && Path::new(text.as_str()).is_absolute() => {
            *text = shared_name(Path::new(text.as_str()));
        }
        Value::Table(table) => {
            table.iter_mut().for_each(|(key, value)| shorten_paths(key, value));
        }
        Value::Array(values) => values.iter_mut().for_each(|value| shorten_paths(key, value)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_shared_recipe_has_no_path() {
        let dir = tempfile::tempdir().unwrap();
        let secret = dir.path().join("secret");
        fs::create_dir_all(secret.join("model")).unwrap();
        fs::write(secret.join("rows.jsonl"), "").unwrap();
        let text = "model = \"secret/model\"\noutput = \"secret/run\"\n[data]\nname = \"jsonl\"\n\
                    file = \"secret/rows.jsonl\"\nimage_root = \"secret\"\ntask = \"report\"\n\
                    prompt = \"/describe/it\"\n[tuning]\nmethod = \"layer_norm\"\n\
                    [cache]\nplace = \"secret/cache\"\n";
        let path = dir.path().join("r.toml");
        fs::write(&path, text).unwrap();
        let recipe = Recipe::open(&path, &[]).unwrap();
        let shared = recipe.to_shared_toml().unwrap();
        assert!(recipe.to_toml().unwrap().contains("/secret/"), "the test shows nothing");
        for wrong in ["secret/", "output", dir.path().to_str().unwrap()] {
            assert!(!shared.contains(wrong), "{wrong} in\n{shared}");
        }
        for kept in ["model = \"model\"", "file = \"rows.jsonl\"", "prompt = \"/describe/it\""] {
            assert!(shared.contains(kept), "no {kept} in\n{shared}");
        }
    }
}
