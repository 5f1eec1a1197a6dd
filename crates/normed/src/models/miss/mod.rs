//! MISS, which is BLIP's model for visual question answering: everything that this family alone has.

mod config;
mod config_file;
mod create;
mod files;
mod model;

pub use config::MissConfig;
pub use create::{NewMiss, TextSizes};
pub use model::Miss;
