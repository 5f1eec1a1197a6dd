//! TIFF files: one page as an image.
//!
//! Directories, the arrangement of samples and colors are read here; the codecs of the chunks are crates.

mod chunk;
mod codec;
mod color;
mod directory;
mod errors;
mod layout;
mod page;
mod photometric;
mod sample;

pub(super) use page::{check, decode};
