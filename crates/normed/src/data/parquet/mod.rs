//! Parquet files: rows of any nesting, and single images.
//!
//! The `parquet` crate decodes values. What it would allocate by numbers in a file is checked before ([`pages`]), and
//! pages are decompressed here, within a limit ([`decompress`]). Footers and page headers are read here as well, since
//! the crate follows their nesting to any depth ([`thrift`]).

mod decompress;
mod delta;
mod file;
mod footer;
mod image_column;
mod leaf;
mod page_header;
mod pages;
mod records;
mod schema;
mod table;
mod thrift;

pub(super) use file::ParquetFile;
