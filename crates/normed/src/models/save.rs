//! Writing models to directories.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::companion_files::copy_generation_config;
use super::load::LoadedModel;
use crate::files::write_atomically;
use crate::tensor::{Parameter, Precision};
use crate::weights;
use crate::{Error, Result};

/// Writes `loaded` as a Hugging Face directory: config.json, model.safetensors, the tokenizer and
/// preprocessor_config.json, as Python's transformers reads them; `bf16` halves the file. The weights come
/// last, so that a directory with weights is complete.
///
/// # Errors
/// If Hugging Face's layout cannot express the model, or if a file cannot be written.
pub fn save(loaded: &LoadedModel, dir: &Path, bf16: bool) -> Result<()> {
    let precision = if bf16 { Precision::Bf16 } else { Precision::F32 };
    let mut config = loaded.config.to_hugging_face()?;
    config["dtype"] = json!(dtype_name(precision));
    save_all_but_weights(loaded, dir, &config)?;
    let saved = |(_, p): (_, &Parameter)| loaded.config.saved_name(p.name());
    let names: Vec<_> = loaded.params.iter().map(saved).collect();
    let values = loaded.params.iter().map(|(_, p)| p.value());
    let tensors: Vec<_> = names.iter().map(String::as_str).zip(values).collect();
    weights::write_safetensors(
        &dir.join("model.safetensors"),
        &tensors,
        precision,
        &Default::default(),
    )
}

/// Writes all that a model's directory holds but the weights; `config` is config.json's content.
///
/// # Errors
/// If a file cannot be written.
pub(super) fn save_all_but_weights(loaded: &LoadedModel, dir: &Path, config: &Value) -> Result<()> {
    fs::create_dir_all(dir).map_err(|e| Error::io(dir, &e))?;
    write_atomically(&dir.join("config.json"), |out| writeln!(out, "{config:#}"))?;
    // A new model is from no folder.
    if !loaded.dir.as_os_str().is_empty() {
        copy_generation_config(&loaded.dir, dir)?;
    }
    loaded.tokenizer.save(dir)?;
    loaded.image_processor.save(dir)
}

/// The name that PyTorch and config.json have for a precision.
pub(super) fn dtype_name(precision: Precision) -> &'static str {
    match precision {
        Precision::F32 => "float32",
        Precision::Bf16 => "bfloat16",
    }
}
