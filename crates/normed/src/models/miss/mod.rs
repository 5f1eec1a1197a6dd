//! The MISS family, which is BLIP's model for visual question answering: its model, config and files, and how a
//! new one is made.

mod config;
mod config_file;
mod create;
mod files;
mod model;

pub use config::MissConfig;
pub use create::{NewMiss, TextSizes};
pub use model::Miss;
