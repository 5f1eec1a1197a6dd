//! NIfTI volumes, of versions 1 and 2, gzipped or not: one slice as a picture.
//!
//! Fields and their places after nifti1.h and nifti2.h. Voxel axes are called by the axes of the body
//! that they are nearest to, as nibabel's `as_closest_canonical` does; voxels become pixels one to one,
//! whatever their size.

mod errors;
mod header;
mod orientation;
mod volume;

pub(super) use volume::{check, is_nifti, read};
