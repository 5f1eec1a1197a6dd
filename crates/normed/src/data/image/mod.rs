//! Images: decoded from files, and how DICOM files and NIfTI volumes become one.

pub(super) mod decode;
mod dicom;
mod gray_mapping;
mod jpeg;
mod limits;
mod nifti;
mod options;
mod pixels;

pub use options::{Axis, ImageOptions, SliceIndex, Window};
pub use pixels::Image;
