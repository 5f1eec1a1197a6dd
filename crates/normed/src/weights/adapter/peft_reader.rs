//! Reads adapters of PEFT's types `LN_TUNING`, `LORA` and `IA3`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::adapter_files::{read_adapter_tensors, read_beside_lora};
use super::adapter_tensors::{AdapterKeys, AdapterTensors, Missing};
use super::additions::{Addition, AdditionContext};
use super::base_check::{BaseCheck, check_base};
use super::config::Config;
use super::layout::{BASE_HASH, CONFIG, tied};
use super::loaded::{LoadedAdapter, does_not_fit};
use super::model_names::ModelNames;
use super::patterns::Modules;
use super::targeting::Targeting;
use super::vocabulary::grown_vocabulary;
use crate::tensor::{ParamId, Parameters, Precision, Tensor};
use crate::weights::names_list::list_names;
use crate::weights::stored::Checkpoint;
use crate::{Error, Result};

/// What to do with an adapter whose vocabulary is larger than its base's.
const GROW: &str = "its vocabulary is larger than the base's: let the base grow with --resize-vocabulary (predict, \
     evaluate and merge), or resize it in Python with model.resize_token_embeddings";

/// What to do with an adapter that changes one of two tied tensors.
const UNTIE: &str = "in Python, merge the adapter (merge_and_unload), set tie_word_embeddings to false, save the model, \
     and use that model";

/// Loads the adapter in `dir`, whose configuration is `config_text`. `params` do not change if that fails.
pub(super) fn load(
    dir: &Path,
    config_text: &[u8],
    params: &mut Parameters,
    base: BaseCheck<'_>,
) -> Result<LoadedAdapter> {
    let config = Config::parse(&dir.join(CONFIG), config_text)?;
    let file = read_adapter_tensors(dir)?;
    let mut warnings = check_base(&file.path, file.metadata.get(BASE_HASH), base)?;
    let beside = read_beside_lora(dir)?;
    let changes = Changes::find(dir, &config, &file, beside.as_ref(), params)?;
    warnings.extend(changes.warnings);
    let mut set: BTreeSet<ParamId> = BTreeSet::new();
    for (id, value) in changes.values {
        params.get_mut(id).set(value);
        set.insert(id);
    }
    for (weight, layer) in changes.additions {
        set.extend(layer.plug_in(params, weight));
    }
    Ok(LoadedAdapter { set: set.into_iter().collect(), warnings })
}

/// What an adapter changes in a model.
struct Changes {
    /// New values of the model's own parameters.
    values: Vec<(ParamId, Tensor)>,
    /// What is plugged in.
    additions: Vec<Addition>,
    /// Warnings for the user.
    warnings: Vec<String>,
}

impl Changes {
    /// Finds out what the adapter in `dir` changes: `file` holds its tensors, and `beside` what LLaVA's own code trained
    /// beside them.
    fn find(
        dir: &Path,
        config: &Config,
        file: &Checkpoint,
        beside: Option<&Checkpoint>,
        params: &Parameters,
    ) -> Result<Self> {
        let config_path = dir.join(CONFIG);
        let invalid = |cause: String| Error::invalid(config_path.display(), cause);
        let names = ModelNames::new(params);
        let keys = AdapterKeys::parse(&file.tensors, &names)
            .map_err(|cause| Error::invalid(file.path.display(), cause))?;
        let mut targeting = Targeting::new(config, params, &names, keys.naming).map_err(invalid)?;
        let mut tensors = AdapterTensors::collect(&keys, config, &targeting, &names, params);
        if let Some(beside) = beside {
            tensors.add_own(beside, &names, params);
        }
        let mut warnings = note_missing(&mut tensors, config, &file.path, |tensors| {
            tensors.missing(config, &targeting, &names, params)
        });
        let adapted: Vec<_> = tensors.added.keys().copied().collect();
        targeting.note_unmatched_patterns(config, adapted.into_iter()).map_err(invalid)?;
        warnings.extend(unmatched_warning(&config_path, &targeting));
        warnings.extend(unmentioned_warning(&file.path, &tensors, &names, params));
        warnings.extend(beside.map(|beside| {
            let (path, count) = (beside.path.display(), beside.tensors.len());
            format!("{path}: its tensors of the model itself ({count}) are applied")
        }));
        let context = AdditionContext { config, targeting: &targeting, names: &names, params };
        let additions = context.apply(&mut tensors);
        let untied =
            if tensors.problems.is_empty() { tensors.untied(config, params) } else { Vec::new() };
        if !untied.is_empty() {
            return Err(does_not_fit(&file.path, &untied).with_remedy(UNTIE));
        }
        if !tensors.problems.is_empty() {
            let error = does_not_fit(&file.path, &tensors.problems);
            return Err(match grown_vocabulary(dir, params)? {
                Some(_) => error.with_remedy(GROW),
                None => error,
            });
        }
        let first_names: BTreeMap<_, _> = tied(params).into_iter().collect();
        let mut values = Vec::with_capacity(tensors.values.len());
        for (name, value) in tensors.values {
            let name = first_names.get(name).copied().unwrap_or(name);
            values.extend(names.parameter(name).map(|(_, id)| (id, value)));
        }
        Ok(Self { values, additions, warnings })
    }
}

/// Notes what the file at `path` lacks. That is a problem; but layers that a regular expression or `all-linear` chooses
/// are a warning, as in PEFT: the expression was written for another program.
fn note_missing<'p>(
    tensors: &mut AdapterTensors<'p>,
    config: &Config,
    path: &Path,
    find: impl FnOnce(&AdapterTensors<'p>) -> Missing,
) -> Vec<String> {
    let Missing { parts, layers } = find(tensors);
    let is_missing = |name: String| format!("{name} is missing");
    tensors.problems.extend(parts.into_iter().map(is_missing));
    match config.targets {
        Modules::Expression(_) | Modules::AllLinear if !layers.is_empty() => vec![format!(
            "{}: target_modules chooses layers for which it has no tensors, and which stay as in the base ({}): {}",
            path.display(),
            layers.len(),
            list_names(&layers)
        )],
        _ => {
            tensors.problems.extend(layers.into_iter().map(is_missing));
            Vec::new()
        }
    }
}

/// A warning that names the entries of the configuration that match nothing; none if all match.
fn unmatched_warning(path: &Path, targeting: &Targeting<'_>) -> Option<String> {
    (!targeting.unmatched.is_empty()).then(|| {
        format!(
            "{}: these entries match no layer of the model, and have no effect: {}",
            path.display(),
            list_names(&targeting.unmatched)
        )
    })
}

/// A warning that names tensors of the model itself that differ from the base's although the configuration does not
/// mention them; none if there are none.
fn unmentioned_warning(
    path: &Path,
    tensors: &AdapterTensors<'_>,
    names: &ModelNames<'_>,
    params: &Parameters,
) -> Option<String> {
    let differs = |name: &&&str| {
        let base = names.parameter(name).map(|(_, id)| params.get(id).value());
        let base = base.map(|base| base.to_precision(Precision::F32));
        let value = tensors.values.get(**name);
        base.zip(value).is_some_and(|(base, value)| base.data() != value.data())
    };
    let changed: Vec<_> =
        tensors.unmentioned.iter().filter(differs).map(|name| (*name).to_owned()).collect();
    (!changed.is_empty()).then(|| {
        format!(
            "{}: the configuration does not mention these tensors of the model itself, which replace the base's as \
             in PEFT: {}",
            path.display(),
            list_names(&changed)
        )
    })
}
