//! Merging an adapter into its base model: the result is a plain model, which needs no PEFT.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::load::{LoadedModel, load_as_stored};
use super::model::Layout;
use super::new_directory::NewDirectory;
use super::quantize::majority_precision;
use super::save::{dtype_name, save_all_but_weights};
use crate::tensor::{Parameters, Precision, Tensor};
use crate::weights::{self, BaseCheck, LoadedAdapter};
use crate::{Error, Result, ops};

/// The result of [`merge`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergedModel {
    /// Its directory.
    pub output: PathBuf,
    /// Tensors that differ from the base's.
    pub changed: usize,
    /// All tensors.
    pub tensors: usize,
    /// Warnings for the user.
    pub warnings: Vec<String>,
}

/// Extensions of files that hold weights in some form. They are not copied.
const WEIGHTS: [&str; 12] = [
    "safetensors",
    "bin",
    "pth",
    "pt",
    "ckpt",
    "h5",
    "msgpack",
    "onnx",
    "ot",
    "gguf",
    "npz",
    "tflite",
];

/// Merges `adapter` into the model in `dir`, and writes the result to `output` in Hugging Face's layout: low-rank
/// paths and scaling vectors are multiplied into the weights, changed parameters replace the originals. Every
/// tensor keeps its type, and all other files of the base are copied.
///
/// `output` appears when it is complete, or not at all. `on_done` gets the number of tensors that are written, and
/// the number of all.
///
/// # Errors
/// If `output` exists; if a file cannot be read or written; if the adapter belongs to another base, or was merged
/// already (which changed the base's hash); or if it adds something that a plain model cannot have.
pub fn merge(
    dir: &Path,
    adapter: &Path,
    output: &Path,
    on_done: &mut dyn FnMut(usize, usize),
) -> Result<MergedModel> {
    let new = NewDirectory::create(output)?;
    let mut loaded = load_as_stored(dir, None)?;
    let hash = loaded.content_hash.clone();
    let LoadedAdapter { set, mut warnings } =
        weights::load_adapter(adapter, &mut loaded.params, BaseCheck::Is(&hash))?;
    let params = &loaded.params;
    let mut changed = BTreeMap::new();
    for parameter in set.into_iter().map(|id| params.get(id)).filter(|p| !p.is_added()) {
        changed.insert(parameter.name().to_owned(), parameter.value().to_precision(Precision::F32));
    }
    multiply_out(params, &mut changed)?;
    let checkpoint = loaded.config.open_weights(dir, loaded.layout)?;
    if majority_precision(params) == Precision::Bf16 {
        warnings.push(
            "the base is in half precision, so the merged weights are too: answers may differ in rounding"
                .to_owned(),
        );
    }
    write_config_and_tokenizer(&loaded, dir, new.path())?;
    let of = checkpoint.tensors.len();
    let saved_name = |name: &str| loaded.config.saved_name(name);
    weights::write_merged(new.path(), &checkpoint, &changed, &saved_name, &mut |done| {
        on_done(done, of);
    })?;
    new.commit()?;
    Ok(MergedModel { output: output.to_owned(), changed: changed.len(), tensors: of, warnings })
}

/// Adds to `changed` the weights of layers into which something is plugged, with it multiplied in.
fn multiply_out(params: &Parameters, changed: &mut BTreeMap<String, Tensor>) -> Result<()> {
    if params.prefixes().len() > 0 {
        return Err(not_mergeable("a prefix"));
    }
    if params.soft_prompts().len() > 0 {
        return Err(not_mergeable("a prompt"));
    }
    for (weight, delta) in params.plugs() {
        let layer = params.get(weight);
        if let Some(to) = layer.quantization() {
            let cause =
                format!("`{}` is quantized to {to}, and the adapter changes it", layer.name());
            return Err(Error::invalid("merge", cause)
                .with_remedy("merge into the original model, and quantize the result"));
        }
        let Some(merged) = ops::merge_plug(params, weight, delta) else {
            return Err(not_mergeable("a bottleneck adapter"));
        };
        changed.insert(layer.name().to_owned(), merged.weight);
        let bias = layer.name().strip_suffix("weight").map(|module| format!("{module}bias"));
        let bias = bias.and_then(|name| Some((params.find(&name)?, name)));
        if let (Some((bias, name)), Some(factors)) = (bias, merged.bias_factors) {
            let mut value = params.get(bias).value().to_precision(Precision::F32);
            value.data_mut().iter_mut().zip(factors.data()).for_each(|(b, l)| *b *= l);
            changed.insert(name, value);
        }
    }
    Ok(())
}

/// The error for an addition that a plain model cannot have.
fn not_mergeable(what: &str) -> Error {
    Error::invalid(
        "merge",
        format!("{what} cannot be merged: it does not change the model's own weights"),
    )
    .with_remedy("keep the adapter, and pass it as `--adapter` to evaluate and predict")
}

/// Writes all files of the model but the weights: copies of the base's own if they are in Hugging Face's layout.
fn write_config_and_tokenizer(loaded: &LoadedModel, dir: &Path, output: &Path) -> Result<()> {
    if loaded.layout == Layout::Original {
        let dtype = dtype_name(majority_precision(&loaded.params));
        let mut file = loaded.config.to_hugging_face()?;
        file["dtype"] = json!(dtype);
        return save_all_but_weights(loaded, output, &file);
    }
    for entry in fs::read_dir(dir).map_err(|e| Error::io(dir, &e))? {
        let path = entry.map_err(|e| Error::io(dir, &e))?.path();
        let Some(name) = path.file_name().map(|name| name.to_string_lossy().into_owned()) else {
            continue;
        };
        let extension = path.extension().unwrap_or_default().to_string_lossy();
        let is_weights = WEIGHTS.contains(&&*extension) || name.ends_with(".index.json");
        // In the hub's cache, files are links.
        if path.is_file() && !is_weights && !name.starts_with('.') {
            fs::copy(&path, output.join(&name)).map_err(|e| Error::io(&path, &e))?;
        }
    }
    Ok(())
}
