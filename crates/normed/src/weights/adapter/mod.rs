//! Adapters: what a run trained, as a directory that Python's `peft` reads and writes.
//!
//! The directory holds adapter_config.json, adapter_model.safetensors and README.md. Its PEFT type
//! is `LN_TUNING`, which for each module of `target_modules` holds a changed copy, whatever the
//! module is: a LayerNorm, a linear layer, an embedding table, a convolution. How what a run
//! trains goes into that form:
//!
//! - A module is written whole as soon as one of its parameters is trained, since PEFT's copy of it
//!   is: `base_model.model.<module>.ln_tuning_layers.{weight,bias}`.
//! - `class_embedding` and `position_embedding` are parameters of `vision_model.embeddings` itself.
//!   PEFT could target that module, but not merge it again, so it goes under `modules_to_save`, in
//!   which PEFT keeps such a module whole: `base_model.model.vision_model.embeddings.<parameter>`.
//! - `text_decoder.cls.predictions.bias` is, in transformers, the bias of the linear layer
//!   `text_decoder.cls.predictions.decoder`, whose weight is the decoder's embedding table. The
//!   target is that layer. A trained table is written as both its modules, so that PEFT, whose
//!   copies are not tied, computes the same; one that is not trained is left out of the file and PEFT
//!   takes it from the base (it warns of one missing key, rightly and without harm).
//! - PEFT refuses an adapter without targets: where only such a whole module is trained, the first
//!   LayerNorm goes along, unchanged.
//!
//! Parameters that PEFT's `Module.ln_tuning_layers` cannot hold do not exist: nothing is stored
//! under names of our own.

mod read;
mod write;

pub use read::{BaseCheck, LoadedAdapter, adapter_base, load_adapter};
pub use write::{AdapterCard, save_adapter};

use super::llava_names::TIED_HEAD;
use super::names::TIED;
use crate::tensor::Parameters;

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";
const PEFT_TYPE: &str = "LN_TUNING";
/// What PEFT puts before every name of the base model.
const PREFIX: &str = "base_model.model.";
/// What PEFT calls its copy of a module.
const COPY: &str = "ln_tuning_layers";
/// Metadata of the safetensors file: the content hash of the base. It is not in the config, whose
/// keys are PEFT's.
const BASE_HASH: &str = "base_content_sha256";

/// A parameter's name as PEFT sees it: the output bias belongs to a linear layer.
fn peft_name(name: &str) -> &str {
    let alias = TIED.iter().find(|(_, first)| *first == name && first.ends_with(".bias"));
    alias.map_or(name, |(second, _)| second)
}

/// Second names of one and the same tensor in such a model: a head that is a parameter of its own is not
/// tied.
fn tied(params: &Parameters) -> Vec<(&'static str, &'static str)> {
    let has = |name| params.find(name).is_some();
    let rows = TIED.iter().chain([&TIED_HEAD]);
    rows.filter(|(second, first)| has(first) && !has(second)).copied().collect()
}

/// The module that `name` is a parameter of.
fn module_of(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(module, _)| module)
}

/// Whether `name` is below `module`.
fn is_within(name: &str, module: &str) -> bool {
    name.strip_prefix(module).is_some_and(|rest| rest.starts_with('.'))
}
