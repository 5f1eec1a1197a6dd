//! Data sets in tables: parquet files as on the Hugging Face hub, and the Arrow files that the `datasets` library
//! saves. Their rows contain the images, or name files.
//!
//! A row has `image` (a struct of `bytes` and `path`, the bytes alone, or a path) or `images`, a list, and `question`
//! and `answer`, or a `report` or `caption`, or a conversation, and optionally `answer_type` and `group`; fields have
//! the values and the meaning that they have in JSON ([`super::jsonl`]). flaviagiammarino/vqa-rad,
//! flaviagiammarino/path-vqa and mdwiratathya/SLAKE-vqa-english are published so; none of the three has answer types.
//!
//! The name of an image is the hash of its content: the files repeat an image in every row that asks about it, and
//! splits and confidence intervals must know that it is one image.

mod cell;
mod column_names;
mod columns;
mod embedded_image;
mod features;
mod files;
mod foreign;
mod limits;
mod open;
mod picture;
mod rows;
mod source;
mod table;

pub(super) use cell::Cell;
pub use column_names::ColumnNames;
pub use embedded_image::EmbeddedImage;
pub(super) use embedded_image::ImageStore;
pub(super) use files::row_files;
pub(super) use foreign::describe_foreign;
pub(super) use limits::{budget_of, max_rows_of};
pub(super) use open::open;
pub(super) use picture::{Picture, pictures_of};
pub(super) use rows::ReadTables;
pub(super) use source::Source;
pub(super) use table::{Column, Table};
