//! Models: what they compute, how they are read from a directory, how they generate.

mod config_keys;
mod generate;
mod generation_config;
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

pub use generate::generate;
pub use generation_config::GenerationConfig;
pub use init::initialize;
pub use llava::{DeltaApplied, Llava, LlavaConfig, apply_delta, create_llava, declare_new_llava};
pub use merge::{MergedModel, merge};
pub use miss::{Miss, MissConfig, NewMiss, TextConfig, VisionConfig, create, declare_new};
pub use model::{Decoding, FrozenEncoder, Layout, Model};
pub use open::{
    LoadOverrides, LoadedModel, ModelConfig, ModelDeclaration, UnloadedModel, declare_model, load,
    load_as_stored, load_without_weights, read_config, save,
};
pub use quantize::{QuantizedModel, quantize};
pub use towers::{
    Bert, Clip, ClipConfig, Head, Llama, LlamaConfig, LlamaKind, Projector, ProjectorKind,
    RopeConfig, RopeScaling, Vit,
};
