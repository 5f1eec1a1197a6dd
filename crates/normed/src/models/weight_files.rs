//! The files of weights that Hugging Face's libraries write.

use std::path::Path;

use crate::tensor::Parameters;
use crate::weights::{self, Checkpoint};
use crate::{Error, Result};

/// Opens the weights in `dir`: one safetensors or PyTorch file, or several with an index.
///
/// # Errors
/// If there are none, or if a file cannot be read.
pub(super) fn open_weight_files(dir: &Path) -> Result<Checkpoint> {
    type Read = fn(&Path) -> Result<Checkpoint>;
    const FILES: [(&str, Read); 4] = [
        ("model.safetensors", weights::read_safetensors),
        ("model.safetensors.index.json", weights::read_sharded),
        ("pytorch_model.bin", weights::read_torch),
        ("pytorch_model.bin.index.json", weights::read_sharded_torch),
    ];
    match FILES.iter().find(|(name, _)| dir.join(name).is_file()) {
        Some((name, read)) => read(&dir.join(name)),
        None => Err(Error::invalid(dir.display(), "holds no weights").with_remedy(format!(
            "put one of these files there: {}",
            FILES.map(|(name, _)| name).join(", ")
        ))),
    }
}

/// Whether `name` is a parameter's, or that of a tensor which belongs to a quantized parameter.
pub(super) fn is_known_name(params: &Parameters, name: &str) -> bool {
    let is_param = |name: &str| params.find(name).is_some();
    let of_matrix = name.split_once(".weight.").map(|(module, _)| format!("{module}.weight"));
    let beside = ["SCB", "weight_format"].iter().find_map(|end| name.strip_suffix(end));
    is_param(name)
        || of_matrix.is_some_and(|weight| is_param(&weight))
        || beside.is_some_and(|module| is_param(&format!("{module}weight")))
}
