//! Models: what they compute, how they are read from a directory, how they generate answers.
//!
//! Training and generation use a model through the trait [`Model`], opening and saving through [`ModelConfig`]. A
//! family of models is a folder that implements both ([`Miss`], [`Llava`]), made of the towers that families
//! share; `families` lists them.

mod activation_names;
mod companion_files;
mod config_keys;
mod families;
mod generate;
mod generation_config;
mod init;
mod llava;
mod load;
mod merge;
mod miss;
mod model;
mod model_config;
mod preprocessor_config;
mod processor_keys;
mod prompt_rows;
mod quantize;
mod resize;
mod sample;
mod save;
mod square_processor;
mod stop_tokens;
mod towers;
mod unsupported;
mod vision_language;
mod vocabulary;
mod weight_files;

pub use generate::{GeneratedText, generate};
pub use generation_config::GenerationConfig;
pub use init::initialize;
pub use llava::{
    DeltaApplied, FeatureSelect, LanguageSizes, Llava, LlavaConfig, NewLlava, apply_delta,
};
pub use load::{
    LoadedModel, ModelDeclaration, UnloadedModel, declare_model, load, load_as_stored,
    load_without_weights, read_config,
};
pub use merge::{MergeOptions, MergedModel, NormDtype, merge};
pub use miss::{Miss, MissConfig, NewMiss, TextSizes};
pub use model::{Decoding, FrozenEncoder, Layout, Model};
pub use model_config::{LoadOverrides, ModelConfig};
pub use processor_keys::ProcessorClass;
pub use quantize::{QuantizedModel, quantize};
pub use save::save;
pub use square_processor::{Fit, SquareProcessor};
pub use towers::{
    Bert, BertConfig, Clip, ClipConfig, Llama, LlamaConfig, LlamaKind, PredictionHead, Projector,
    ProjectorKind, RopeConfig, RopeScaling, Vit, VitConfig,
};
pub use vocabulary::load_adapter_and_grow;
