//! Weights in files: checkpoints and adapters, in and out. Nothing here executes what it reads.

mod adapter;
mod bitsandbytes;
mod fill;
mod hash;
mod interpolate;
mod llava_names;
mod merged;
mod names;
mod safetensors_file;
mod save;
mod sharded;
mod shards;
mod stored;
mod torch_file;

pub use adapter::{
    AdapterCard, BaseCheck, LoadedAdapter, adapter_base, check_adapter, load_adapter, save_adapter,
};
pub use bitsandbytes::{QuantisationConfig, Written, write_quantised};
pub use fill::fill;
pub use hash::{ContentHash, content_hash, hash_elements};
pub use interpolate::interpolate_positions;
pub use llava_names::{to_llavas_own, to_saved_llava};
pub use merged::write_merged;
pub use names::{to_hugging_face, to_original};
pub use safetensors_file::read_safetensors;
pub use save::write_safetensors;
pub use sharded::{read_sharded, read_sharded_torch};
pub use stored::{Checkpoint, Stored};
pub use torch_file::read_torch;
