//! LLaVA, which LLaVA-Med is: one folder for all that is its own.

mod config;
mod create;
mod delta;
mod files;
mod model;
mod rows;

pub use config::LlavaConfig;
pub use create::{create_llava, declare_new_llava};
pub use delta::{DeltaApplied, apply_delta};
pub use model::Llava;
