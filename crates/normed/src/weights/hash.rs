//! The name of a set of weights: a hash over what they are, not over how a file lays them out.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use super::stored::Checkpoint;
use crate::tensor::{Elements, Tensor};

/// Elements whose bytes are handed on at a time.
const BLOCK: usize = 1 << 12;

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
        // Else a whole file would be in memory at once.
        stored.let_go();
    }
    hex(&hash.finalize())
}

/// Takes in the elements of `tensor`, little-endian, in the precision that they have.
pub fn hash_elements(hash: &mut Sha256, tensor: &Tensor) {
    fn each<T: Copy, const N: usize>(hash: &mut Sha256, data: &[T], bytes: fn(T) -> [u8; N]) {
        for block in data.chunks(BLOCK) {
            hash.update(block.iter().flat_map(|&x| bytes(x)).collect::<Vec<u8>>());
        }
    }
    match tensor.elements() {
        Elements::F32(data) => each(hash, data, f32::to_le_bytes),
        Elements::Bf16(data) => each(hash, data, half::bf16::to_le_bytes),
    }
}

/// Hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // writing to a String cannot fail
        text
    })
}
