//! Decodes image files: JPEG, PNG, TIFF and others, one frame of a DICOM file, one slice of a NIfTI volume.

mod common;
pub(super) mod decode;
mod dicom;
mod format;
mod gray_mapping;
mod header;
mod jpeg;
mod jpeg_2000;
mod jpeg_header;
mod jpeg_ls;
mod jpeg_xl;
mod limits;
pub(super) mod nifti;
mod options;
mod orientation;
mod pixels;
mod png;
mod samples;
mod source;
mod tiff;

pub use header::{ImageHeader, Remark};
pub use options::{Axis, ImageOptions, OrientationUse, SliceIndex, Window};
pub use pixels::{DECODERS_VERSION, Image};
