//! Opening a recipe file, and writing a recipe as TOML.

use std::path::Path;

use super::document::Document;
use super::read;
use super::section::Section;
use super::spec::Recipe;
use crate::tuning::Tuning;
use crate::{Error, Result};

impl Recipe {
    /// Reads the recipe at `path`, overridden by `key=value` settings.
    ///
    /// A path in the recipe is relative to the recipe, a path in a setting to the current directory; both
    /// become absolute.
    ///
    /// # Errors
    /// If the file cannot be read, or with all mistakes of the recipe as one error: each with its line or
    /// setting, its key, and the most similar valid name.
    pub fn open(path: &Path, settings: &[String]) -> Result<Self> {
        let document = Document::open(path, settings)?;
        let name = document.name();
        document.read(|s| read::recipe(s, &name))
    }

    /// The recipe that `key=value` settings make, without a file. Its run directory is `runs/name` unless a setting names
    /// another.
    ///
    /// # Errors
    /// With all mistakes as one error.
    pub fn from_settings(name: &str, settings: &[String]) -> Result<Self> {
        Document::of_settings("recipe", settings).read(|s| read::recipe(s, name))
    }

    /// Reads the recipe that a section of a larger document holds. Its mistakes are the document's.
    pub(crate) fn from_section(s: &Section<'_>, name: &str) -> Self {
        read::recipe(s, name)
    }

    /// The recipe as TOML, with every default written out. Opening it gives the same recipe.
    ///
    /// # Errors
    /// If a path in it is not valid UTF-8.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|error| Error::failed("recipe", error))
    }
}

/// Reads the keys of a recipe's `[tuning]` from `key=value` settings.
///
/// # Errors
/// With all mistakes as one error.
pub fn parse_tuning(settings: &[String]) -> Result<Tuning> {
    Document::of_settings("tuning", settings).read(super::read_tuning::tuning)
}
