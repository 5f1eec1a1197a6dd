//! Reading an adapter.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;

use super::{
    BASE_HASH, CONFIG, COPY, PEFT_TYPE, PREFIX, WEIGHTS, is_within, module_of, peft_name, tied,
};
use crate::tensor::{ParamId, Parameters, Precision, Tensor};
use crate::weights::fill::list;
use crate::weights::{read_safetensors, read_small};
use crate::{Error, Result};

/// Whether an adapter must be the base's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BaseCheck<'a> {
    /// The base has this [`content_hash`](crate::weights::content_hash); an adapter that names
    /// another one is an error.
    Is(&'a str),
    /// Any base whose shapes fit.
    Skip,
}

/// Reads the name that the adapter in `dir` gives its base: a directory or a repository.
pub fn adapter_base(dir: &Path) -> Result<String> {
    #[derive(Deserialize)]
    struct Named {
        base_model_name_or_path: Option<String>,
    }
    let path = dir.join(CONFIG);
    let named: Named = serde_json::from_slice(&read_small(&path)?)
        .map_err(|e| Error::invalid(path.display(), e))?;
    named
        .base_model_name_or_path
        .ok_or_else(|| Error::invalid(path.display(), "does not say which base it was trained on"))
}

/// What an adapter changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedAdapter {
    /// The parameters that it set, in the order of declaration.
    pub set: Vec<ParamId>,
    /// What a user should know.
    pub warnings: Vec<String>,
}

#[derive(Deserialize)]
struct Config {
    peft_type: String,
    #[serde(default)]
    target_modules: Modules,
    #[serde(default)]
    exclude_modules: Modules,
    #[serde(default)]
    modules_to_save: Modules,
}

#[derive(Deserialize, Default)]
#[serde(untagged)]
enum Modules {
    /// Whole paths or their ends.
    List(Vec<String>),
    /// A Python regular expression.
    Pattern(#[expect(dead_code, reason = "only Python could evaluate it")] String),
    #[default]
    None,
}

impl Modules {
    fn names(&self) -> &[String] {
        match self {
            Self::List(names) => names,
            Self::Pattern(_) | Self::None => &[],
        }
    }

    /// PEFT's rule: the whole path, or its end after a dot.
    fn matches(&self, module: &str) -> bool {
        self.names().iter().any(|name| {
            module.strip_suffix(name.as_str()).is_some_and(|s| s.is_empty() || s.ends_with('.'))
        })
    }
}

/// Reads the adapter in `dir`, made by normed or by PEFT, over the values in `params`. Names that
/// are missing, that the model does not have, and shapes that differ are one error, and then nothing
/// is changed.
pub fn load_adapter(
    dir: &Path,
    params: &mut Parameters,
    base: BaseCheck<'_>,
) -> Result<LoadedAdapter> {
    let path = dir.join(CONFIG);
    let config: Config = serde_json::from_slice(&read_small(&path)?)
        .map_err(|e| Error::invalid(path.display(), e))?;
    if config.peft_type != PEFT_TYPE {
        let cause = format!("a {} adapter; only {PEFT_TYPE} ones are read", config.peft_type);
        return Err(Error::invalid(path.display(), cause));
    }
    let path = dir.join(WEIGHTS);
    let file = read_safetensors(&path)?;
    let warnings = check_base(&path, file.metadata.get(BASE_HASH), base)?;

    let mut complaints = Vec::new();
    // By PEFT's names of the parameters.
    let mut found: BTreeMap<String, Tensor> = BTreeMap::new();
    let mut named = BTreeSet::new();
    for (key, stored) in &file.tensors {
        let Some((name, id)) = locate(key, &config, params) else {
            complaints.push(format!("{key} is unexpected"));
            continue;
        };
        let shape = &params.get(id).shape;
        named.insert(name.clone());
        if stored.shape() != shape {
            complaints.push(format!("{key} is {:?} instead of {shape:?}", stored.shape()));
        } else if let Some(value) = stored.to_tensor() {
            if !value.data().iter().all(|x| x.is_finite()) {
                complaints.push(format!("{key} holds what is no number, or an infinity"));
            }
            if found.insert(name, value).is_some() {
                complaints.push(format!("{key} comes twice"));
            }
        } else {
            complaints.push(format!("{key} is of type {:?}", stored.dtype()));
        }
    }
    complaints
        .extend(missing(&named, &config, params).into_iter().map(|m| format!("{m} is missing")));
    if complaints.is_empty() {
        complaints = untied(&found, params);
    }
    if !complaints.is_empty() {
        let cause = format!(
            "the adapter does not fit the model, {} complaints: {}",
            complaints.len(),
            list(&complaints)
        );
        return Err(Error::invalid(path.display(), cause));
    }
    let mut set = Vec::new();
    for (name, value) in found {
        if let Some(id) = params.find(first_name(&name, params)) {
            params.get_mut(id).set(value);
            set.push(id);
        }
    }
    set.sort_unstable();
    set.dedup();
    Ok(LoadedAdapter { set, warnings })
}

fn check_base(path: &Path, named: Option<&String>, base: BaseCheck<'_>) -> Result<Vec<String>> {
    match (named, base) {
        (_, BaseCheck::Skip) => Ok(Vec::new()),
        (None, BaseCheck::Is(_)) => Ok(vec![format!(
            "{}: it does not say which base it was trained on; that this is the one is not checked",
            path.display()
        )]),
        (Some(named), BaseCheck::Is(hash)) if named == hash => Ok(Vec::new()),
        (Some(named), BaseCheck::Is(hash)) => {
            let cause = format!("trained on the base {named:.12}, this one is {hash:.12}");
            Err(Error::invalid(path.display(), cause)
                .hint("use the base that it was trained on, or ask explicitly for any base"))
        }
    }
}

/// PEFT's name of the parameter that `key` holds, and the parameter.
fn locate(key: &str, config: &Config, params: &Parameters) -> Option<(String, ParamId)> {
    let key = key.strip_prefix(PREFIX)?;
    let mark = format!(".{COPY}.");
    let name = match key.split_once(mark.as_str()) {
        Some((module, leaf)) => format!("{module}.{leaf}"),
        None => {
            let mut outer = module_of(key);
            while !config.modules_to_save.matches(outer) {
                outer = outer.rsplit_once('.')?.0;
            }
            key.to_owned()
        }
    };
    let id = params.find(first_name(&name, params))?;
    Some((name, id))
}

/// The name under which [`Parameters`] has what PEFT calls `name`.
fn first_name<'n>(name: &'n str, params: &Parameters) -> &'n str {
    tied(params).into_iter().find(|(second, _)| *second == name).map_or(name, |(_, first)| first)
}

/// Parameters of modules that the adapter says it holds, and does not.
fn missing(found: &BTreeSet<String>, config: &Config, params: &Parameters) -> BTreeSet<String> {
    let modules: BTreeSet<_> = found.iter().map(|name| module_of(name)).collect();
    let listed = |module: &str| {
        let excluded = match &config.exclude_modules {
            Modules::Pattern(_) => true, // cannot be told
            list => list.matches(module),
        };
        config.target_modules.matches(module) && !excluded
            || config
                .modules_to_save
                .names()
                .iter()
                .any(|name| name == module || is_within(module, name))
    };
    let wanted = |name: &str| modules.contains(module_of(name)) || listed(module_of(name));
    let mut missing: BTreeSet<_> = params
        .iter()
        .map(|(_, parameter)| peft_name(&parameter.name))
        .filter(|name| wanted(name) && !found.contains(*name))
        .map(str::to_owned)
        .collect();
    // Entries that no module of the model matches.
    let known: BTreeSet<_> = params.iter().map(|(_, p)| module_of(peft_name(&p.name))).collect();
    for entry in config.target_modules.names().iter().chain(config.modules_to_save.names()) {
        let one = Modules::List(vec![entry.clone()]);
        if !known.iter().any(|module| one.matches(module) || is_within(module, entry)) {
            missing.insert(format!("module {entry}"));
        }
    }
    missing
}

/// Tied tensors that the adapter would make differ: PEFT's copies can, this model's cannot.
fn untied(found: &BTreeMap<String, Tensor>, params: &Parameters) -> Vec<String> {
    let base = |name: &str| {
        params.find(name).map(|id| params.get(id).value().to_precision(Precision::F32))
    };
    let differ = |(second, first): &(&str, &str)| match (found.get(*second), found.get(*first)) {
        (Some(a), Some(b)) => a.data() != b.data(),
        // The bias has no second place in the model; the weight has, and PEFT's other copy of it
        // stays as the base has it.
        (Some(one), None) | (None, Some(one)) => {
            second.ends_with(".weight") && base(first).is_some_and(|b| b.data() != one.data())
        }
        (None, None) => false,
    };
    tied(params)
        .iter()
        .filter(|pair| differ(pair))
        .map(|(second, first)| format!("{second} would differ from {first}, to which it is tied"))
        .collect()
}
