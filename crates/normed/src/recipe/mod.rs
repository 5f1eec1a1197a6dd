//! Recipes: TOML files that describe a run.
//!
//! - [`Recipe`]: everything that the result of a run depends on, read with all mistakes as one error;
//! - [`Base`], [`InitSpec`]: an existing base model, or a new one;
//! - [`TrainSpec`], [`CacheSpec`]: the sections `[train]` and `[cache]`. The sections `[data]`, `[tuning]` and
//!   `[generate]` are [`DataSection`](crate::data::DataSection), [`Tuning`](crate::tuning::Tuning) and
//!   [`GenerationConfig`](crate::models::GenerationConfig);
//! - [`key_reference`]: the reference of all keys, written from the tables that recipes are read by.

mod base;
mod cache;
mod document;
mod field;
mod init;
mod mistakes;
mod open;
mod other_names;
pub(crate) mod parser;
mod read;
mod read_data;
mod read_init;
mod read_train;
mod read_tuning;
mod reference;
pub(crate) mod section;
mod shared;
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
