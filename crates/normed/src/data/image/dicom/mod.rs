//! DICOM files as images: the gray or color pixels of one frame, in 8 bits.
//!
//! Chapters are those of the standard (PS3.3, PS3.5, 2024). Each pixel becomes one pixel of the
//! image: aspect ratio and overlays are ignored.

mod color;
mod data_set;
mod elements;
mod file;
mod frame;
mod frames;
mod gray;
mod jpeg;
mod jpeg_2000;
mod jpeg_xl;
mod kinds;
mod limits;
mod look_up_table;
mod palette;
mod properties;
mod rle;
mod samples;
mod shape;
mod syntax;

pub(super) use data_set::is_dicom;
pub(super) use file::{check, read};
