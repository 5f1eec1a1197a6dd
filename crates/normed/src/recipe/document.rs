//! A TOML file overridden by settings. It is read key by key, and all mistakes are reported at once.

use std::path::{Path, PathBuf};

use super::mistakes::Mistakes;
use super::section::Section;
use super::source::{self, Place, Table};
use crate::files::{CONFIG_LIMIT, open_descriptor, read_text_once};
use crate::{Error, Result};

/// A TOML file overridden by settings, before its keys are read.
pub(crate) struct Document {
    path: PathBuf,
    table: Table,
    mistakes: Mistakes,
}

impl Document {
    /// Reads the file at `path`, and overrides it by `key=value` settings.
    ///
    /// # Errors
    /// If the file cannot be read, or has syntax errors; its keys are not checked then.
    pub fn open(path: &Path, settings: &[String]) -> Result<Self> {
        let text = read_text_once(path, CONFIG_LIMIT)?;
        if ["{\"", "[{", "{ \""].iter().any(|start| text.trim_start().starts_with(start)) {
            let remedy = format!(
                "normed init {} --model MODEL writes a recipe for these rows",
                path.display()
            );
            return Err(
                Error::invalid(path.display(), "is JSON, not a recipe (TOML)").with_remedy(remedy)
            );
        }
        let mistakes = Mistakes::default();
        let table = source::parse(&text).unwrap_or_else(|errors| {
            for (place, cause) in errors {
                mistakes.add(Some(&place), cause, None);
            }
            Vec::new()
        });
        if let Some(error) = mistakes.take(path) {
            return Err(error);
        }
        Ok(Self { path: path.to_owned(), table, mistakes }.overridden_by(settings))
    }

    /// A document of settings alone. Mistakes name it `what`.
    pub fn of_settings(what: &str, settings: &[String]) -> Self {
        Self { path: what.into(), table: Vec::new(), mistakes: Mistakes::default() }
            .overridden_by(settings)
    }

    fn overridden_by(mut self, settings: &[String]) -> Self {
        for (n, setting) in settings.iter().enumerate() {
            if let Err(cause) = source::apply_setting(&mut self.table, n, setting) {
                self.mistakes.add(Some(&Place::Setting(n, setting.clone())), cause, None);
            }
        }
        self
    }

    /// The file's name without its ending.
    pub fn name(&self) -> String {
        self.path.file_stem().map_or_else(|| "run".into(), |stem| stem.to_string_lossy().into())
    }

    /// Reads the document with `read`.
    ///
    /// # Errors
    /// With all mistakes as one error.
    pub fn read<T>(&self, read: impl FnOnce(&Section<'_>) -> T) -> Result<T> {
        // What a process hands over has no place of its own: its paths are relative to the current directory.
        let parent = self.path.parent().filter(|_| open_descriptor(&self.path).is_none());
        let directory = parent.unwrap_or(Path::new(""));
        let value = Section::root(&self.table, directory, &self.mistakes, read);
        self.mistakes.take(&self.path).map_or(Ok(value), Err)
    }
}
