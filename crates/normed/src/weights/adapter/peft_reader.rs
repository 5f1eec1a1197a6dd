//! Reads adapters of PEFT's types `LN_TUNING`, `LORA` and `IA3`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::base_check::{BaseCheck, check_base};
use super::config::{Config, PeftType};
use super::layer_adapter::LayerAdapter;
use super::layout::{
    BASE_HASH, BASE_LAYER, CONFIG, COPY, PREFIX, WEIGHTS, is_within, module_of, peft_name, tied,
};
use super::loaded::{LoadedAdapter, does_not_fit};
use super::peft_parameter::PeftParameter;
use crate::Result;
use crate::tensor::{ParamId, Parameters, Precision, Tensor};
use crate::weights::safetensors_reader::read_safetensors;
use crate::weights::stored::Stored;

/// Loads the adapter in `dir`, whose configuration is `config_text`. `params` do not change if that fails.
pub(super) fn load(
    dir: &Path,
    config_text: &[u8],
    params: &mut Parameters,
    base: BaseCheck<'_>,
) -> Result<LoadedAdapter> {
    let config = Config::parse(&dir.join(CONFIG), config_text)?;
    let path = dir.join(WEIGHTS);
    let file = read_safetensors(&path)?;
    let warnings = check_base(&path, file.metadata.get(BASE_HASH), base)?;

    let (mut tensors, mut problems) = AdapterTensors::collect(&file.tensors, &config, params);
    let missing = tensors.missing(&config, params);
    problems.extend(missing.into_iter().map(|name| format!("{name} is missing")));
    let mut layers = Vec::new();
    for (weight, added) in std::mem::take(&mut tensors.added) {
        match LayerAdapter::new(weight, added, &config, params) {
            Ok(layer) => layers.push(layer),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() {
        problems = tensors.untied(params);
    }
    if !problems.is_empty() {
        return Err(does_not_fit(&path, &problems));
    }
    let mut set = Vec::new();
    for (name, value) in tensors.values {
        if let Some(id) = params.find(first_name(&name, params)) {
            params.get_mut(id).set(value);
            set.push(id);
        }
    }
    for layer in layers {
        set.extend(layer.plug_in(params));
    }
    set.sort_unstable();
    set.dedup();
    Ok(LoadedAdapter { set, warnings })
}

/// The tensors of an adapter.
#[derive(Default)]
struct AdapterTensors {
    /// Values of the model's own parameters, by PEFT's names.
    values: BTreeMap<String, Tensor>,
    /// Those of them that belong to a whole module in the adapter.
    in_modules: BTreeSet<String>,
    /// Values of added parameters, by the weights of their layers.
    added: BTreeMap<ParamId, BTreeMap<PeftParameter, Tensor>>,
}

/// Where a tensor of an adapter belongs.
enum Destination {
    /// A parameter of the model, by PEFT's name.
    Base {
        name: String,
        id: ParamId,
        /// Whether the adapter has the whole module of the parameter.
        in_module: bool,
    },
    /// A parameter that is added to the layer with this weight.
    Added(ParamId, PeftParameter),
}

impl AdapterTensors {
    /// Collects the tensors of a file; returns its problems as well.
    fn collect(
        stored: &BTreeMap<String, Stored>,
        config: &Config,
        params: &Parameters,
    ) -> (Self, Vec<String>) {
        let (mut tensors, mut problems) = (Self::default(), Vec::new());
        for (key, stored) in stored {
            match find_destination(key, config, params) {
                Some(destination) => {
                    let problem = tensors.insert(key, stored, destination, params);
                    problems.extend(problem.err());
                }
                None => problems.push(format!("{key} is unexpected")),
            }
        }
        (tensors, problems)
    }

    fn insert(
        &mut self,
        key: &str,
        stored: &Stored,
        destination: Destination,
        params: &Parameters,
    ) -> Result<(), String> {
        let value =
            stored.to_tensor().ok_or_else(|| format!("{key} is of type {:?}", stored.dtype()))?;
        let is_finite = value.data().iter().all(|x| x.is_finite());
        match destination {
            Destination::Base { name, id, in_module } => {
                let shape = params.get(id).shape();
                if in_module {
                    self.in_modules.insert(name.clone());
                }
                if value.shape() != shape {
                    return Err(format!("{key} is {:?} instead of {shape:?}", value.shape()));
                }
                if self.values.insert(name, value).is_some() {
                    return Err(format!("{key} appears twice"));
                }
            }
            Destination::Added(weight, parameter) => {
                self.added.entry(weight).or_default().insert(parameter, value);
            }
        }
        if is_finite { Ok(()) } else { Err(format!("{key} has a value that is not finite")) }
    }

    /// What the configuration promises and the file lacks.
    fn missing(&self, config: &Config, params: &Parameters) -> BTreeSet<String> {
        let modules: BTreeSet<_> = self.in_modules.iter().map(|name| module_of(name)).collect();
        let has_copies = config.peft_type == PeftType::LnTuning;
        let is_wanted = |module: &str| {
            let is_copied = has_copies && config.adapts(module);
            modules.contains(module) || config.saves_whole(module) || is_copied
        };
        let mut missing: BTreeSet<_> = params
            .iter()
            .map(|(_, parameter)| peft_name(parameter.name()))
            .filter(|name| is_wanted(module_of(name)) && !self.in_modules.contains(*name))
            .map(str::to_owned)
            .collect();
        if !has_copies {
            let adapted = params
                .iter()
                .filter(|(_, p)| p.role().is_linear_weight() && config.adapts(module_of(p.name())));
            let missing_layers = adapted.filter(|(id, _)| !self.added.contains_key(id));
            let name = config.peft_type.name();
            missing.extend(missing_layers.map(|(_, p)| format!("{name} {}", module_of(p.name()))));
        }
        missing.extend(unknown_modules(config, params));
        missing
    }

    /// Tied tensors that would differ: PEFT's copies can, but the model has only one tensor for both.
    fn untied(&self, params: &Parameters) -> Vec<String> {
        let base = |name: &str| {
            params.find(name).map(|id| params.get(id).value().to_precision(Precision::F32))
        };
        let found = &self.values;
        let differ = |(second, first): &(&str, &str)| match (found.get(*second), found.get(*first))
        {
            (Some(a), Some(b)) => a.data() != b.data(),
            // The bias has one place in PEFT's model as well. The weight has two: if the adapter has one, the
            // other keeps the base's value.
            (Some(one), None) | (None, Some(one)) => {
                second.ends_with(".weight") && base(first).is_some_and(|b| b.data() != one.data())
            }
            (None, None) => false,
        };
        tied(params)
            .iter()
            .filter(|pair| differ(pair))
            .map(|(second, first)| format!("{second} would differ from {first}, but they are tied"))
            .collect()
    }
}

/// Where the tensor `key` of an adapter belongs; none if the adapter should not have it.
fn find_destination(key: &str, config: &Config, params: &Parameters) -> Option<Destination> {
    let key = key.strip_prefix(PREFIX)?;
    let base = |name: String, in_module| {
        let id = params.find(first_name(&name, params))?;
        Some(Destination::Base { name, id, in_module })
    };
    let mark = format!(".{COPY}.");
    if config.peft_type == PeftType::LnTuning
        && let Some((module, leaf)) = key.split_once(mark.as_str())
    {
        return base(format!("{module}.{leaf}"), true);
    }
    let known = PeftParameter::ALL.into_iter().filter(|p| p.peft_type() == config.peft_type);
    let added = known.filter_map(|p| Some((key.strip_suffix(p.suffix())?, p))).next();
    if let Some((module, parameter)) = added {
        let weight = params.find(&format!("{module}.weight"))?;
        let has_socket = params.get(weight).role().is_linear_weight();
        return has_socket.then_some(Destination::Added(weight, parameter));
    }
    if config.saves_whole(module_of(key)) {
        return base(key.to_owned(), true);
    }
    let name = key.replace(BASE_LAYER, "");
    (config.has_biases && name.ends_with(".bias")).then(|| base(name, false)).flatten()
}

/// The name in [`Parameters`] of the tensor that PEFT calls `name`.
fn first_name<'n>(name: &'n str, params: &Parameters) -> &'n str {
    tied(params).into_iter().find(|(second, _)| *second == name).map_or(name, |(_, first)| first)
}

/// Modules in the configuration that the model does not have.
fn unknown_modules(config: &Config, params: &Parameters) -> Vec<String> {
    let tied = tied(params);
    let seconds = tied.iter().map(|(second, _)| module_of(second));
    let known = params.iter().map(|(_, p)| module_of(peft_name(p.name())));
    let known: BTreeSet<_> = known.chain(seconds).collect();
    let is_known = |entry: &str| {
        let ends_with_entry = |module: &str| {
            module.strip_suffix(entry).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        known.iter().any(|module| ends_with_entry(module) || is_within(module, entry))
    };
    let entries = config.targets.names().iter().chain(config.saved_whole.names());
    entries.filter(|entry| !is_known(entry)).map(|entry| format!("module {entry}")).collect()
}
