//! A base and an adapter as one plain model: nothing beside its layers, nothing that only PEFT reads.

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

/// What [`merge`] made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergedModel {
    /// The directory.
    pub output: PathBuf,
    /// Tensors that are not the base's.
    pub changed: usize,
    /// Tensors in all.
    pub tensors: usize,
    /// What a user should know.
    pub warnings: Vec<String>,
}

/// Files of the base's directory that hold its weights in some form, or say where they are.
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

/// Writes to `output`, a directory in Hugging Face's layout that must not exist, the model in `dir` with
/// `adapter` in its weights: paths and factors multiplied out, changed copies in the place of the originals.
/// Every tensor keeps its type, and all other files of the base come along. An adapter of another base is an
/// error, and so is one that was merged already: that changed the base's hash.
///
/// The directory is there whole, or not at all. `on_done` is told how many tensors of how many are written.
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
            "the base is in half precision, and so is what was merged into it: answers may differ in rounding"
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

/// Adds to `changed` what layers with something in their sockets are without it.
fn multiply_out(params: &Parameters, changed: &mut BTreeMap<String, Tensor>) -> Result<()> {
    if params.prefixes().len() > 0 {
        return Err(beside("a prefix"));
    }
    if params.soft_prompts().len() > 0 {
        return Err(beside("a prompt"));
    }
    for (weight, delta) in params.plugs() {
        let layer = params.get(weight);
        if let Some(to) = layer.quantization() {
            let cause =
                format!("`{}` is quantised to {to}, and an adapter changes it", layer.name());
            return Err(Error::invalid("merge", cause).with_remedy(
                "merge into the model that was quantised, and quantise what comes of it",
            ));
        }
        let Some(merged) = ops::merge_plug(params, weight, delta) else {
            return Err(beside("an adapter behind or beside a sublayer"));
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

/// What has no place in a plain model.
fn beside(what: &str) -> Error {
    Error::invalid("merge", format!("{what} is no change of the model's own weights"))
        .with_remedy("keep it beside the base: `--adapter` of evaluate and predict")
}

/// All that belongs to a model but the weights: the base's own files, where they are Hugging Face's.
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
        // A cache of the hub's has links to files.
        if path.is_file() && !is_weights && !name.starts_with('.') {
            fs::copy(&path, output.join(&name)).map_err(|e| Error::io(&path, &e))?;
        }
    }
    Ok(())
}
