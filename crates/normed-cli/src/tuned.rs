//! Finds out what a path given to `diff` or `export` is: a model, a run, or an adapter with its base.

use std::path::{Path, PathBuf};

use normed::hub;
use normed::models::{self, LoadOverrides, LoadedModel};
use normed::recipe::{Base, Recipe};
use normed::tensor::{ParamId, Parameters};
use normed::weights::{BaseCheck, adapter_base, expect_adapter, load_adapter};
use normed::{Error, Result};

use crate::output::print_err;

/// Where a model and its adapter are.
pub struct ModelLocation {
    /// The checkpoint's directory.
    pub base: PathBuf,
    /// What its recipe overrides.
    overrides: LoadOverrides,
    /// The adapter's directory.
    pub adapter: Option<PathBuf>,
}

impl ModelLocation {
    /// Finds out what `path` is: a run, an adapter, a model, or a repository in the hub's cache. `model`
    /// replaces the base that an adapter names.
    pub fn find(path: &Path, model: Option<&Path>) -> Result<Self> {
        let is_adapter = |dir: &Path| dir.join("adapter_config.json").is_file();
        let run = path.join("recipe.toml").is_file();
        let made = path.join("model");
        if run && made.join("config.json").is_file() {
            return Ok(Self { base: made, overrides: LoadOverrides::default(), adapter: None });
        }
        let adapter =
            [path.join("adapter"), path.to_owned()].into_iter().find(|dir| is_adapter(dir));
        let Some(adapter) = adapter else {
            if run {
                return Err(Error::invalid(
                    path.display(),
                    "is a run without an adapter: it is not finished",
                )
                .with_remedy("finish it with normed train --resume"));
            }
            let base = hub::resolve_path(path, hub::RepoKind::Model)?;
            if !base.join("config.json").is_file() {
                expect_adapter(&base)?;
            }
            return Ok(Self { base, overrides: LoadOverrides::default(), adapter: None });
        };
        // A run's recipe has settings that its adapter's config lacks, such as the image size.
        let recipe = run.then(|| Recipe::open(&path.join("recipe.toml"), &[])).transpose()?;
        let overrides = recipe.as_ref().map(Recipe::load_overrides).unwrap_or_default();
        let give_it = |error: Error| error.with_remedy("give the base model with --model");
        let base = match (model, recipe.map(|recipe| recipe.base)) {
            (Some(model), _) => model.to_owned(),
            (None, Some(Base::Model(dir))) => dir,
            _ => PathBuf::from(adapter_base(&adapter).map_err(give_it)?),
        };
        let base = hub::resolve_path(&base, hub::RepoKind::Model).map_err(give_it)?;
        Ok(Self { base, overrides, adapter: Some(adapter) })
    }

    /// Whether both have the same base.
    pub fn has_base_of(&self, other: &Self) -> bool {
        self.base == other.base && self.overrides == other.overrides
    }

    /// The directories that are read: the base's, and the adapter's if there is one.
    pub fn directories(&self) -> impl Iterator<Item = &Path> {
        [self.base.as_path()].into_iter().chain(self.adapter.as_deref())
    }

    /// Loads the base.
    pub fn open_base(&self) -> Result<LoadedModel> {
        models::load_as_stored(&self.base, self.overrides)
    }

    /// Loads the adapter, if there is one, into `params`; the parameters that it set.
    pub fn adapt(&self, params: &mut Parameters, base_hash: &str) -> Result<Vec<ParamId>> {
        let Some(adapter) = &self.adapter else { return Ok(Vec::new()) };
        let read = load_adapter(adapter, params, BaseCheck::Is(base_hash))?;
        read.warnings.iter().for_each(|warning| print_err(format_args!("warning: {warning}")));
        Ok(read.set)
    }
}
