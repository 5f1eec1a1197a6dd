//! Finds out what a path is: a model, a run, or an adapter with its base; and opens the model.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::data::TemplateName;
use crate::hub;
use crate::models::{self, GenerationConfig, LoadOverrides, LoadedModel};
use crate::recipe::{Base, Recipe};
use crate::tensor::{Parameters, Precision, RunPrecision};
use crate::train::is_running;
use crate::weights::{BaseCheck, LoadedAdapter, adapter_base, expect_adapter, load_adapter};
use crate::{Error, Result};

/// Where a model and its adapter are.
#[derive(Debug, Clone)]
pub struct ModelLocation {
    /// The checkpoint's directory.
    pub base: PathBuf,
    /// The adapter's directory; none if the checkpoint is the whole model.
    pub adapter: Option<PathBuf>,
    /// The recipe of the run that it was found in. It has settings that an adapter's config lacks, such as the size of
    /// images.
    pub recipe: Option<Box<Recipe>>,
}

/// Settings for opening a model. What is not set is the recipe's, or the checkpoint's.
#[derive(Debug, Clone, Copy, Default)]
pub struct OpenSettings {
    /// The prompt template.
    pub template: Option<TemplateName>,
    /// The precision of weights and matrix products. Without a recipe it is f32, or for a half-precision checkpoint
    /// the faster format of this machine.
    pub precision: Option<RunPrecision>,
    /// Whether the model gets as many tokens as the adapter has.
    pub resize_vocabulary: bool,
}

/// An opened model.
pub struct OpenedModel {
    /// The model, with its adapter.
    pub loaded: LoadedModel,
    /// Warnings about the adapter, for the user.
    pub warnings: Vec<String>,
}

impl ModelLocation {
    /// Finds out what `path` is: a run, an adapter, a model, or a repository in the hub's cache. `base`, a model or a
    /// run with a model of its own, replaces the base that an adapter names.
    ///
    /// # Errors
    ///
    /// If it is none of these, if a run is not finished, or if a base cannot be found.
    pub fn find(path: &Path, base: Option<&Path>) -> Result<Self> {
        let run = is_run(path);
        let recipe = run.then(|| Recipe::open(&path.join(RECIPE), &[])).transpose()?.map(Box::new);
        if let Some(model) = own_model(path) {
            return Ok(Self { base: model, adapter: None, recipe });
        }
        if let Some(adapter) = adapter_in(path) {
            let base = match base {
                Some(base) => existing(find_base(base)?)?,
                None => base_of(&adapter)?,
            };
            return Ok(Self { base, adapter: Some(adapter), recipe });
        }
        if run {
            return Err(not_finished(path)?);
        }
        let base = hub::resolve_path(path, hub::RepoKind::Model)?;
        let base = existing(base)?;
        if !base.join(CONFIG).is_file()
            && let Err(error) = expect_adapter(&base)
        {
            let cause = "is no model, run or adapter: it has neither config.json, recipe.toml nor \
                         adapter_config.json";
            let error_here = Error::invalid(base.display(), cause);
            return Err(error.remedy().map_or(error_here.clone(), |it| error_here.with_remedy(it)));
        }
        Ok(Self { base, adapter: None, recipe: None })
    }

    /// The model that `model` and `adapter` give together. `model` may be a model or a run; `adapter` may be an
    /// adapter or a run. Without a model it is `default`, or the base that the adapter names.
    ///
    /// # Errors
    ///
    /// As [`ModelLocation::find`]; if neither is given; if `adapter` holds no adapter.
    pub fn combine(
        model: Option<&Path>,
        adapter: Option<&Path>,
        default: Option<&Path>,
    ) -> Result<Self> {
        match (model.or(default), adapter) {
            (base, Some(adapter)) => {
                let found = Self::find(adapter, base)?;
                match found.adapter {
                    Some(_) => Ok(found),
                    None => Err(Error::invalid(adapter.display(), "is a model, not an adapter")
                        .with_remedy("name the folder of an adapter or of a run; give a model with --model, to merge as the first argument")),
                }
            }
            (Some(model), None) => Self::find(model, None),
            (None, None) => Err(Error::invalid("arguments", "no model is given")
                .with_remedy("give a model with --model, or a run with --adapter")),
        }
    }

    /// The same model with the settings of `recipe`, if there is one, instead of its run's.
    #[must_use]
    pub fn with_recipe(self, recipe: Option<&Recipe>) -> Self {
        match recipe {
            Some(recipe) => Self { recipe: Some(Box::new(recipe.clone())), ..self },
            None => self,
        }
    }

    /// How the run generated its answers; the default for questions where the model is of no run.
    pub fn generation(&self) -> GenerationConfig {
        self.recipe.as_ref().map(|recipe| recipe.generate.clone()).unwrap_or_default()
    }

    /// Whether both have the same base.
    pub fn has_base_of(&self, other: &Self) -> bool {
        self.base == other.base && self.overrides() == other.overrides()
    }

    /// The directories that are read: the base's, and the adapter's if there is one.
    pub fn directories(&self) -> impl Iterator<Item = &Path> {
        [self.base.as_path()].into_iter().chain(self.adapter.as_deref())
    }

    /// What the recipe overrides of the checkpoint.
    pub fn overrides(&self) -> LoadOverrides {
        self.recipe.as_ref().map(|recipe| recipe.load_overrides()).unwrap_or_default()
    }

    /// Opens the model with its adapter, ready to compute.
    ///
    /// # Errors
    ///
    /// If a file cannot be read, or if the adapter does not fit the base.
    pub fn open(&self, settings: OpenSettings) -> Result<OpenedModel> {
        let mut overrides = self.overrides();
        overrides.template = settings.template.or(overrides.template);
        let mut loaded = models::load_as_stored(&self.base, overrides)?;
        let mut warnings = Vec::new();
        if let Some(adapter) = &self.adapter {
            let read = if settings.resize_vocabulary {
                models::load_adapter_and_grow(&mut loaded, adapter, overrides)?
            } else {
                load_adapter(adapter, &mut loaded.params, BaseCheck::Is(&loaded.content_hash))?
            };
            warnings = read.warnings;
        }
        let precision = settings.precision.or(self.recipe.as_ref().map(|recipe| recipe.precision));
        loaded.params.set_precision(precision.unwrap_or_else(|| default_precision(&loaded.params)));
        Ok(OpenedModel { loaded, warnings })
    }

    /// Loads the base in the precision that it is stored in.
    ///
    /// # Errors
    ///
    /// If a file cannot be read.
    pub fn open_base(&self) -> Result<LoadedModel> {
        models::load_as_stored(&self.base, self.overrides())
    }

    /// Loads the adapter, if there is one, into `params`.
    ///
    /// # Errors
    ///
    /// If the adapter cannot be read, or does not fit the base, whose hash is given.
    pub fn adapt(&self, params: &mut Parameters, base_hash: &str) -> Result<Option<LoadedAdapter>> {
        let Some(adapter) = &self.adapter else { return Ok(None) };
        load_adapter(adapter, params, BaseCheck::Is(base_hash)).map(Some)
    }
}

const RECIPE: &str = "recipe.toml";
const CONFIG: &str = "config.json";
const ADAPTER: &str = "adapter";

fn is_run(path: &Path) -> bool {
    path.join(RECIPE).is_file()
}

/// The model that the run in `path` made, if it made one.
fn own_model(path: &Path) -> Option<PathBuf> {
    let made = path.join("model");
    (is_run(path) && made.join(CONFIG).is_file()).then_some(made)
}

/// The adapter of the run in `path`, or `path` itself if it is one.
fn adapter_in(path: &Path) -> Option<PathBuf> {
    let is_adapter = |dir: &PathBuf| dir.join("adapter_config.json").is_file();
    [path.join(ADAPTER), path.to_owned()].into_iter().find(is_adapter)
}

/// The base of an adapter: that of its run's recipe if it is in the folder of a run, else the one that it names. An
/// adapter names its base without the path that it has on a machine.
fn base_of(adapter: &Path) -> Result<PathBuf> {
    let run = adapter.parent().filter(|_| adapter.file_name().is_some_and(|name| name == ADAPTER));
    let recipe = run.map(|run| run.join(RECIPE)).filter(|recipe| recipe.is_file());
    let of_run = match recipe {
        Some(recipe) => match Recipe::open(&recipe, &[])?.base {
            Base::Model(dir) => Some(dir),
            Base::Init(_) => None,
        },
        None => None,
    };
    const REMEDY: &str = "give the base model with --model";
    let named = match of_run {
        Some(dir) => dir,
        None => PathBuf::from(adapter_base(adapter).map_err(|error| error.with_remedy(REMEDY))?),
    };
    let found = find_base(&named).and_then(existing);
    found.map_err(|error| {
        let cause = format!("its base is not here: {}: {}", error.place(), error.cause());
        Error::new(error.kind(), adapter.display(), cause).with_remedy(REMEDY)
    })
}

/// `path`, if there is such a folder.
fn existing(path: PathBuf) -> Result<PathBuf> {
    match path.exists() {
        true => Ok(path),
        false => Err(Error::io(&path, &ErrorKind::NotFound.into())
            .with_remedy("give the folder of a model, a run or an adapter")),
    }
}

/// The directory of the base `path`: a model, a run that made one, or a repository in the hub's cache.
///
/// # Errors
///
/// If it is a run that made none, or cannot be found.
pub fn find_base(path: &Path) -> Result<PathBuf> {
    if !is_run(path) {
        return hub::resolve_path(path, hub::RepoKind::Model);
    }
    match own_model(path) {
        Some(made) => Ok(made),
        None if adapter_in(path).is_some() => {
            let cause = "is a run with an adapter, where a model is needed";
            Err(Error::invalid(path.display(), cause).with_remedy(format!(
                "merge it into a model first: normed merge BASE {} OUT",
                path.display()
            )))
        }
        None => Err(not_finished(path)?),
    }
}

/// The error of a run that has neither an adapter nor a model.
fn not_finished(path: &Path) -> Result<Error> {
    let place = path.display().to_string();
    Ok(match is_running(path)? {
        true => Error::invalid(&place, "is a run that is still running: it has no adapter yet")
            .with_remedy("wait until it is finished"),
        false => Error::invalid(&place, "is a run that is not finished: it has no adapter yet")
            .with_remedy(format!(
                "finish it: normed train {} --output {place} --resume",
                path.join(RECIPE).display()
            )),
    })
}

/// The default without a recipe: f32, or for a half-precision checkpoint the faster format, as f32 would double its
/// memory.
fn default_precision(params: &Parameters) -> RunPrecision {
    let is_half = params.iter().any(|(_, p)| p.value().bytes() < size_of::<f32>() * p.len());
    if is_half { Precision::fastest().into() } else { RunPrecision::F32 }
}
