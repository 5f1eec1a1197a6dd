//! Adapters: what a run trained, as a directory that Python's `peft` reads and writes.
//!
//! The directory holds adapter_config.json, adapter_model.safetensors and README.md. The socket forms decide the
//! PEFT type: low-rank matrices make a `LORA` adapter, scaling vectors an `IA3` adapter. Trained parameters of the
//! model itself are added under `modules_to_save`, as whole modules. Without sockets they make an `LN_TUNING`
//! adapter, which holds a changed copy of each module in `target_modules`, whatever the module is: a LayerNorm, a
//! linear layer, an embedding table, a convolution. In both cases:
//!
//! - A module is written whole as soon as one of its parameters is trained, because PEFT copies whole modules:
//!   `base_model.model.<module>.ln_tuning_layers.{weight,bias}`.
//! - `class_embedding` and `position_embedding` are parameters of `vision_model.embeddings` itself. PEFT could
//!   target that module, but not merge it. So it is written under `modules_to_save`, where PEFT keeps modules
//!   whole: `base_model.model.vision_model.embeddings.<parameter>`.
//! - In transformers, `text_decoder.cls.predictions.bias` is the bias of the linear layer
//!   `text_decoder.cls.predictions.decoder`, whose weight is the decoder's embedding table. The target is that
//!   layer. A trained table is written as both of its modules: PEFT's copies are not tied, so both are needed to
//!   compute the same. A frozen table is not in the file, and PEFT takes it from the base (PEFT's warning of one
//!   missing key is harmless).
//! - PEFT refuses an adapter without targets. If only such a whole module is trained, the first LayerNorm is
//!   written too, unchanged.
//! - Where biases of linear layers are trained and their matrices are not, copies of modules would be as large as
//!   the model. PEFT keeps biases alone in a LoRA with `bias = "all"`, all of them. So the adapter is a LoRA, with
//!   one pair of zero matrices if there are no others.
//!
//! A prefix or prompt of the only language model is PEFT's `PREFIX_TUNING` or `PROMPT_TUNING` (`virtual_tokens`).
//! PEFT has no format for prefixes and prompts in other towers, or for bottleneck adapters. These have a format of
//! normed (`own_format`), which cannot be mistaken for PEFT's.
//!
//! Other combinations that PEFT cannot express are refused before a run begins: LoRA with IA3, a layer that is both
//! trained and adapted, biases with IA3.

mod adapter_files;
mod adapter_key;
mod adapter_tensors;
mod additions;
mod base_check;
mod card;
mod config;
mod layer_adapter;
mod layout;
mod loaded;
mod model_names;
mod naming;
mod own_format;
mod patterns;
mod peft_parameter;
mod peft_reader;
mod read;
mod targeting;
mod virtual_tokens;
mod vocabulary;
mod write;
mod write_config;

pub use adapter_files::expect_adapter;
pub use base_check::BaseCheck;
pub use card::AdapterCard;
pub use loaded::LoadedAdapter;
pub use read::{adapter_base, load_adapter};
pub use vocabulary::{grown_vocabulary, has_row_for_each_token};
pub use write::{check_adapter, save_adapter};
