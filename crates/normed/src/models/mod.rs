//! Models: what they compute, how they are read from a directory, how they generate.

mod config_keys;
mod generate;
mod init;
mod llava;
mod merge;
mod miss;
mod model;
mod new_dir;
mod open;
mod quantize;
mod sample;
mod towers;

pub use generate::{GenerateRule, generate};
pub use init::initialise;
pub use llava::{DeltaApplied, Llava, LlavaConfig, apply_delta, create_llava, declare_new_llava};
pub use merge::{MergedModel, merge};
pub use miss::{Beginning, Miss, MissConfig, TextConfig, VisionConfig, create, declare_new};
pub use model::{Decoding, Layout, Model, Prefix};
pub use open::{
    Asked, Declared, Description, Loaded, ModelConfig, declare, describe, description, load,
    load_as_stored, save,
};
pub use quantize::{QuantizedModel, quantize};
pub use towers::{
    Bert, Clip, ClipConfig, Head, Llama, LlamaConfig, LlamaKind, Projector, ProjectorKind,
    RopeConfig, RopeScaling, Vit,
};
