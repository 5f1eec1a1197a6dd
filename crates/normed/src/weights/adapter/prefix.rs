//! A prefix of the one language model of a model, as PEFT keeps it: `PREFIX_TUNING`, one tensor
//! `prompt_embeddings [P, 2CL]`, of each token every block's key and value. What made them, where a
//! projection did, is not kept, by PEFT neither.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::read::check_base;
use super::{AdapterCard, BASE_HASH, BaseCheck, CONFIG, LoadedAdapter, WEIGHTS};
use crate::tensor::{ParamId, Parameter, Parameters, Precision, PrefixKv, Tensor, Tower};
use crate::weights::{read_safetensors, read_small, write_atomically, write_safetensors};
use crate::{Error, Result};

/// The `peft_type` of such a directory.
pub(super) const TYPE: &str = "PREFIX_TUNING";

/// The one tensor of it.
const TABLE: &str = "prompt_embeddings";

/// Whether a prefix before every block of the one language model is all that is trained.
pub(super) fn is_all(params: &Parameters) -> bool {
    let keys: Vec<_> = params.prefixes().map(|(key, _)| key).collect();
    keys == language_keys(params)
        && !keys.is_empty()
        && params.deltas().len() == 0
        && params.trained().all(|(_, p)| p.is_added())
}

/// The weights that make the keys of the one language model; none where text is read by another tower.
fn language_keys(params: &Parameters) -> Vec<ParamId> {
    if params.iter().any(|(_, p)| p.role.tower == Tower::Text) {
        return Vec::new();
    }
    let decoder = |p: &Parameter| p.role.tower == Tower::Decoder;
    let all = params.iter().filter(|(_, p)| decoder(p) && p.role.makes_keys());
    all.map(|(id, _)| id).collect()
}

/// Writes it to `dir`. What is null in the config PEFT takes from the model's.
pub(super) fn save(dir: &Path, params: &Parameters, card: &AdapterCard<'_>) -> Result<()> {
    let blocks: Vec<_> = params.prefixes().map(|(_, prefix)| rows(params, prefix)).collect();
    let length = blocks.first().map_or(0, |block| block.rows());
    let row =
        |p: usize| blocks.iter().flat_map(move |b| b.data()[p * b.width()..][..b.width()].iter());
    let values: Vec<f32> = (0..length).flat_map(row).copied().collect();
    let table = Tensor::new(&[length, values.len() / length.max(1)], values);
    let config = json!({
        "auto_mapping": null,
        "base_model_name_or_path": card.base,
        "encoder_hidden_size": null,
        "inference_mode": true,
        "num_attention_heads": null,
        "num_layers": null,
        "num_transformer_submodules": 1,
        "num_virtual_tokens": length,
        "peft_type": TYPE,
        "peft_version": "0.21.2",
        "prefix_projection": false,
        "revision": null,
        "task_type": "CAUSAL_LM",
        "token_dim": null,
    });
    fs::create_dir_all(dir).map_err(|e| Error::io(dir, &e))?;
    write_atomically(&dir.join("README.md"), |out| out.write_all(card.readme.as_bytes()))?;
    write_atomically(&dir.join(CONFIG), |out| writeln!(out, "{config:#}"))?;
    let metadata = BTreeMap::from([(BASE_HASH.to_owned(), card.base_hash.to_owned())]);
    write_safetensors(&dir.join(WEIGHTS), &[(TABLE, &table)], Precision::F32, &metadata)
}

/// A block's keys and values, `[P, 2C]`.
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

/// `x Wᵀ + b`, of few rows.
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

/// Reads such a directory over `params`, which are as they were if that fails.
pub(super) fn load(
    dir: &Path,
    params: &mut Parameters,
    base: BaseCheck<'_>,
) -> Result<LoadedAdapter> {
    let place = dir.join(CONFIG);
    let config: Value = serde_json::from_slice(&read_small(&place)?)
        .map_err(|e| Error::invalid(place.display(), e))?;
    if config["prefix_projection"] == true && config["inference_mode"] != true {
        let cause = "a prefix that PEFT still trains, whose projection it does not keep";
        return Err(Error::invalid(place.display(), cause)
            .hint("save it by PEFT's save_pretrained, which sets inference_mode"));
    }
    let path = dir.join(WEIGHTS);
    let file = read_safetensors(&path)?;
    let warnings = check_base(&path, file.metadata.get(BASE_HASH), base)?;
    let invalid = |cause: &str| Error::invalid(path.display(), cause);

    let keys = language_keys(params);
    let width: usize = keys.iter().map(|&key| 2 * params.get(key).shape[0]).sum();
    if keys.is_empty() {
        return Err(invalid("a prefix of a language model, and the model has none")
            .hint("PEFT's prefixes are for causal language models"));
    }
    let stored = file.tensors.get(TABLE).filter(|_| file.tensors.len() == 1);
    let stored =
        stored.ok_or_else(|| invalid("it must hold prompt_embeddings, and nothing else"))?;
    let &[length, found] = stored.shape() else {
        return Err(invalid("prompt_embeddings is no matrix"));
    };
    if found != width || length == 0 {
        let cause = format!("prompt_embeddings is {:?} instead of [P, {width}]", stored.shape());
        return Err(invalid(&cause));
    }
    let table = stored.to_tensor().ok_or_else(|| invalid("prompt_embeddings is no floats"))?;
    if !table.data().iter().all(|x| x.is_finite()) {
        return Err(invalid("prompt_embeddings holds what is no number, or an infinity"));
    }
    params.plug_prefix(&keys, length, false);
    let plugged: Vec<_> = params.prefixes().map(|(_, prefix)| prefix.table()).collect();
    let mut first = 0;
    for &id in &plugged {
        let own = params.get(id).shape[1];
        let rows = table.data().chunks_exact(width).flat_map(|row| &row[first..first + own]);
        let value = Tensor::new(&[length, own], rows.copied().collect());
        params.get_mut(id).set(value);
        first += own;
    }
    Ok(LoadedAdapter { set: plugged, warnings })
}
