//! A model's directory again, its linear layers' matrices in 8 or 4 bits.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::load::{LoadedModel, load_as_stored, read_config};
use super::model::Layout;
use super::new_directory::NewDirectory;
use super::save::{dtype_name, save_all_but_weights};
use crate::tensor::{Parameters, Precision, Quantization};
use crate::weights::{self, QuantizationReport};
use crate::{Error, Result};

/// Bytes of a file at most, but for one of a single larger tensor.
const LARGEST_FILE: usize = 4 << 30;

/// What [`quantize`] made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuantizedModel {
    /// The directory.
    pub output: PathBuf,
    /// Matrices that were quantised.
    pub matrices: usize,
    /// Bytes of all parameters as they were.
    pub before: usize,
    /// And as they are now.
    pub after: usize,
}

/// Reads the model in `dir` and writes it to `output`, a directory that must not exist, in Hugging Face's
/// layout, or in that of the model's own code where the other has no room for it; the matrices of its linear
/// layers quantised to `to`: attention and feed-forward projections of all towers, and what stands between
/// them. Embeddings, norms, biases and the prediction head stay as they are, as they do in transformers.
/// Matrices are read, quantised and written one after the other; `on_done` is told how many parameters of how
/// many are written.
///
/// The directory is there whole, or not at all.
pub fn quantize(
    dir: &Path,
    to: Quantization,
    output: &Path,
    on_done: &mut dyn FnMut(usize, usize),
) -> Result<QuantizedModel> {
    let new = NewDirectory::create(output)?;
    let loaded = load_as_stored(dir, None)?;
    if let Some(done) = loaded.params.iter().find_map(|(_, p)| p.quantization()) {
        return Err(Error::invalid(dir.display(), format!("is quantised already, to {done}"))
            .with_remedy("quantise the model that it was made of"));
    }
    let LoadedModel { config, params, .. } = &loaded;
    let layout = config.output_layout(loaded.layout)?;
    let of = params.len();
    let name = |name: &str| match layout {
        Layout::HuggingFace => config.saved_name(name),
        Layout::Original => config.stored_name(layout, name),
    };
    let QuantizationReport { config: quantisation, matrices, before, after } =
        weights::write_quantized(new.path(), params, &name, to, LARGEST_FILE, &mut |done| {
            on_done(done, of);
        })?;
    let dtype = dtype_name(majority_precision(params));
    let mut file = match layout {
        Layout::HuggingFace => config.to_hugging_face()?,
        Layout::Original => read_config(dir)?,
    };
    file["dtype"] = json!(dtype);
    file["quantization_config"] = quantisation.to_json(dtype);
    save_all_but_weights(&loaded, new.path(), &file)?;
    if layout == Layout::Original {
        config.save_companion_files(new.path())?;
    }
    new.commit()?;
    Ok(QuantizedModel { output: output.to_owned(), matrices, before, after })
}

/// The precision that a computation with these weights would be in: f32 if most of them are.
pub(super) fn majority_precision(params: &Parameters) -> Precision {
    let (mut all, mut wide) = (0, 0);
    for (_, p) in params.iter() {
        all += p.len();
        wide += if p.value().bytes() == 4 * p.len() { p.len() } else { 0 };
    }
    if 2 * wide >= all { Precision::F32 } else { Precision::Bf16 }
}
