//! Parquet files: rows of any nesting, and single images.
//!
//! The `parquet` crate parses footers and decodes values. What it would allocate by numbers in a file is checked
//! before ([`pages`]), and pages are decompressed here, within a limit ([`decompress`]).

mod decompress;
mod delta;
mod file;
mod image_column;
mod leaf;
mod pages;
mod records;
mod schema;
mod table;

pub(super) use file::ParquetFile;
