//! Quantizing a model: a copy of its directory with the matrices of linear layers in 8 or 4 bits.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::load::{LoadedModel, load_as_stored, read_config};
use super::model::Layout;
use super::save::{dtype_name, save_all_but_weights};
use crate::files::NewDirectory;
use crate::tensor::{Parameters, Precision, Quantization};
use crate::weights::{self, QuantizationReport};
use crate::{Error, Result};

/// The largest size of a file in bytes; a single larger tensor gets a file of its own.
const LARGEST_FILE: usize = 4 << 30;

/// The result of [`quantize`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuantizedModel {
    /// Its directory.
    pub output: PathBuf,
    /// Matrices that were quantized.
    pub matrices: usize,
    /// Bytes of all parameters before.
    pub before: usize,
    /// Bytes of all parameters after.
    pub after: usize,
}

/// Copies the model in `dir` to `output`, with the matrices of its linear layers quantized to `to`: those of
/// attention, feed-forward networks and the projector, in all towers. Embeddings, norms, biases and the
/// prediction head stay as they are, as in transformers. The copy is in Hugging Face's layout, or in that of the
/// model's own code if Hugging Face's cannot express it.
///
/// Matrices are read, quantized and written one by one; `on_done` gets the number of parameters that are
/// written, and the number of all. `output` appears when it is complete, or not at all.
///
/// # Errors
/// If `output` exists, if the model is quantized already, or if a file cannot be read or written.
pub fn quantize(
    dir: &Path,
    to: Quantization,
    output: &Path,
    on_done: &mut dyn FnMut(usize, usize),
) -> Result<QuantizedModel> {
    let new = NewDirectory::create(output)?;
    let loaded = load_as_stored(dir, None)?;
    if let Some(done) = loaded.params.iter().find_map(|(_, p)| p.quantization()) {
        return Err(Error::invalid(dir.display(), format!("is quantized already, to {done}"))
            .with_remedy("quantize the model that it was made from"));
    }
    let LoadedModel { config, params, .. } = &loaded;
    let layout = config.output_layout(loaded.layout)?;
    let of = params.len();
    let name = |name: &str| match layout {
        Layout::HuggingFace => config.saved_name(name),
        Layout::Original => config.stored_name(layout, name),
    };
    let QuantizationReport { config: quantization, matrices, before, after } =
        weights::write_quantized(new.path(), params, &name, to, LARGEST_FILE, &mut |done| {
            on_done(done, of);
        })?;
    let dtype = dtype_name(majority_precision(params));
    let mut file = match layout {
        Layout::HuggingFace => config.to_hugging_face()?,
        Layout::Original => read_config(dir)?,
    };
    file["dtype"] = json!(dtype);
    file["quantization_config"] = quantization.to_json(dtype);
    save_all_but_weights(&loaded, new.path(), &file)?;
    if layout == Layout::Original {
        config.save_companion_files(new.path())?;
    }
    new.commit()?;
    Ok(QuantizedModel { output: output.to_owned(), matrices, before, after })
}

/// The precision of most weights: f32 if at least half of the elements are f32.
pub(super) fn majority_precision(params: &Parameters) -> Precision {
    let (mut all, mut wide) = (0, 0);
    for (_, p) in params.iter() {
        all += p.len();
        wide += if p.value().bytes() == 4 * p.len() { p.len() } else { 0 };
    }
    if 2 * wide >= all { Precision::F32 } else { Precision::Bf16 }
}
