//! NIfTI volumes of versions 1 and 2, and pairs of ANALYZE 7.5, gzipped or not: one slice as an image.
//!
//! Fields and their offsets follow nifti1.h and nifti2.h. Each voxel axis is assigned to the nearest axis of the
//! body, as nibabel's `as_closest_canonical` does. Each voxel becomes one pixel: slices are not resampled.

mod errors;
mod header;
mod orientation;
mod pair;
mod volume;

pub(in crate::data) use pair::Pair;
pub(super) use volume::{check, decoding_bytes, is_nifti, read};
