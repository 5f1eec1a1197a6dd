//! The content hash, which identifies weights whatever the layout of their files.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, LazyLock};

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::stored::Checkpoint;
use crate::files::hex;
use crate::tensor::{Absmax, Factor, NF4_VALUES, Precision, Tensor};

/// Elements that are hashed at a time.
const BLOCK: usize = 1 << 12;

/// A [`content_hash`] that is computed when it is first needed. It reads every byte, which takes seconds for a
/// large checkpoint, and predictions do not need it.
#[derive(Clone)]
pub struct ContentHash(Arc<LazyLock<String, Box<dyn FnOnce() -> String + Send>>>);

impl ContentHash {
    /// The hash of `checkpoint`, whose files stay mapped until the hash is computed.
    pub fn lazy(checkpoint: Checkpoint) -> Self {
        Self(Arc::new(LazyLock::new(Box::new(move || content_hash(&checkpoint)))))
    }
}

impl From<String> for ContentHash {
    fn from(hash: String) -> Self {
        Self(Arc::new(LazyLock::new(Box::new(move || hash))))
    }
}

impl Deref for ContentHash {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match LazyLock::get(&self.0) {
            Some(hash) => f.write_str(hash),
            None => f.write_str("not computed yet"),
        }
    }
}

impl PartialEq for ContentHash {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

/// Hashes the tensors of a checkpoint with SHA-256, in the order of their names; returns hexadecimal digits.
///
/// For each tensor, the hash covers: the length of its name, the name, the element type, the number of dimensions,
/// each extent, and the SHA-256 of its elements' bytes as stored. Integers are little-endian u64. Of a
/// [`Checkpoint::canonical`] it is the same for every layout and file format of the same weights.
pub fn content_hash(checkpoint: &Checkpoint) -> String {
    let of_elements: Vec<_> = checkpoint
        .tensors
        .par_iter()
        .map(|(_, stored)| {
            let hash = Sha256::digest(stored.bytes());
            // Otherwise the whole file would be in memory at once.
            stored.release_pages();
            hash
        })
        .collect();
    let mut hash = Sha256::new();
    for ((name, stored), elements) in checkpoint.tensors.iter().zip(of_elements) {
        hash.update((name.len() as u64).to_le_bytes());
        hash.update(name);
        hash.update(format!("{:?}", stored.dtype()));
        hash.update((stored.shape().len() as u64).to_le_bytes());
        for &extent in stored.shape() {
            hash.update((extent as u64).to_le_bytes());
        }
        hash.update(elements);
    }
    hex(&hash.finalize())
}

/// Updates `hash` with the elements of `tensor`, little-endian, in the precision of the tensor. A quantized matrix
/// contributes its codes and statistics, codes for products in int8 the values that they stand for.
pub fn hash_elements(hash: &mut Sha256, tensor: &Tensor) {
    fn each<T: Copy, const N: usize>(hash: &mut Sha256, data: &[T], bytes: fn(T) -> [u8; N]) {
        for block in data.chunks(BLOCK) {
            hash.update(block.iter().flat_map(|&x| bytes(x)).collect::<Vec<u8>>());
        }
    }
    match tensor.factor() {
        Factor::F32(data) => each(hash, data, f32::to_le_bytes),
        Factor::Bf16(data) => each(hash, data, half::bf16::to_le_bytes),
        Factor::F16(data) => each(hash, data, half::f16::to_le_bytes),
        Factor::Codes(_) => {
            each(hash, tensor.to_precision(Precision::F32).data(), f32::to_le_bytes)
        }
        Factor::Int8(matrix) => {
            hash.update(matrix.codes());
            each(hash, matrix.absmax(), f32::to_le_bytes);
        }
        Factor::Nf4(matrix) => {
            if matrix.values() != &NF4_VALUES {
                hash.update("fp4");
            }
            hash.update(matrix.codes());
            match matrix.absmax() {
                Absmax::Plain(absmax) => each(hash, absmax, f32::to_le_bytes),
                Absmax::Nested { codes, absmax, offset, .. } => {
                    hash.update(codes);
                    each(hash, absmax, f32::to_le_bytes);
                    hash.update(offset.to_le_bytes());
                }
            }
        }
    }
}
