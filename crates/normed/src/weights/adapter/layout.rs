//! The files and names of an adapter directory.

use crate::tensor::Parameters;
use crate::weights::blip_names::TIED;
use crate::weights::llava_names::TIED_HEAD;

/// The configuration's file.
pub(super) const CONFIG: &str = "adapter_config.json";
/// The tensors' file.
pub(super) const WEIGHTS: &str = "adapter_model.safetensors";
/// PEFT's prefix of every name of the base model.
pub(super) const PREFIX: &str = "base_model.model.";
/// PEFT's name for its copy of a module.
pub(super) const COPY: &str = "ln_tuning_layers";
/// In PEFT, this is between the name of a layer with low-rank matrices and the name of its bias.
pub(super) const BASE_LAYER: &str = ".base_layer";
/// Key of the content hash of the base in the metadata of the tensors' file. It is not in the configuration,
/// whose keys are PEFT's.
pub(super) const BASE_HASH: &str = "base_content_sha256";

/// A parameter's name in PEFT, where the output bias belongs to a linear layer.
pub(super) fn peft_name(name: &str) -> &str {
    let alias = TIED.iter().find(|(_, first)| *first == name && first.ends_with(".bias"));
    alias.map_or(name, |(second, _)| second)
}

/// Second and first names of the tied tensors of a model. A head that is a parameter of its own is not tied.
pub(super) fn tied(params: &Parameters) -> Vec<(&'static str, &'static str)> {
    let has = |name| params.find(name).is_some();
    let rows = TIED.iter().chain([&TIED_HEAD]);
    rows.filter(|(second, first)| has(first) && !has(second)).copied().collect()
}

/// The name of the module of the parameter `name`.
pub(super) fn module_of(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(module, _)| module)
}

/// Whether `name` is inside of `module`.
pub(super) fn is_within(name: &str, module: &str) -> bool {
    name.strip_prefix(module).is_some_and(|rest| rest.starts_with('.'))
}
