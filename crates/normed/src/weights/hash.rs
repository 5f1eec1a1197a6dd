//! The name of a set of weights: a hash over what they are, not over how a file lays them out.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use super::stored::Checkpoint;

/// SHA-256, in hexadecimal, over the tensors in the order of their names: for each, the length of
/// its name, the name, its element type, its number of dimensions, each extent, and its elements'
/// bytes as stored (integers as little-endian u64). Taken of a [`Checkpoint::canonical`], it is the
/// same for every layout and file format of the same weights.
pub fn content_hash(checkpoint: &Checkpoint) -> String {
    let mut hash = Sha256::new();
    for (name, stored) in &checkpoint.tensors {
        hash.update((name.len() as u64).to_le_bytes());
        hash.update(name);
        hash.update(format!("{:?}", stored.dtype()));
        hash.update((stored.shape().len() as u64).to_le_bytes());
        for &extent in stored.shape() {
            hash.update((extent as u64).to_le_bytes());
        }
        hash.update(stored.bytes());
    }
    hash.finalize().iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // writing to a String cannot fail
        text
    })
}
