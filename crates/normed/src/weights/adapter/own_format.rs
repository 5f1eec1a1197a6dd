//! Normed's own format, for what PEFT has no format for: prefixes and prompts in several towers, bottleneck
//! adapters, and combinations with them.
//!
//! The directory looks like PEFT's, but its `peft_type` is `NORMED`. `sockets`, `prefixes` and `prompts` in
//! adapter_config.json list what is plugged in. adapter_model.safetensors holds every trained tensor under its name
//! in [`Parameters`]; for the model's own tensors that is Hugging Face's name.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::base_check::{BaseCheck, check_base};
use super::card::AdapterCard;
use super::layout::{BASE_HASH, CONFIG, WEIGHTS};
use super::loaded::{LoadedAdapter, does_not_fit};
use crate::files::{read_json, write_atomically};
use crate::tensor::{
    LowRankConfig, MAX_ADDED_SIZE, ParamId, Parameters, Plug, Precision, PrefixKv,
};
use crate::weights::safetensors_reader::read_safetensors;
use crate::weights::safetensors_writer::write_safetensors;
use crate::weights::stored::Stored;
use crate::{Error, Result};

/// The `peft_type` of such an adapter.
pub(super) const PEFT_TYPE: &str = "NORMED";

/// What is plugged in: the keys of adapter_config.json.
#[derive(Debug, Serialize, Deserialize)]
struct PluggedForms {
    sockets: Vec<LayerForm>,
    prefixes: Vec<PrefixForm>,
    #[serde(default)]
    prompts: Vec<PromptForm>,
}

/// What is plugged into the linear layer with this weight.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum LayerForm {
    LowRank {
        weight: String,
        rank: usize,
        alpha: f32,
        use_rslora: bool,
        dropout: f32,
        magnitude: bool,
    },
    ChannelScale {
        weight: String,
        input: bool,
    },
    Bottleneck {
        weight: String,
        channels: usize,
        parallel: bool,
    },
}

/// A prefix of the attentions with these key weights.
#[derive(Debug, Serialize, Deserialize)]
struct PrefixForm {
    keys: Vec<String>,
    length: usize,
    projection: bool,
}

/// A prompt of the tower with this table of token embeddings.
#[derive(Debug, Serialize, Deserialize)]
struct PromptForm {
    table: String,
    length: usize,
}

/// Whether something is plugged in that PEFT has no format for.
pub(super) fn is_needed(params: &Parameters) -> bool {
    params.prefixes().len() > 0
        || params.soft_prompts().len() > 0
        || params.plugs().any(|(_, delta)| matches!(delta, Plug::Bottleneck(_)))
}

/// Writes the trained parameters and the list of what is plugged in to `dir`.
pub(super) fn save(dir: &Path, params: &Parameters, card: &AdapterCard<'_>) -> Result<()> {
    let PluggedForms { sockets, prefixes, prompts } = PluggedForms::of(params);
    let config = json!({
        "base_model_name_or_path": card.base,
        "peft_type": PEFT_TYPE,
        "prefixes": prefixes,
        "prompts": prompts,
        "sockets": sockets,
    });
    fs::create_dir_all(dir).map_err(|e| Error::io(dir, &e))?;
    write_atomically(&dir.join("README.md"), |out| out.write_all(card.readme.as_bytes()))?;
    write_atomically(&dir.join(CONFIG), |out| writeln!(out, "{config:#}"))?;
    let tensors: BTreeMap<_, _> = params.trained().map(|(_, p)| (p.name(), p.value())).collect();
    let tensors: Vec<_> = tensors.into_iter().collect();
    let metadata = BTreeMap::from([(BASE_HASH.to_owned(), card.base_hash.to_owned())]);
    write_safetensors(&dir.join(WEIGHTS), &tensors, Precision::F32, &metadata)
}

impl PluggedForms {
    fn of(params: &Parameters) -> Self {
        let name = |id: ParamId| params.get(id).name().to_owned();
        let shape = |id: ParamId| params.get(id).shape();
        let socket = |(weight, delta)| match delta {
            Plug::LowRank(path) => LayerForm::LowRank {
                weight: name(weight),
                rank: shape(path.a)[0],
                alpha: path.alpha,
                use_rslora: path.use_rslora,
                dropout: path.dropout,
                magnitude: path.magnitude.is_some(),
            },
            Plug::ChannelScale(scaled) => {
                LayerForm::ChannelScale { weight: name(weight), input: scaled.input }
            }
            Plug::Bottleneck(adapter) => LayerForm::Bottleneck {
                weight: name(weight),
                channels: shape(adapter.down[0])[0],
                parallel: adapter.parallel,
            },
        };
        let mut prefixes: BTreeMap<_, PrefixForm> = BTreeMap::new();
        for (key, prefix) in params.prefixes() {
            let plug = prefixes.entry(params.get(key).role().tower).or_insert_with(|| PrefixForm {
                keys: Vec::new(),
                length: shape(prefix.table())[0],
                projection: matches!(prefix, PrefixKv::Projected { .. }),
            });
            plug.keys.push(name(key));
        }
        let prompt = |(table, tokens)| PromptForm { table: name(table), length: shape(tokens)[0] };
        Self {
            sockets: params.plugs().map(socket).collect(),
            prefixes: prefixes.into_values().collect(),
            prompts: params.soft_prompts().map(prompt).collect(),
        }
    }

    /// Plugs everything in.
    ///
    /// # Errors
    /// If the model has no such layers, or a size or number is out of range.
    fn plug_in(&self, params: &mut Parameters) -> Result<(), String> {
        self.plug_layers(params)?;
        self.plug_prefixes(params)?;
        self.plug_prompts(params)
    }

    fn plug_layers(&self, params: &mut Parameters) -> Result<(), String> {
        let mut taken = BTreeSet::new();
        for form in &self.sockets {
            let (LayerForm::LowRank { weight, .. }
            | LayerForm::ChannelScale { weight, .. }
            | LayerForm::Bottleneck { weight, .. }) = form;
            let id = linear_weight(params, weight)?;
            if !taken.insert(id) {
                return Err(format!("{weight} appears twice"));
            }
            match *form {
                LayerForm::LowRank { rank, alpha, use_rslora, dropout, magnitude, .. } => {
                    check_size(rank)?;
                    if !alpha.is_finite() || !(0.0..1.0).contains(&dropout) {
                        return Err(format!("alpha or dropout of {weight} is out of range"));
                    }
                    let has_magnitude = magnitude;
                    let shape = LowRankConfig { rank, alpha, use_rslora, dropout, has_magnitude };
                    params.plug_low_rank(id, shape);
                }
                LayerForm::ChannelScale { input, .. } => {
                    if input && params.get(id).shape().len() > 2 {
                        return Err(format!(
                            "{weight} is a convolution, whose input cannot be scaled"
                        ));
                    }
                    params.plug_channel_scale(id, input);
                }
                LayerForm::Bottleneck { channels, parallel, .. } => {
                    check_size(channels)?;
                    if !params.get(id).role().is_sublayer_output() {
                        return Err(format!("{weight} does not end a sublayer"));
                    }
                    params.plug_bottleneck(id, channels, parallel);
                }
            }
        }
        Ok(())
    }

    fn plug_prefixes(&self, params: &mut Parameters) -> Result<(), String> {
        let mut taken = BTreeSet::new();
        let mut towers = BTreeSet::new();
        for PrefixForm { keys, length, projection } in &self.prefixes {
            check_size(*length)?;
            let ids =
                keys.iter().map(|key| linear_weight(params, key)).collect::<Result<Vec<_>, _>>()?;
            let is_alike = |&id: &ParamId| {
                let (one, first) = (params.get(id), params.get(ids[0]));
                let keys = one.role().is_key_weight() && one.shape() == first.shape();
                keys && one.role().tower == first.role().tower
            };
            if !ids.iter().all(|id| is_alike(id) && taken.insert(*id)) {
                return Err("the keys of a prefix differ in tower or width".to_owned());
            }
            if ids.first().is_some_and(|&id| !towers.insert(params.get(id).role().tower)) {
                return Err("a tower has two prefixes".to_owned());
            }
            params.plug_prefix(&ids, *length, *projection);
        }
        Ok(())
    }

    fn plug_prompts(&self, params: &mut Parameters) -> Result<(), String> {
        for PromptForm { table, length } in &self.prompts {
            check_size(*length)?;
            let id = params.find(table).filter(|&id| params.get(id).role().is_token_embedding());
            let id =
                id.ok_or_else(|| format!("the model has no table of token embeddings {table}"))?;
            if params.soft_prompt(id).is_some() {
                return Err(format!("{table} appears twice"));
            }
            params.plug_soft_prompt(id, *length);
        }
        Ok(())
    }
}

/// Checks a rank, a number of channels or of virtual tokens.
fn check_size(size: usize) -> Result<(), String> {
    if (1..=MAX_ADDED_SIZE).contains(&size) {
        Ok(())
    } else {
        Err(format!("the size {size} is not from 1 to {MAX_ADDED_SIZE}"))
    }
}

/// The weight of a linear layer with this name.
fn linear_weight(params: &Parameters, name: &str) -> Result<ParamId, String> {
    let id = params.find(name).filter(|&id| params.get(id).role().is_linear_weight());
    id.ok_or_else(|| format!("the model has no linear layer with the weight {name}"))
}

/// Loads what [`save`] wrote. `params` do not change if that fails.
pub(super) fn load(
    dir: &Path,
    params: &mut Parameters,
    base: BaseCheck<'_>,
) -> Result<LoadedAdapter> {
    let path = dir.join(CONFIG);
    let invalid = |cause: String| Error::invalid(path.display(), cause);
    let forms: PluggedForms = read_json(&path)?;
    let weights = dir.join(WEIGHTS);
    let file = read_safetensors(&weights)?;
    let warnings = check_base(&weights, file.metadata.get(BASE_HASH), base)?;

    let mut tuned = params.clone();
    forms.plug_in(&mut tuned).map_err(invalid)?;
    let (mut set, mut problems) = (Vec::new(), Vec::new());
    for (name, stored) in &file.tensors {
        match set_value(&mut tuned, name, stored) {
            Ok(id) => set.push(id),
            Err(problem) => problems.push(problem),
        }
    }
    let missing =
        tuned.iter().filter(|(_, p)| p.is_added() && !file.tensors.contains_key(p.name()));
    problems.extend(missing.map(|(_, p)| format!("{} is missing", p.name())));
    if !problems.is_empty() {
        return Err(does_not_fit(&weights, &problems));
    }
    set.sort_unstable();
    *params = tuned;
    Ok(LoadedAdapter { set, warnings })
}

/// Sets the parameter `name` to a stored value.
fn set_value(params: &mut Parameters, name: &str, stored: &Stored) -> Result<ParamId, String> {
    let id = params.find(name).ok_or_else(|| format!("{name} is unexpected"))?;
    let shape = params.get(id).shape();
    if stored.shape() != shape {
        return Err(format!("{name} is {:?} instead of {shape:?}", stored.shape()));
    }
    let value =
        stored.to_tensor().ok_or_else(|| format!("{name} is of type {:?}", stored.dtype()))?;
    if !value.data().iter().all(|x| x.is_finite()) {
        return Err(format!("{name} has a value that is not finite"));
    }
    params.get_mut(id).set(value);
    Ok(id)
}
