//! Adapters: what a run trained, as a directory that Python's `peft` reads and writes.
//!
//! The directory holds adapter_config.json, adapter_model.safetensors and README.md. What is plugged into
//! sockets has a PEFT type of its own, `LORA` or `IA3`; keys are those of the parameters. What a run trains
//! of the model itself goes beside that into `modules_to_save`, whole modules, or makes an `LN_TUNING`
//! adapter, which for each module of `target_modules` holds a changed copy, whatever the module is: a
//! LayerNorm, a linear layer, an embedding table, a convolution. In both:
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
//! - Where biases of linear layers are trained and their matrices are not, copies would be as large as the
//!   model. PEFT keeps biases alone in a LoRA with `bias = "all"`, all of them; so it is written as one, with
//!   a path that adds 0 where nothing else is plugged in.
//!
//! A prefix or a prompt of the one language model is PEFT's `PREFIX_TUNING` or `PROMPT_TUNING`
//! (`virtual_tokens`). Those of other towers and adapters PEFT has no form for: they are in one of ours
//! (`added`), which cannot be taken for its.
//!
//! What else PEFT has no form for (LoRA and IA3 together, a layer both changed and adapted, biases beside IA3)
//! is refused with that reason, before a run begins.

mod added;
mod config;
mod read;
mod virtual_tokens;
mod write;

pub use read::{BaseCheck, LoadedAdapter, adapter_base, load_adapter};
pub use write::{AdapterCard, check_adapter, save_adapter};

use config::Kind;

use super::llava_names::TIED_HEAD;
use super::names::TIED;
use crate::tensor::Parameters;

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";
/// What PEFT puts before every name of the base model.
const PREFIX: &str = "base_model.model.";
/// What PEFT calls its copy of a module.
const COPY: &str = "ln_tuning_layers";
/// What stands between the name of a layer beside which there is a path and that of its bias.
const BASE_LAYER: &str = ".base_layer";
/// Metadata of the safetensors file: the content hash of the base. It is not in the config, whose
/// keys are PEFT's.
const BASE_HASH: &str = "base_content_sha256";

/// An added parameter of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Factor {
    A,
    B,
    Magnitude,
    Scale,
}

impl Factor {
    const ALL: [Factor; 4] = [Factor::A, Factor::B, Factor::Magnitude, Factor::Scale];

    /// What stands behind the layer's name.
    fn suffix(self) -> &'static str {
        match self {
            Self::A => ".lora_A.weight",
            Self::B => ".lora_B.weight",
            Self::Magnitude => ".lora_magnitude_vector",
            Self::Scale => ".ia3_l",
        }
    }

    fn kind(self) -> Kind {
        match self {
            Self::A | Self::B | Self::Magnitude => Kind::Lora,
            Self::Scale => Kind::Ia3,
        }
    }
}

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
