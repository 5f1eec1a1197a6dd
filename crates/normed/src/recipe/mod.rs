//! Recipes: TOML files that describe a run.

mod base;
mod cache;
mod document;
mod field;
mod init;
mod mistakes;
mod open;
pub(crate) mod parser;
mod read;
mod read_data;
mod read_init;
mod read_train;
mod read_tuning;
mod reference;
pub(crate) mod section;
mod size;
pub(crate) mod source;
mod spec;

pub use cache::{CachePlace, CacheSpec};
pub(crate) use document::Document;
pub use init::{
    FromInit, InitSpec, LanguageSize, LlavaInit, MissInit, TextSize, VisionSize, Vocab,
};
pub use open::parse_tuning;
pub use reference::key_reference;
pub use size::ByteSize;
pub use spec::{Base, BestBy, Recipe, Schedule, TrainSpec};

#[cfg(test)]
mod tests;
