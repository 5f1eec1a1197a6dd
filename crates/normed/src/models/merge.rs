//! Merging an adapter into its base model: the result is a plain model, which needs no PEFT.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::companion_files::{copy_companion_files, has_tokenizer, replace_tokenizer};
use super::load::{LoadedModel, load_as_stored, read_config};
use super::model::Layout;
use super::model_config::LoadOverrides;
use super::quantize::majority_precision;
use super::save::{dtype_name, save_all_but_weights};
use super::vocabulary::load_adapter_and_grow;
use crate::files::{NewDirectory, write_atomically};
use crate::ops::merged_value;
use crate::tensor::{ParamId, Parameters, Plug};
use crate::weights::{self, BaseCheck, LoadedAdapter, MergedTensors, TensorChange};
use crate::{Error, Result};

/// The element type of norms and biases that a merge changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum NormDtype {
    /// f32, whatever the base has. Rounding a norm to half precision can undo its tuning.
    #[default]
    F32,
    /// The base's.
    Base,
}

impl NormDtype {
    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Base => "base",
        }
    }
}

/// The choices of a [`merge`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MergeOptions {
    /// The element type of norms and biases that change.
    pub norm_dtype: NormDtype,
    /// Whether the base gets as many tokens as the adapter has, if that is more, with the adapter's tokenizer.
    pub resize_vocabulary: bool,
}

impl From<NormDtype> for MergeOptions {
    fn from(norm_dtype: NormDtype) -> Self {
        Self { norm_dtype, ..Self::default() }
    }
}

/// The result of [`merge`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergedModel {
    /// Its directory.
    pub output: PathBuf,
    /// What differs from the base.
    pub merged: MergedTensors,
    /// All tensors.
    pub tensors: usize,
    /// Warnings for the user.
    pub warnings: Vec<String>,
}

/// Merges `adapter` into the model in `dir`, and writes the result to `output` in Hugging Face's layout: low-rank
/// paths and scaling vectors are multiplied into the weights, changed parameters replace the originals. Matrices keep
/// their element type; norms and biases that change have the one of `options`. All other files of the base are
/// copied.
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
    options: impl Into<MergeOptions>,
    on_done: &mut dyn FnMut(usize, usize),
) -> Result<MergedModel> {
    let MergeOptions { norm_dtype, resize_vocabulary } = options.into();
    let new = NewDirectory::create(output)?;
    let mut loaded = load_as_stored(dir, None)?;
    let hash = loaded.content_hash.clone();
    weights::expect_adapter(adapter)?;
    let grown = match resize_vocabulary {
        true => weights::grown_vocabulary(adapter, &loaded.params)?,
        false => None,
    };
    let LoadedAdapter { set, mut warnings } = match grown {
        Some(_) => load_adapter_and_grow(&mut loaded, adapter, LoadOverrides::default())?,
        None => weights::load_adapter(adapter, &mut loaded.params, BaseCheck::Is(&hash))?,
    };
    let changes = tensor_changes(&loaded.params, set, norm_dtype)?;
    let checkpoint = loaded.config.open_weights(dir, loaded.layout)?;
    write_companion_files(&loaded, grown, adapter, new.path())?;
    let tensors = checkpoint.tensors.len();
    let saved_name = |name: &str| loaded.config.saved_name(name);
    let merged =
        weights::write_merged(new.path(), &checkpoint, &changes, &saved_name, &mut |done| {
            on_done(done, tensors);
        })?;
    warnings.extend(rounding_warnings(&merged));
    new.commit()?;
    Ok(MergedModel { output: output.to_owned(), merged, tensors, warnings })
}

/// The new values, by the names of their parameters: those in `set`, which the adapter replaces, and those of layers
/// into which something is plugged, with it multiplied in.
fn tensor_changes(
    params: &Parameters,
    set: Vec<ParamId>,
    norm_dtype: NormDtype,
) -> Result<BTreeMap<String, TensorChange<'_>>> {
    let mut ids: Vec<_> = set.into_iter().filter(|&id| !params.get(id).is_added()).collect();
    if params.prefixes().len() > 0 {
        return Err(not_mergeable("a prefix"));
    }
    if params.soft_prompts().len() > 0 {
        return Err(not_mergeable("a prompt"));
    }
    for (weight, plug) in params.plugs() {
        let layer = params.get(weight);
        if let Some(to) = layer.quantization() {
            let cause =
                format!("`{}` is quantized to {to}, and the adapter changes it", layer.name());
            return Err(Error::invalid("merge", cause)
                .with_remedy("merge into the original model, and quantize the result"));
        }
        if matches!(plug, Plug::Bottleneck(_)) {
            return Err(not_mergeable("a bottleneck adapter"));
        }
        ids.push(weight);
        let bias = layer.name().strip_suffix("weight").map(|module| format!("{module}bias"));
        let scales_outputs = matches!(plug, Plug::ChannelScale(scale) if !scale.input);
        ids.extend(bias.filter(|_| scales_outputs).and_then(|name| params.find(&name)));
    }
    let change = |id: ParamId| {
        let parameter = params.get(id);
        let value = move || merged_value(params, id).unwrap_or_else(|| parameter.value().clone());
        let in_f32 = norm_dtype == NormDtype::F32 && parameter.shape().len() == 1;
        let shape = parameter.shape().to_vec();
        (parameter.name().to_owned(), TensorChange { value: Box::new(value), shape, in_f32 })
    };
    Ok(ids.into_iter().map(change).collect())
}

/// What the user should know of the element types.
fn rounding_warnings(merged: &MergedTensors) -> Vec<String> {
    let mut warnings = Vec::new();
    let names: Vec<_> = merged.rounded_to.iter().copied().collect();
    if !names.is_empty() {
        warnings.push(format!(
            "the base is in half precision, and the merged weights are rounded to it ({}): answers may differ slightly \
             from those with the adapter",
            names.join(" and ")
        ));
    }
    if merged.widened {
        warnings.push(
            "changed norms and biases are in f32, the rest is in half precision as in the base. In Python, load the \
             model with dtype=torch.float32: transformers rounds all tensors to one dtype, which can undo the tuning"
                .to_owned(),
        );
    }
    warnings
}

/// The error for an addition that a plain model cannot have.
fn not_mergeable(what: &str) -> Error {
    Error::invalid(
        "merge",
        format!("{what} cannot be merged: it does not change the model's own weights"),
    )
    .with_remedy("keep the adapter, and pass it as `--adapter` to evaluate and predict")
}

/// Writes all files of the model but the weights: copies of the base's own if they are in Hugging Face's layout. `grown`
/// is the number of tokens if the vocabulary grew to that of `adapter`.
fn write_companion_files(
    loaded: &LoadedModel,
    grown: Option<usize>,
    adapter: &Path,
    output: &Path,
) -> Result<()> {
    if loaded.layout == Layout::Original {
        let dtype = dtype_name(majority_precision(&loaded.params));
        let mut file = loaded.config.to_hugging_face()?;
        file["dtype"] = json!(dtype);
        return save_all_but_weights(loaded, output, &file);
    }
    copy_companion_files(&loaded.dir, output)?;
    let Some(rows) = grown else { return Ok(()) };
    if has_tokenizer(adapter) {
        replace_tokenizer(adapter, output)?;
    }
    let mut config = read_config(&loaded.dir)?;
    config["text_config"]["vocab_size"] = json!(rows);
    // Some files of older versions have it here, too.
    if let Some(size) = config.get_mut("vocab_size") {
        *size = json!(rows);
    }
    write_atomically(&output.join("config.json"), |out| writeln!(out, "{config:#}"))
}
