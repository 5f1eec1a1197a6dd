//! DICOM files as images: the gray or color pixels of one frame, in 8 bits.
//!
//! Chapters are those of the standard (PS3.3, PS3.5, 2024). Each pixel becomes one pixel of the
//! image: aspect ratio, overlays and pixel padding are ignored.

mod color;
mod elements;
mod file;
mod frames;
mod shape;
mod stored;

pub(super) use file::{check, is_dicom, read};
