//! Weights in files: reads and writes checkpoints and adapters. Nothing in a file is executed.
//!
//! - [`Checkpoint`]: the tensors of a file by name, mapped and not copied. [`read_safetensors`], [`read_torch`] and
//!   [`read_sharded`] read one, [`load_parameters`] gives its values to a model;
//! - [`load_adapter`], [`save_adapter`]: what a run trained, in the format of Python's `peft`;
//! - [`write_safetensors`], [`write_merged`], [`write_quantized`]: writing checkpoints;
//! - [`content_hash`]: identifies weights in whatever layout and format they are stored;
//! - [`to_hugging_face`], [`to_original`] and their like: the names of tensors in different layouts.

mod adapter;
mod bitsandbytes;
mod blip_names;
mod hash;
mod interpolate;
mod llava_names;
mod load_parameters;
mod merged_writer;
mod names_list;
mod safetensors_header;
mod safetensors_reader;
mod safetensors_writer;
mod shard_reader;
mod shard_writer;
mod stored;
mod torch_reader;
mod wrapped_names;

pub use adapter::{
    AdapterCard, BaseCheck, LoadedAdapter, adapter_base, check_adapter, expect_adapter,
    grown_vocabulary, has_row_for_each_token, load_adapter, save_adapter,
};
pub use bitsandbytes::{QuantizationConfig, QuantizationReport, write_quantized};
pub use blip_names::{to_hugging_face, to_original};
pub use hash::{ContentHash, content_hash, hash_elements};
pub use interpolate::interpolate_positions;
pub use llava_names::{to_hugging_face_llava, to_llava_original};
pub use load_parameters::load_parameters;
pub use merged_writer::{MergedTensors, TensorChange, write_merged};
pub use safetensors_reader::read_safetensors;
pub use safetensors_writer::write_safetensors;
pub use shard_reader::{read_sharded, read_sharded_torch};
pub use stored::{Checkpoint, Stored};
pub use torch_reader::read_torch;
