//! Decodes image files: JPEG, PNG, BMP, TIFF, one frame of a DICOM file, one slice of a NIfTI volume.

pub(super) mod decode;
mod dicom;
mod gray_mapping;
mod header;
mod jpeg;
mod jpeg_header;
mod jpeg_ls;
mod limits;
pub(super) mod nifti;
mod options;
mod pixels;

pub use header::{ImageHeader, Remark};
pub use options::{Axis, ImageOptions, SliceIndex, Window};
pub use pixels::Image;
