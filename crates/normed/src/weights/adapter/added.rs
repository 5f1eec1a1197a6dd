//! What PEFT has no form for: prefixes and prompts in several towers, adapters, and unions with them.
//!
//! The directory is like PEFT's, and cannot be taken for one of its: `peft_type` is `NORMED`, and
//! `sockets`, `prefixes` and `prompts` in adapter_config.json say what stands where. adapter_model.safetensors
//! holds every trained tensor under the name that it has here, which is Hugging Face's where the model has it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::read::{check_base, misfit};
use super::{AdapterCard, BASE_HASH, BaseCheck, CONFIG, LoadedAdapter, WEIGHTS};
use crate::files::{read_json, write_atomically};
use crate::tensor::{LowRankConfig, ParamId, Parameters, Plug, Precision, PrefixKv};
use crate::weights::{read_safetensors, write_safetensors};
use crate::{Error, Result};

/// The `peft_type` of such a directory.
pub(super) const TYPE: &str = "NORMED";

/// More is no rank, no bottleneck and no prefix.
const MOST: usize = 1 << 14;

/// What adapter_config.json says.
#[derive(Debug, Serialize, Deserialize)]
struct Plugs {
    sockets: Vec<Socket>,
    prefixes: Vec<PrefixPlug>,
    #[serde(default)]
    prompts: Vec<PromptPlug>,
}

/// What is plugged into a linear layer, which its weight names.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Socket {
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

/// A prefix of the attentions whose keys these weights make.
#[derive(Debug, Serialize, Deserialize)]
struct PrefixPlug {
    keys: Vec<String>,
    length: usize,
    projection: bool,
}

/// A prompt of the tower whose tokens this table embeds.
#[derive(Debug, Serialize, Deserialize)]
struct PromptPlug {
    table: String,
    length: usize,
}

/// Whether something is plugged in that PEFT has no form for.
pub(super) fn is_needed(params: &Parameters) -> bool {
    params.prefixes().len() > 0
        || params.soft_prompts().len() > 0
        || params.plugs().any(|(_, delta)| matches!(delta, Plug::Bottleneck(_)))
}

/// Writes what is trained, and where what was added stands, to `dir`.
pub(super) fn save(dir: &Path, params: &Parameters, card: &AdapterCard<'_>) -> Result<()> {
    let Plugs { sockets, prefixes, prompts } = Plugs::of(params);
    let config = json!({
        "base_model_name_or_path": card.base,
        "peft_type": TYPE,
        "prefixes": prefixes,
        "prompts": prompts,
        "sockets": sockets,
    });
    fs::create_dir_all(dir).map_err(|e| Error::io(dir, &e))?;
    write_atomically(&dir.join("README.md"), |out| out.write_all(card.readme.as_bytes()))?;
    write_atomically(&dir.join(CONFIG), |out| writeln!(out, "{config:#}"))?;
    let tensors: BTreeMap<_, _> =
        params.trained().map(|(_, p)| (p.name.as_str(), p.value())).collect();
    let tensors: Vec<_> = tensors.into_iter().collect();
    let metadata = BTreeMap::from([(BASE_HASH.to_owned(), card.base_hash.to_owned())]);
    write_safetensors(&dir.join(WEIGHTS), &tensors, Precision::F32, &metadata)
}

impl Plugs {
    fn of(params: &Parameters) -> Self {
        let name = |id: ParamId| params.get(id).name.clone();
        let shape = |id: ParamId| &params.get(id).shape;
        let socket = |(weight, delta)| match delta {
            Plug::LowRank(path) => Socket::LowRank {
                weight: name(weight),
                rank: shape(path.a)[0],
                alpha: path.alpha,
                use_rslora: path.use_rslora,
                dropout: path.dropout,
                magnitude: path.magnitude.is_some(),
            },
            Plug::ChannelScale(scaled) => {
                Socket::ChannelScale { weight: name(weight), input: scaled.input }
            }
            Plug::Bottleneck(adapter) => Socket::Bottleneck {
                weight: name(weight),
                channels: shape(adapter.down[0])[0],
                parallel: adapter.parallel,
            },
        };
        let mut prefixes: BTreeMap<_, PrefixPlug> = BTreeMap::new();
        for (key, prefix) in params.prefixes() {
            let plug = prefixes.entry(params.get(key).role.tower).or_insert_with(|| PrefixPlug {
                keys: Vec::new(),
                length: shape(prefix.table())[0],
                projection: matches!(prefix, PrefixKv::Projected { .. }),
            });
            plug.keys.push(name(key));
        }
        let prompt = |(table, tokens)| PromptPlug { table: name(table), length: shape(tokens)[0] };
        Self {
            sockets: params.plugs().map(socket).collect(),
            prefixes: prefixes.into_values().collect(),
            prompts: params.soft_prompts().map(prompt).collect(),
        }
    }

    /// Plugs all of it in. Fails where the model has no such layers.
    fn apply(&self, params: &mut Parameters) -> Result<(), String> {
        let mut taken = BTreeSet::new();
        for socket in &self.sockets {
            let (Socket::LowRank { weight, .. }
            | Socket::ChannelScale { weight, .. }
            | Socket::Bottleneck { weight, .. }) = socket;
            let id = matrix(params, weight)?;
            if !taken.insert(id) {
                return Err(format!("{weight} comes twice"));
            }
            match *socket {
                Socket::LowRank { rank, alpha, use_rslora, dropout, magnitude, .. } => {
                    within(rank)?;
                    if !alpha.is_finite() || !(0.0..1.0).contains(&dropout) {
                        return Err(format!("alpha or dropout of {weight} cannot be"));
                    }
                    let has_magnitude = magnitude;
                    let shape = LowRankConfig { rank, alpha, use_rslora, dropout, has_magnitude };
                    params.plug_low_rank(id, shape);
                }
                Socket::ChannelScale { input, .. } => {
                    if input && params.get(id).shape.len() > 2 {
                        return Err(format!(
                            "{weight} is a convolution, whose input is not scaled"
                        ));
                    }
                    params.plug_channel_scale(id, input);
                }
                Socket::Bottleneck { channels, parallel, .. } => {
                    within(channels)?;
                    if !params.get(id).role.is_sublayer_output() {
                        return Err(format!("{weight} ends no sublayer"));
                    }
                    params.plug_bottleneck(id, channels, parallel);
                }
            }
        }
        let mut taken = BTreeSet::new();
        let mut towers = BTreeSet::new();
        for PrefixPlug { keys, length, projection } in &self.prefixes {
            within(*length)?;
            let ids = keys.iter().map(|key| matrix(params, key)).collect::<Result<Vec<_>, _>>()?;
            let alike = |&id: &ParamId| {
                let (one, first) = (params.get(id), params.get(ids[0]));
                let keys = one.role.is_key_weight() && one.shape == first.shape;
                keys && one.role.tower == first.role.tower
            };
            if !ids.iter().all(|id| alike(id) && taken.insert(*id)) {
                return Err("the keys of a prefix are not of one tower and width".to_owned());
            }
            if ids.first().is_some_and(|&id| !towers.insert(params.get(id).role.tower)) {
                return Err("a tower has two prefixes".to_owned());
            }
            params.plug_prefix(&ids, *length, *projection);
        }
        for PromptPlug { table, length } in &self.prompts {
            within(*length)?;
            let id = params.find(table).filter(|&id| params.get(id).role.is_token_embedding());
            let id = id.ok_or_else(|| format!("the model has no table of tokens {table}"))?;
            if params.soft_prompt(id).is_some() {
                return Err(format!("{table} comes twice"));
            }
            params.plug_soft_prompt(id, *length);
        }
        Ok(())
    }
}

fn within(size: usize) -> Result<(), String> {
    if (1..=MOST).contains(&size) { Ok(()) } else { Err(format!("{size} is no size of one")) }
}

/// The matrix called `name`.
fn matrix(params: &Parameters, name: &str) -> Result<ParamId, String> {
    let id = params.find(name).filter(|&id| params.get(id).role.is_linear_weight());
    id.ok_or_else(|| format!("the model has no matrix {name}"))
}

/// Reads what [`save`] wrote over `params`, which are as they were if that fails.
pub(super) fn load(
    dir: &Path,
    params: &mut Parameters,
    base: BaseCheck<'_>,
) -> Result<LoadedAdapter> {
    let path = dir.join(CONFIG);
    let invalid = |cause: String| Error::invalid(path.display(), cause);
    let plugs: Plugs = read_json(&path)?;
    let weights = dir.join(WEIGHTS);
    let file = read_safetensors(&weights)?;
    let warnings = check_base(&weights, file.metadata.get(BASE_HASH), base)?;

    let mut tuned = params.clone();
    plugs.apply(&mut tuned).map_err(invalid)?;
    let (mut set, mut complaints) = (Vec::new(), Vec::new());
    for (name, stored) in &file.tensors {
        let Some(id) = tuned.find(name) else {
            complaints.push(format!("{name} is unexpected"));
            continue;
        };
        let shape = &tuned.get(id).shape;
        match stored.to_tensor() {
            _ if stored.shape() != shape => {
                complaints.push(format!("{name} is {:?} instead of {shape:?}", stored.shape()));
            }
            None => complaints.push(format!("{name} is of type {:?}", stored.dtype())),
            Some(value) if !value.data().iter().all(|x| x.is_finite()) => {
                complaints.push(format!("{name} holds what is no number, or an infinity"));
            }
            Some(value) => {
                tuned.get_mut(id).set(value);
                set.push(id);
            }
        }
    }
    let missing = tuned.iter().filter(|(_, p)| p.is_added() && !file.tensors.contains_key(&p.name));
    complaints.extend(missing.map(|(_, p)| format!("{} is missing", p.name)));
    if !complaints.is_empty() {
        return Err(misfit(&weights, &complaints));
    }
    set.sort_unstable();
    *params = tuned;
    Ok(LoadedAdapter { set, warnings })
}
