//! MISS, which is BLIP's model for visual question answering: one folder for all that is its own.

mod config;
mod config_file;
mod create;
mod files;
mod model;

pub use config::{MissConfig, TextConfig, VisionConfig};
pub(super) use create::content_hash;
pub use create::{NewMiss, create, declare_new};
pub use model::Miss;
