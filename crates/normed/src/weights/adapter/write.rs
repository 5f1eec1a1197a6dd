//! Writes an adapter.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::card::AdapterCard;
use super::config::PeftType;
use super::layout::{
    BASE_HASH, BASE_LAYER, CONFIG, COPY, PREFIX, WEIGHTS, is_within, module_of, peft_name, tied,
};
use super::own_format;
use super::peft_parameter::PeftParameter;
use super::virtual_tokens::{self, VirtualTokens};
use super::write_config::{CommonKeys, LoraKeys};
use crate::files::write_atomically;
use crate::tensor::{
    LowRank, LowRankConfig, Module, ParamKind, Parameter, Parameters, Plug, Precision, Tensor,
};
use crate::weights::safetensors_writer::write_safetensors;
use crate::{Error, Result};

/// Writes the trained parameters to the directory `dir`, which is created if it does not exist: what is plugged in,
/// and the modules that are trained. The tensors' file is written last, so that a directory with it is complete.
///
/// # Errors
/// As [`check_adapter`]; if nothing is trained; if a file cannot be written.
pub fn save_adapter(dir: &Path, params: &Parameters, card: &AdapterCard<'_>) -> Result<()> {
    if let Some(kind) = VirtualTokens::only_trained(params) {
        return virtual_tokens::save(dir, params, kind, card);
    }
    if own_format::is_needed(params) {
        return own_format::save(dir, params, card);
    }
    let contents = Contents::of(params)?;
    if contents.tensors.is_empty() {
        return Err(Error::invalid(
            dir.display(),
            "nothing is trained, so there is no adapter to save",
        ));
    }
    let config = contents.config(card);
    fs::create_dir_all(dir).map_err(|e| Error::io(dir, &e))?;
    write_atomically(&dir.join("README.md"), |out| out.write_all(card.readme.as_bytes()))?;
    write_atomically(&dir.join(CONFIG), |out| writeln!(out, "{config:#}"))?;
    let list: Vec<_> =
        contents.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let metadata = BTreeMap::from([(BASE_HASH.to_owned(), card.base_hash.to_owned())]);
    write_safetensors(&dir.join(WEIGHTS), &list, Precision::F32, &metadata)
}

/// Checks that an adapter can hold the trained parameters.
///
/// # Errors
/// If neither PEFT's format nor normed's own can: the cause says what is in the way.
pub fn check_adapter(params: &Parameters) -> Result<()> {
    if own_format::is_needed(params) {
        return Ok(());
    }
    Contents::of(params).map(drop)
}

/// The contents of an adapter in PEFT's format.
struct Contents {
    peft_type: PeftType,
    /// `target_modules`.
    targets: BTreeSet<String>,
    /// `modules_to_save`.
    saved_whole: BTreeSet<String>,
    /// Of LoRA: the targets' ranks and scales.
    low_rank: Vec<(String, LowRankConfig)>,
    /// Of IA3: the targets whose inputs are scaled.
    feedforward: Vec<String>,
    /// Whether all biases are among the tensors.
    has_biases: bool,
    /// The tensors, by PEFT's names.
    tensors: BTreeMap<String, Tensor>,
}

/// The model's parameters by PEFT's names (a tied one has two): whether each is trained, and its value.
type PeftParameters<'p> = BTreeMap<&'p str, (bool, &'p Tensor)>;

impl Contents {
    fn of(params: &Parameters) -> Result<Self> {
        let named = peft_parameters(params);
        let alone = biases_without_weights(params);
        let has = |low_rank: bool| {
            params.plugs().any(|(_, delta)| matches!(delta, Plug::LowRank(_)) == low_rank)
        };
        let peft_type = match (has(true), has(false)) {
            (true, true) => return Err(refused("LoRA and IA3 are in one model")),
            (false, true) if !alone.is_empty() => {
                return Err(refused("biases of linear layers are trained together with IA3"));
            }
            (false, true) => PeftType::Ia3,
            (false, false) if alone.is_empty() => PeftType::LnTuning,
            (_, false) => PeftType::Lora,
        };
        let mut contents = Self {
            peft_type,
            targets: BTreeSet::new(),
            saved_whole: BTreeSet::new(),
            low_rank: Vec::new(),
            feedforward: Vec::new(),
            has_biases: !alone.is_empty(),
            tensors: BTreeMap::new(),
        };
        let trained = named.iter().filter(|(name, (t, _))| *t && !alone.contains(*name));
        contents.add_modules(&named, trained.map(|(name, _)| module_of(name)).collect());
        contents.add_plugged(params)?;
        match peft_type {
            PeftType::LnTuning => contents.add_a_target(params, &named),
            PeftType::Lora if contents.has_biases => contents.add_biases(params, &named)?,
            PeftType::Lora | PeftType::Ia3 => {}
        }
        Ok(contents)
    }

    /// Adds the modules `trained`, whole.
    fn add_modules(&mut self, named: &PeftParameters<'_>, trained: BTreeSet<&str>) {
        for &module in &trained {
            if trained.iter().any(|outer| is_within(module, outer)) {
                continue; // inside of a module that is written whole
            }
            // A module with modules of its own can only be kept whole.
            let has_modules = named.keys().any(|name| is_within(module_of(name), module));
            let is_whole = self.peft_type != PeftType::LnTuning || has_modules;
            if is_whole { &mut self.saved_whole } else { &mut self.targets }
                .insert(module.to_owned());
            self.add(named, module, !is_whole);
        }
    }

    fn add(&mut self, named: &PeftParameters<'_>, module: &str, is_target: bool) {
        for (name, (_, tensor)) in named.iter().filter(|(name, _)| is_within(name, module)) {
            let name = match name.rsplit_once('.') {
                Some((module, leaf)) if is_target => format!("{PREFIX}{module}.{COPY}.{leaf}"),
                _ => format!("{PREFIX}{name}"),
            };
            self.tensors.insert(name, (*tensor).clone());
        }
    }

    /// Adds what is plugged into sockets.
    fn add_plugged(&mut self, params: &Parameters) -> Result<()> {
        for (weight, delta) in params.plugs() {
            let layer = params.get(weight);
            let module = module_of(layer.name());
            if self.saved_whole.iter().any(|whole| whole == module || is_within(module, whole)) {
                return Err(refused(&format!("`{module}` is both trained and adapted")));
            }
            let is_convolution = layer.shape().len() > 2;
            let mut insert = |parameter: PeftParameter, tensor: Tensor| {
                self.tensors.insert(format!("{PREFIX}{module}{}", parameter.suffix()), tensor);
            };
            let value = |id| params.get(id).value().clone();
            match delta {
                Plug::LowRank(path) => {
                    insert(PeftParameter::LowRankA, value(path.a));
                    insert(PeftParameter::LowRankB, value(path.b));
                    if let Some(magnitude) = path.magnitude.map(value) {
                        let len = magnitude.len();
                        insert(
                            PeftParameter::Magnitude,
                            match is_convolution {
                                true => magnitude.reshape(&[1, len, 1, 1]),
                                false => magnitude,
                            },
                        );
                    }
                    self.low_rank.push((module.to_owned(), config_of(params, path)));
                }
                Plug::Bottleneck(_) => return Err(refused("a bottleneck adapter is plugged in")),
                Plug::ChannelScale(scaled) if is_convolution && scaled.input => {
                    return Err(refused("IA3 scales the input of a convolution"));
                }
                Plug::ChannelScale(scaled) => {
                    let vector = value(scaled.vector);
                    let len = vector.len();
                    insert(
                        PeftParameter::Scale,
                        match is_convolution {
                            true => vector.reshape(&[1, len, 1, 1]),
                            false => vector,
                        },
                    );
                    if scaled.input {
                        self.feedforward.push(module.to_owned());
                    }
                }
            }
            self.targets.insert(module.to_owned());
        }
        let has_magnitude = |(_, shape): &(String, LowRankConfig)| shape.has_magnitude;
        match self.low_rank.iter().any(has_magnitude) && !self.low_rank.iter().all(has_magnitude) {
            true => Err(refused("some layers have DoRA's magnitudes and others do not")),
            false => Ok(()),
        }
    }

    /// Adds an unchanged norm if there are only modules that are saved whole: PEFT refuses an empty list of targets.
    fn add_a_target(&mut self, params: &Parameters, named: &PeftParameters<'_>) {
        if !self.targets.is_empty() || self.saved_whole.is_empty() {
            return;
        }
        let norm = params.iter().find(|(_, p)| {
            let name = p.name();
            let outside = !self.saved_whole.iter().any(|module| is_within(name, module));
            matches!(p.role().module, Module::Norm(_)) && outside
        });
        if let Some((_, norm)) = norm {
            let module = module_of(norm.name());
            self.targets.insert(module.to_owned());
            self.add(named, module, true);
        }
    }

    /// Adds all biases, and a pair of zero matrices if there is none: a LoRA needs at least one.
    fn add_biases(&mut self, params: &Parameters, named: &PeftParameters<'_>) -> Result<()> {
        if self.low_rank.is_empty() {
            let carries = |p: &&Parameter| {
                let kept = |whole: &String| is_within(p.name(), whole);
                p.role().is_linear_weight()
                    && p.shape().len() == 2
                    && !self.saved_whole.iter().any(kept)
            };
            let layer = params.iter().map(|(_, p)| p).find(carries);
            let layer =
                layer.ok_or_else(|| refused("biases are trained, and no layer is frozen"))?;
            let module = module_of(layer.name());
            let key = |parameter: PeftParameter| format!("{PREFIX}{module}{}", parameter.suffix());
            self.tensors
                .insert(key(PeftParameter::LowRankA), Tensor::zeros(&[1, layer.shape()[1]]));
            self.tensors
                .insert(key(PeftParameter::LowRankB), Tensor::zeros(&[layer.shape()[0], 1]));
            let shape = LowRankConfig {
                rank: 1,
                alpha: 1.0,
                use_rslora: false,
                dropout: 0.0,
                has_magnitude: false,
            };
            self.low_rank.push((module.to_owned(), shape));
            self.targets.insert(module.to_owned());
        }
        for (name, (_, tensor)) in named.iter().filter(|(name, _)| name.ends_with(".bias")) {
            let module = module_of(name);
            let between = if self.targets.contains(module) { BASE_LAYER } else { "" };
            self.tensors.insert(format!("{PREFIX}{module}{between}.bias"), (*tensor).clone());
        }
        Ok(())
    }

    /// adapter_config.json.
    fn config(&self, card: &AdapterCard<'_>) -> Value {
        let names =
            |set: &'_ BTreeSet<String>| set.iter().map(|name| name.as_str().to_owned()).collect();
        let (targets, whole): (Vec<String>, Vec<String>) =
            (names(&self.targets), names(&self.saved_whole));
        let common = CommonKeys {
            base: card.base,
            base_class: card.base_class,
            targets: targets.iter().map(String::as_str).collect(),
            saved_whole: whole.iter().map(String::as_str).collect(),
        };
        match self.peft_type {
            PeftType::LnTuning => common.ln_tuning(),
            PeftType::Lora => common.lora(&LoraKeys {
                layers: self
                    .low_rank
                    .iter()
                    .map(|(module, shape)| (module.as_str(), *shape))
                    .collect(),
                has_biases: self.has_biases,
            }),
            PeftType::Ia3 => {
                let feedforward: Vec<_> = self.feedforward.iter().map(String::as_str).collect();
                common.ia3(&feedforward)
            }
        }
    }
}

fn peft_parameters(params: &Parameters) -> PeftParameters<'_> {
    let tied = tied(params);
    let mut named = BTreeMap::new();
    for (_, parameter) in params.iter().filter(|(_, p)| !p.is_added()) {
        let entry = (parameter.is_trained(), parameter.value());
        named.insert(peft_name(parameter.name()), entry);
        let second = tied.iter().find(|(_, first)| *first == parameter.name());
        if let Some(&(second, _)) = second
            && parameter.is_trained()
        {
            named.insert(second, entry);
        }
    }
    named
}

/// The trained biases, by PEFT's names, whose module's weight is frozen. Empty if all of them are norms' biases:
/// norms are written whole.
///
/// The matrix of the output bias is the embedding table. With other such biases, or with something plugged in, the
/// output bias is one of them, since PEFT then needs whole modules. Alone it is a changed copy, whose matrix PEFT
/// takes from the base.
fn biases_without_weights(params: &Parameters) -> BTreeSet<&str> {
    let is_norm = |p: &&Parameter| matches!(p.role().module, Module::Norm(_));
    let with_frozen_weight: Vec<_> = trained_biases(params, Some(false)).collect();
    let others = with_frozen_weight.iter().any(|p| !is_norm(p));
    let mut alone = BTreeSet::new();
    if others {
        alone.extend(with_frozen_weight.iter().map(|p| peft_name(p.name())));
    }
    if others || params.plugs().len() > 0 {
        let without_weight = trained_biases(params, None).filter(|p| !is_norm(p));
        alone.extend(without_weight.map(|p| peft_name(p.name())));
    }
    alone
}

/// The trained biases of modules whose weight is trained or not, as `weight_trained` says; none means that the module
/// has no weight.
fn trained_biases(
    params: &Parameters,
    weight_trained: Option<bool>,
) -> impl Iterator<Item = &Parameter> {
    params.iter().map(|(_, p)| p).filter(move |p| {
        let weight = || params.find(&format!("{}.weight", module_of(p.name())));
        let trained = || weight().map(|id| params.get(id).is_trained());
        p.is_trained() && p.role().kind == ParamKind::Bias && trained() == weight_trained
    })
}

fn config_of(params: &Parameters, path: LowRank) -> LowRankConfig {
    LowRankConfig {
        rank: params.get(path.a).shape()[0],
        alpha: path.alpha,
        use_rslora: path.use_rslora,
        dropout: path.dropout,
        has_magnitude: path.magnitude.is_some(),
    }
}

fn refused(cause: &str) -> Error {
    Error::invalid("adapter", format!("{cause}, which PEFT's format cannot express"))
        .with_remedy("choose other methods or towers, or train and merge one after the other")
}
