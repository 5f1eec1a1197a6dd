//! TIFF files: one page as an image.
//!
//! Directories, the arrangement of samples and colors are read here; the codecs of the chunks are crates.

mod chunk;
mod color;
mod directory;
mod layout;
mod page;
mod sample;

pub(super) use page::{check, decode};
