//! The LLaVA family, to which LLaVA-Med belongs: its model, config and files, and how a new one is made.

mod config;
mod config_file;
mod create;
mod delta;
mod files;
mod model;
mod vision_tower;

pub use config::{FeatureSelect, LlavaConfig};
pub use create::{LanguageSizes, NewLlava};
pub use delta::{DeltaApplied, apply_delta};
pub use model::Llava;
