//! Virtual tokens of a model's only language model, in PEFT's format: a single tensor `prompt_embeddings`.
//!
//! `PREFIX_TUNING` has each token's keys and values in all blocks, `[P, 2CL]`. As in PEFT, the projection that made
//! them is not kept. `PROMPT_TUNING` has each token's embedding, `[P, C]`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::adapter_files::read_adapter_tensors;
use super::base_check::{BaseCheck, check_base};
use super::card::AdapterCard;
use super::layout::{BASE_HASH, CONFIG, WEIGHTS};
use super::loaded::LoadedAdapter;
use super::write_config::merged;
use crate::files::{read_json, write_atomically};
use crate::tensor::{ParamId, Parameter, Parameters, Precision, PrefixKv, Tensor, Tower};
use crate::weights::safetensors_writer::write_safetensors;
use crate::{Error, Result};

/// The name of the only tensor in such an adapter.
const TENSOR: &str = "prompt_embeddings";

/// The kinds of virtual tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum VirtualTokens {
    /// Keys and values in every block.
    Prefix,
    /// Token embeddings.
    Prompt,
}

impl VirtualTokens {
    /// The kind that an adapter of this `peft_type` holds, if it holds virtual tokens.
    pub fn from_peft_type(peft_type: &str) -> Option<Self> {
        [Self::Prefix, Self::Prompt].into_iter().find(|kind| kind.peft_type() == peft_type)
    }

    /// The kind that is plugged into the only language model, if nothing else is trained.
    pub fn only_trained(params: &Parameters) -> Option<Self> {
        let prefixes: Vec<_> = params.prefixes().map(|(key, _)| key).collect();
        let prompts: Vec<_> = params.soft_prompts().map(|(table, _)| table).collect();
        let others = params.plugs().len() > 0 || params.trained().any(|(_, p)| !p.is_added());
        let kind = match (prefixes.is_empty(), prompts.is_empty()) {
            (false, true) => Self::Prefix,
            (true, false) => Self::Prompt,
            _ => return None,
        };
        (!others && kind.sockets(params) == [prefixes, prompts].concat()).then_some(kind)
    }

    fn peft_type(self) -> &'static str {
        match self {
            Self::Prefix => "PREFIX_TUNING",
            Self::Prompt => "PROMPT_TUNING",
        }
    }

    /// The sockets in the only language model: the weights that make keys, or the table of token embeddings. Empty
    /// if the model has a text encoder as well.
    fn sockets(self, params: &Parameters) -> Vec<ParamId> {
        if params.iter().any(|(_, p)| p.role().tower == Tower::Text) {
            return Vec::new();
        }
        let is_socket = |p: &Parameter| match self {
            Self::Prefix => p.role().is_key_weight(),
            Self::Prompt => p.role().is_token_embedding(),
        };
        let decoder = |p: &Parameter| p.role().tower == Tower::Decoder;
        let all = params.iter().filter(|(_, p)| decoder(p) && is_socket(p));
        all.map(|(id, _)| id).collect()
    }

    /// Elements of a virtual token in the adapter's tensor.
    fn width(self, params: &Parameters, sockets: &[ParamId]) -> usize {
        let shape = |id: &ParamId| params.get(*id).shape();
        match self {
            Self::Prefix => sockets.iter().map(|key| 2 * shape(key)[0]).sum(),
            Self::Prompt => sockets.iter().map(|table| shape(table)[1]).sum(),
        }
    }

    /// Plugs in `length` virtual tokens; returns the added parameters, whose columns together are the tensor.
    fn plug(self, params: &mut Parameters, sockets: &[ParamId], length: usize) -> Vec<ParamId> {
        match self {
            Self::Prefix => {
                params.plug_prefix(sockets, length, false);
                params.prefixes().map(|(_, prefix)| prefix.table()).collect()
            }
            Self::Prompt => {
                sockets.iter().map(|&table| params.plug_soft_prompt(table, length)).collect()
            }
        }
    }

    /// The keys of the configuration that only this kind has.
    fn own_keys(self) -> Value {
        match self {
            Self::Prefix => json!({
                "encoder_hidden_size": null,
                "init_weights": null,
                "prefix_projection": false,
            }),
            Self::Prompt => json!({
                "prompt_tuning_init": "SAMPLE_VOCAB",
                "prompt_tuning_init_text": null,
                "tokenizer_kwargs": null,
                "tokenizer_name_or_path": null,
            }),
        }
    }
}

/// Writes the virtual tokens to `dir`. PEFT takes keys that are null here from the model's configuration.
pub(super) fn save(
    dir: &Path,
    params: &Parameters,
    kind: VirtualTokens,
    card: &AdapterCard<'_>,
) -> Result<()> {
    let prefixes = params.prefixes().map(|(_, prefix)| rows(params, prefix));
    let prompts = params.soft_prompts().map(|(_, tokens)| params.get(tokens).value().clone());
    let parts: Vec<_> = prefixes.chain(prompts).collect();
    let length = parts.first().map_or(0, |part| part.rows());
    let row =
        |p: usize| parts.iter().flat_map(move |b| b.data()[p * b.width()..][..b.width()].iter());
    let values: Vec<f32> = (0..length).flat_map(row).copied().collect();
    let table = Tensor::new(&[length, values.len() / length.max(1)], values);
    let common = json!({
        "auto_mapping": null,
        "base_model_name_or_path": card.base,
        "inference_mode": true,
        "modules_to_save": null,
        "num_attention_heads": null,
        "num_layers": null,
        "num_transformer_submodules": 1,
        "num_virtual_tokens": length,
        "peft_type": kind.peft_type(),
        "peft_version": "0.21.2",
        "revision": null,
        "task_type": "CAUSAL_LM",
        "token_dim": null,
    });
    let config = merged(common, kind.own_keys());
    fs::create_dir_all(dir).map_err(|e| Error::io(dir, &e))?;
    write_atomically(&dir.join("README.md"), |out| out.write_all(card.readme.as_bytes()))?;
    write_atomically(&dir.join(CONFIG), |out| writeln!(out, "{config:#}"))?;
    let metadata = BTreeMap::from([(BASE_HASH.to_owned(), card.base_hash.to_owned())]);
    write_safetensors(&dir.join(WEIGHTS), &[(TENSOR, &table)], Precision::F32, &metadata)
}

/// The keys and values of a block, `[P, 2C]`.
fn rows(params: &Parameters, prefix: PrefixKv) -> Tensor {
    let value = |id: ParamId| params.get(id).value();
    match prefix {
        PrefixKv::Table(table) => value(table).clone(),
        PrefixKv::Projected { table, first, second } => {
            let layer =
                |x: &Tensor, [weight, bias]: [ParamId; 2]| linear(x, value(weight), value(bias));
            let mut h = layer(value(table), first);
            h.data_mut().iter_mut().for_each(|x| *x = x.tanh());
            layer(&h, second)
        }
    }
}

/// `x Wᵀ + b`, for few rows.
fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Tensor {
    let inner = x.width();
    let dot = |x: &[f32], w: &[f32]| x.iter().zip(w).map(|(x, w)| x * w).sum::<f32>();
    let row = |x: &[f32]| -> Vec<f32> {
        let outputs = weight.data().chunks_exact(inner).zip(bias.data());
        outputs.map(|(w, b)| dot(x, w) + b).collect()
    };
    let values: Vec<f32> = x.data().chunks_exact(inner).flat_map(row).collect();
    Tensor::new(&[x.rows(), bias.len()], values)
}

/// Loads the virtual tokens in `dir`. `params` do not change if that fails.
pub(super) fn load(
    dir: &Path,
    params: &mut Parameters,
    kind: VirtualTokens,
    base: BaseCheck<'_>,
) -> Result<LoadedAdapter> {
    let place = dir.join(CONFIG);
    let config: Value = read_json(&place)?;
    if config["prefix_projection"] == true && config["inference_mode"] != true {
        let cause = "the prefix was saved during training, without its projection";
        return Err(Error::invalid(place.display(), cause)
            .with_remedy("save it with PEFT's save_pretrained, which sets inference_mode"));
    }
    let file = read_adapter_tensors(dir)?;
    let path = &file.path;
    let warnings = check_base(path, file.metadata.get(BASE_HASH), base)?;
    let invalid = |cause: &str| Error::invalid(path.display(), cause);

    let sockets = kind.sockets(params);
    let width = kind.width(params, &sockets);
    if sockets.is_empty() {
        return Err(invalid(
            "it holds virtual tokens of a language model, and this model has none",
        )
        .with_remedy("PEFT's prefixes and prompts are for decoder-only models"));
    }
    let stored = file.tensors.get(TENSOR).filter(|_| file.tensors.len() == 1);
    let stored =
        stored.ok_or_else(|| invalid("it must hold the tensor prompt_embeddings and no other"))?;
    let &[length, found] = stored.shape() else {
        return Err(invalid("prompt_embeddings is not a matrix"));
    };
    if found != width || length == 0 {
        let cause = format!("prompt_embeddings is {:?} instead of [P, {width}]", stored.shape());
        return Err(invalid(&cause));
    }
    if let Some(expected) = config["num_virtual_tokens"].as_u64().filter(|&n| n != length as u64) {
        let cause = format!("prompt_embeddings has {length} rows, but {CONFIG} says {expected}");
        return Err(invalid(&cause));
    }
    let table = stored
        .to_tensor()
        .ok_or_else(|| invalid("the type of prompt_embeddings is not supported"))?;
    if !table.data().iter().all(|x| x.is_finite()) {
        return Err(invalid("prompt_embeddings has a value that is not finite"));
    }
    let plugged = kind.plug(params, &sockets, length);
    let mut first = 0;
    for &id in &plugged {
        let own = params.get(id).shape()[1];
        let rows = table.data().chunks_exact(width).flat_map(|row| &row[first..first + own]);
        let value = Tensor::new(&[length, own], rows.copied().collect());
        params.get_mut(id).set(value);
        first += own;
    }
    Ok(LoadedAdapter { set: plugged, warnings })
}
