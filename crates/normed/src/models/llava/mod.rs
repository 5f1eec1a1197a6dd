//! LLaVA, and LLaVA-Med with it: everything that this family alone has.

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
