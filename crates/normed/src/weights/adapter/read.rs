//! Reading an adapter.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;

use super::config::{Config, Kind};
use super::virtual_tokens::VirtualTokens;
use super::{
    BASE_HASH, BASE_LAYER, CONFIG, COPY, Factor, PREFIX, WEIGHTS, added, is_within, module_of,
    peft_name, tied, virtual_tokens,
};
use crate::files::{CONFIG_LIMIT, read_bounded, read_json};
use crate::tensor::{LowRankConfig, ParamId, Parameters, Precision, Tensor};
use crate::weights::fill::list;
use crate::weights::read_safetensors;
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
    let named: Named = read_json(&path)?;
    named
        .base_model_name_or_path
        .ok_or_else(|| Error::invalid(path.display(), "does not say which base it was trained on"))
}

/// One error of all that does not fit.
pub(super) fn misfit(path: &Path, complaints: &[String]) -> Error {
    let n = complaints.len();
    let cause = format!("the adapter does not fit the model, {n} complaints: {}", list(complaints));
    Error::invalid(path.display(), cause)
}

/// `peft_type` of a config, if it is one.
fn peft_type(text: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Typed {
        peft_type: String,
    }
    serde_json::from_slice::<Typed>(text).ok().map(|typed| typed.peft_type)
}

/// What an adapter changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedAdapter {
    /// The parameters that it set or added, in the order of declaration.
    pub set: Vec<ParamId>,
    /// What a user should know.
    pub warnings: Vec<String>,
}

/// Reads the adapter in `dir`, made by normed or by PEFT, over the values in `params`, and plugs what it
/// adds into sockets, which must be empty. Names that are missing, that the model does not have, and
/// shapes that differ are one error, and then nothing is changed.
pub fn load_adapter(
    dir: &Path,
    params: &mut Parameters,
    base: BaseCheck<'_>,
) -> Result<LoadedAdapter> {
    let path = dir.join(CONFIG);
    let text = read_bounded(&path, CONFIG_LIMIT)?;
    if params.iter().any(|(_, p)| p.is_added()) {
        return Err(Error::invalid(dir.display(), "another adapter is loaded already"));
    }
    let peft_type = peft_type(&text).unwrap_or_default();
    if let Some(kind) = VirtualTokens::of_type(&peft_type) {
        return virtual_tokens::load(dir, params, kind, base);
    }
    if peft_type == added::TYPE {
        return added::load(dir, params, base);
    }
    let config = Config::parse(&path, &text)?;
    let path = dir.join(WEIGHTS);
    let file = read_safetensors(&path)?;
    let warnings = check_base(&path, file.metadata.get(BASE_HASH), base)?;

    let mut complaints = Vec::new();
    let mut found = Found::default();
    for (key, stored) in &file.tensors {
        let Some(place) = locate(key, &config, params) else {
            complaints.push(format!("{key} is unexpected"));
            continue;
        };
        let Some(value) = stored.to_tensor() else {
            complaints.push(format!("{key} is of type {:?}", stored.dtype()));
            continue;
        };
        if !value.data().iter().all(|x| x.is_finite()) {
            complaints.push(format!("{key} holds what is no number, or an infinity"));
        }
        match place {
            Place::Base { name, id, alone } => {
                let shape = &params.get(id).shape;
                if !alone {
                    found.named.insert(name.clone());
                }
                if value.shape() != shape {
                    complaints.push(format!("{key} is {:?} instead of {shape:?}", value.shape()));
                } else if found.values.insert(name, value).is_some() {
                    complaints.push(format!("{key} comes twice"));
                }
            }
            Place::Added(weight, factor) => {
                found.added.entry(weight).or_default().insert(factor, value);
            }
        }
    }
    let lacking = missing(&found, &config, params);
    complaints.extend(lacking.into_iter().map(|name| format!("{name} is missing")));
    let mut plugs = Vec::new();
    for (weight, factors) in std::mem::take(&mut found.added) {
        match Plug::new(weight, factors, &config, params) {
            Ok(plug) => plugs.push(plug),
            Err(complaint) => complaints.push(complaint),
        }
    }
    if complaints.is_empty() {
        complaints = untied(&found.values, params);
    }
    if !complaints.is_empty() {
        return Err(misfit(&path, &complaints));
    }
    let mut set = Vec::new();
    for (name, value) in found.values {
        if let Some(id) = params.find(first_name(&name, params)) {
            params.get_mut(id).set(value);
            set.push(id);
        }
    }
    for plug in plugs {
        set.extend(plug.plug_in(params));
    }
    set.sort_unstable();
    set.dedup();
    Ok(LoadedAdapter { set, warnings })
}

pub(super) fn check_base(
    path: &Path,
    named: Option<&String>,
    base: BaseCheck<'_>,
) -> Result<Vec<String>> {
    match (named, base) {
        (_, BaseCheck::Skip) => Ok(Vec::new()),
        (None, BaseCheck::Is(_)) => Ok(vec![format!(
            "{}: it does not say which base it was trained on; that this is the one is not checked",
            path.display()
        )]),
        (Some(named), BaseCheck::Is(hash)) if named == hash => Ok(Vec::new()),
        (Some(named), BaseCheck::Is(hash)) => {
            let cause = format!("trained on the base {named:.12}, this one is {hash:.12}");
            Err(Error::invalid(path.display(), cause).with_remedy(
                "use the base that it was trained on; a model that it was merged into is another one",
            ))
        }
    }
}

/// What a file holds.
#[derive(Default)]
struct Found {
    /// Values of the model's own parameters, by PEFT's names.
    values: BTreeMap<String, Tensor>,
    /// Those among them that come with the whole of their module.
    named: BTreeSet<String>,
    /// Values of added ones, by the weights of the layers.
    added: BTreeMap<ParamId, BTreeMap<Factor, Tensor>>,
}

/// What a key holds.
enum Place {
    /// A parameter of the model, under PEFT's name, alone or with the rest of its module.
    Base { name: String, id: ParamId, alone: bool },
    /// A part of what is beside the layer with this weight.
    Added(ParamId, Factor),
}

fn locate(key: &str, config: &Config, params: &Parameters) -> Option<Place> {
    let key = key.strip_prefix(PREFIX)?;
    let base = |name: String, alone| {
        let id = params.find(first_name(&name, params))?;
        Some(Place::Base { name, id, alone })
    };
    let mark = format!(".{COPY}.");
    if config.kind == Kind::LnTuning
        && let Some((module, leaf)) = key.split_once(mark.as_str())
    {
        return base(format!("{module}.{leaf}"), false);
    }
    let factors = Factor::ALL.iter().filter(|factor| factor.kind() == config.kind);
    let added = factors.filter_map(|&factor| Some((key.strip_suffix(factor.suffix())?, factor)));
    if let Some((module, factor)) = added.into_iter().next() {
        let weight = params.find(&format!("{module}.weight"))?;
        // What is no linear layer has no socket.
        let plugs = params.get(weight).role.is_linear_weight();
        return plugs.then_some(Place::Added(weight, factor));
    }
    if config.keeps(module_of(key)) {
        return base(key.to_owned(), false);
    }
    let name = key.replace(BASE_LAYER, "");
    (config.biases && name.ends_with(".bias")).then(|| base(name, true)).flatten()
}

/// The name under which [`Parameters`] has what PEFT calls `name`.
fn first_name<'n>(name: &'n str, params: &Parameters) -> &'n str {
    tied(params).into_iter().find(|(second, _)| *second == name).map_or(name, |(_, first)| first)
}

/// What the adapter says it holds, and does not.
fn missing(found: &Found, config: &Config, params: &Parameters) -> BTreeSet<String> {
    let modules: BTreeSet<_> = found.named.iter().map(|name| module_of(name)).collect();
    let copies = config.kind == Kind::LnTuning;
    let wanted = |module: &str| {
        modules.contains(module) || config.keeps(module) || copies && config.adapts(module)
    };
    let mut missing: BTreeSet<_> = params
        .iter()
        .map(|(_, parameter)| peft_name(&parameter.name))
        .filter(|name| wanted(module_of(name)) && !found.named.contains(*name))
        .map(str::to_owned)
        .collect();
    if !copies {
        let layers = params.iter().filter(|(_, p)| p.role.is_linear_weight());
        let lacking = layers
            .filter(|(id, p)| config.adapts(module_of(&p.name)) && !found.added.contains_key(id));
        missing
            .extend(lacking.map(|(_, p)| format!("{} {}", config.kind.name(), module_of(&p.name))));
    }
    // Entries that no module of the model matches.
    let tied = tied(params);
    let seconds = tied.iter().map(|(second, _)| module_of(second));
    let known = params.iter().map(|(_, p)| module_of(peft_name(&p.name)));
    let known: BTreeSet<_> = known.chain(seconds).collect();
    for entry in config.targets.names().iter().chain(config.whole.names()) {
        let ends = |module: &str| {
            module.strip_suffix(entry.as_str()).is_some_and(|s| s.is_empty() || s.ends_with('.'))
        };
        if !known.iter().any(|module| ends(module) || is_within(module, entry)) {
            missing.insert(format!("module {entry}"));
        }
    }
    missing
}

/// What goes into a socket, found to fit.
struct Plug {
    weight: ParamId,
    what: What,
}

enum What {
    LowRank { shape: LowRankConfig, a: Tensor, b: Tensor, magnitude: Option<Tensor> },
    ChannelScale { input: bool, vector: Tensor },
}

impl Plug {
    fn new(
        weight: ParamId,
        mut factors: BTreeMap<Factor, Tensor>,
        config: &Config,
        params: &Parameters,
    ) -> Result<Self, String> {
        let layer = params.get(weight);
        let module = module_of(&layer.name);
        let (out, inner) = layer.shape.split_at(1);
        let kernel = inner.len() > 1;
        let wrong = |factor: Factor, found: &[usize], wanted: String| {
            Err(format!("{module}{} is {found:?} instead of {wanted}", factor.suffix()))
        };
        if let Some(vector) = factors.remove(&Factor::Scale) {
            let found = vector.shape();
            let input = !kernel && found == [1, inner[0]];
            let output = match kernel {
                false => found == [out[0], 1],
                true => vector.len() == out[0] && found.get(1) == Some(&out[0]),
            };
            if !input && !output {
                return wrong(Factor::Scale, found, format!("factors of {out:?} or {inner:?}"));
            }
            return Ok(Self { weight, what: What::ChannelScale { input, vector } });
        }
        let shape = config.path(module)?;
        let mut take = |factor: Factor| {
            let lacks = || format!("{module}{} is missing", factor.suffix());
            factors.remove(&factor).ok_or_else(lacks)
        };
        let (a, b) = (take(Factor::A)?, take(Factor::B)?);
        let magnitude = shape.has_magnitude.then(|| take(Factor::Magnitude)).transpose()?;
        let wanted = [&[shape.rank], inner].concat();
        if a.shape() != wanted {
            return wrong(Factor::A, a.shape(), format!("{wanted:?}"));
        }
        let wanted = match kernel {
            true => vec![out[0], shape.rank, 1, 1],
            false => vec![out[0], shape.rank],
        };
        if b.shape() != wanted {
            return wrong(Factor::B, b.shape(), format!("{wanted:?}"));
        }
        if let Some(magnitude) = magnitude.as_ref().filter(|m| m.len() != out[0]) {
            return wrong(Factor::Magnitude, magnitude.shape(), format!("{out:?}"));
        }
        if !factors.is_empty() {
            return Err(format!("{module} has a magnitude, and use_dora is false"));
        }
        Ok(Self { weight, what: What::LowRank { shape, a, b, magnitude } })
    }

    fn plug_in(self, params: &mut Parameters) -> Vec<ParamId> {
        let values: Vec<_> = match self.what {
            What::LowRank { shape, a, b, magnitude } => {
                let path = params.plug_low_rank(self.weight, shape);
                let magnitude = path.magnitude.zip(magnitude);
                [(path.a, a), (path.b, b)].into_iter().chain(magnitude).collect()
            }
            What::ChannelScale { input, vector } => {
                vec![(params.plug_channel_scale(self.weight, input).vector, vector)]
            }
        };
        let mut set = Vec::with_capacity(values.len());
        for (id, value) in values {
            let parameter = params.get_mut(id);
            parameter.set(value.reshape(&parameter.shape.clone()));
            set.push(id);
        }
        set
    }
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
