//! DICOM files as images: the gray or color pixels of one frame, in 8 bits.
//!
//! Chapters are those of the standard (PS3.3, PS3.5, 2024). Pixels become one to one those of the
//! image: their aspect ratio, overlays and pixel padding change nothing.

mod color;
mod elements;
mod file;
mod frames;
mod shape;
mod stored;

pub(super) use file::{check, is_dicom, read};
