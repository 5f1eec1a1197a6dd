//! The hash by which images in files are recognized.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::image::nifti::Pair;
use crate::Result;
use crate::files::hash_file;

/// Starts the hash of a file, so that no file hashes as drawn pixels do.
const FILE: &[u8] = b"file";

/// The content hash of an image file with these bytes.
pub(super) fn hash_of_file(bytes: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(FILE).chain_update(bytes).finalize().into()
}

/// The content hash of the image file at `path`, which is read piece by piece; of a volume in two files, that of
/// both.
pub(super) fn hash_of_file_at(path: &Path) -> Result<[u8; 32]> {
    let mut hash = Sha256::new().chain_update(FILE);
    match Pair::of(path) {
        None => hash_file(path, &mut hash)?,
        Some(Pair { header, voxels }) => {
            hash_file(&header, &mut hash)?;
            hash_file(&voxels, &mut hash)?;
        }
    }
    Ok(hash.finalize().into())
}
