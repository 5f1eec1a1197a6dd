//! Tensors in mapped files: any element type, any strides.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use half::{bf16, f16};
use safetensors::Dtype;

use crate::files::open_regular;
use crate::tensor::{Bytes, MappedFile, Precision, Tensor};
use crate::{Error, Result};

/// The tensors of a checkpoint, by name.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// The file, or the index of several files.
    pub path: PathBuf,
    /// The tensors.
    pub tensors: BTreeMap<String, Stored>,
    /// The file's metadata: free text by key.
    pub metadata: BTreeMap<String, String>,
}

/// A tensor in a mapped file. Its bytes are read when they are needed.
#[derive(Clone)]
pub struct Stored {
    dtype: Dtype,
    shape: Vec<usize>,
    /// Strides in elements; none if the elements are dense and row-major.
    strides: Option<Vec<usize>>,
    map: Arc<MappedFile>,
    /// Offset of the first element in the file, in bytes.
    offset: usize,
}

impl Stored {
    /// Dense, row-major elements at byte `offset`; none if they are not all inside the file.
    pub(super) fn dense(
        map: &Arc<MappedFile>,
        offset: usize,
        dtype: Dtype,
        shape: Vec<usize>,
    ) -> Option<Self> {
        let bytes = element_count(&shape)?.checked_mul(element_size(dtype))?;
        (offset.checked_add(bytes)? <= map.len()).then(|| Self {
            dtype,
            shape,
            strides: None,
            map: Arc::clone(map),
            offset,
        })
    }

    /// Elements at byte `offset` with these strides; none if one is outside of `[offset, end)`, or if there are
    /// more elements than the range holds (with a stride of 0 there could be any number).
    pub(super) fn strided(
        map: &Arc<MappedFile>,
        offset: usize,
        end: usize,
        dtype: Dtype,
        shape: Vec<usize>,
        strides: Vec<usize>,
    ) -> Option<Self> {
        let count = element_count(&shape)?;
        let mut reach = usize::from(count > 0);
        let mut step = 1;
        let mut is_dense = true;
        for (&extent, &stride) in shape.iter().zip(&strides).rev() {
            if count > 0 && extent > 1 {
                reach = reach.checked_add((extent - 1).checked_mul(stride)?)?;
                is_dense &= stride == step;
                step *= extent;
            }
        }
        let size = element_size(dtype);
        let last = offset.checked_add(reach.max(count).checked_mul(size)?)?;
        (strides.len() == shape.len() && last <= end && end <= map.len()).then(|| Self {
            dtype,
            shape,
            strides: (!is_dense).then_some(strides),
            map: Arc::clone(map),
            offset,
        })
    }

    /// The element type.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// The precision of a value that is a view of the elements; none if they would have to be converted.
    pub fn precision(&self) -> Option<Precision> {
        match self.dtype {
            _ if self.strides.is_some() => None,
            Dtype::F32 => Some(Precision::F32),
            Dtype::BF16 => Some(Precision::Bf16),
            _ => None,
        }
    }

    /// The extent of each dimension.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The elements' bytes, little-endian and row-major; a copy only if the elements are strided.
    pub fn bytes(&self) -> Cow<'_, [u8]> {
        let size = element_size(self.dtype);
        let count = self.shape.iter().product::<usize>();
        let Some(strides) = &self.strides else {
            return Cow::Borrowed(&self.map[self.offset..self.offset + count * size]);
        };
        let mut bytes = Vec::with_capacity(count * size);
        let mut at = vec![0; self.shape.len()];
        for _ in 0..count {
            let index: usize = at.iter().zip(strides).map(|(i, stride)| i * stride).sum();
            let start = self.offset + index * size;
            bytes.extend_from_slice(&self.map[start..start + size]);
            for d in (0..at.len()).rev() {
                at[d] += 1;
                if at[d] < self.shape[d] {
                    break;
                }
                at[d] = 0;
            }
        }
        Cow::Owned(bytes)
    }

    /// The same bytes as a value to keep: a view of the file if the elements are dense.
    pub(super) fn mapped_bytes(&self) -> Bytes {
        let len = self.shape.iter().product::<usize>() * element_size(self.dtype);
        let dense = self.strides.is_none();
        dense
            .then(|| Bytes::mapped(&self.map, self.offset..self.offset + len))
            .flatten()
            .unwrap_or_else(|| self.bytes().into_owned().into())
    }

    /// Releases the memory of the mapped elements. They are read again when they are needed again.
    pub(super) fn release_pages(&self) {
        if self.strides.is_none() {
            let bytes = self.shape.iter().product::<usize>() * element_size(self.dtype);
            self.map.release_pages(self.offset..self.offset + bytes);
        }
    }

    /// The value in f32: a view of the file if it holds dense, aligned f32, a copy otherwise. None for element
    /// types other than F64, F32, BF16 and F16.
    pub fn to_tensor(&self) -> Option<Tensor> {
        self.view().map(|view| view.to_precision(Precision::F32))
    }

    /// The value in the file's precision: a view if its elements are dense and aligned, a copy otherwise (of f16 and
    /// f64, a copy in f32). None for element types other than F64, F32, BF16 and F16. Only matrix products can read a
    /// view of f16; other operations need [`Tensor::to_precision`] first.
    pub fn view(&self) -> Option<Tensor> {
        let (shape, map, offset) = (&self.shape, &self.map, self.offset);
        let view = match self.dtype {
            Dtype::F32 => Tensor::mapped(shape, Precision::F32, map, offset),
            Dtype::BF16 => Tensor::mapped(shape, Precision::Bf16, map, offset),
            Dtype::F16 => Tensor::mapped_f16(shape, map, offset),
            Dtype::F64 => None,
            _ => return None,
        };
        if let Some(tensor) = view.filter(|_| self.strides.is_none()) {
            return Some(tensor);
        }
        let (bytes, shape) = (self.bytes(), &self.shape);
        Some(match self.dtype {
            Dtype::BF16 => Tensor::from_bf16(shape, decode(&bytes, bf16::from_le_bytes)),
            Dtype::F16 => Tensor::new(shape, decode(&bytes, |b| f16::from_le_bytes(b).to_f32())),
            Dtype::F64 => Tensor::new(shape, decode(&bytes, |b| f64::from_le_bytes(b) as f32)),
            _ => Tensor::new(shape, decode(&bytes, f32::from_le_bytes)),
        })
    }
}

impl std::fmt::Debug for Stored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}{:?}", self.dtype, self.shape)
    }
}

/// Maps a file for reading.
///
/// # Errors
/// If it cannot be opened or mapped, or is not a regular file.
pub(super) fn map_file(path: &Path) -> Result<Arc<MappedFile>> {
    let file = open_regular(path)?;
    let kind = file.metadata().map_err(|e| Error::io(path, &e))?;
    if !kind.is_file() {
        return Err(Error::invalid(path.display(), "not a file"));
    }
    // SAFETY: the map is only read. No program that maps files can protect itself from a process that truncates
    // or changes them; normed itself replaces files by renaming, which does not affect maps of the old file.
    let map = unsafe { MappedFile::map(&file) }.map_err(|e| Error::io(path, &e))?;
    Ok(Arc::new(map))
}

/// The size of an element in bytes; 0 for types smaller than a byte, which are never read.
fn element_size(dtype: Dtype) -> usize {
    dtype.bitsize() / 8
}

fn element_count(shape: &[usize]) -> Option<usize> {
    // Zeros first: a product that is zero must not overflow before it is zero.
    if shape.contains(&0) {
        return Some(0);
    }
    shape.iter().try_fold(1usize, |a, &n| a.checked_mul(n))
}

fn decode<const N: usize, T>(bytes: &[u8], element: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks::<N>().0.iter().map(|&b| element(b)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map_of(bytes: &[u8]) -> Arc<MappedFile> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        map_file(file.path()).unwrap()
    }

    fn floats(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    #[test]
    fn aligned_f32_is_not_copied() {
        let map = map_of(&floats(&[1.0, 2.0, 3.0]));
        let stored = Stored::dense(&map, 4, Dtype::F32, vec![2]).unwrap();
        let tensor = stored.to_tensor().unwrap();
        assert_eq!(tensor.data(), [2.0, 3.0]);
        assert_eq!(tensor.data().as_ptr().cast(), map[4..].as_ptr());
    }

    #[test]
    fn misaligned_f32_is_copied() {
        let mut bytes = vec![7];
        bytes.extend(floats(&[1.5, -2.0]));
        let stored = Stored::dense(&map_of(&bytes), 1, Dtype::F32, vec![2]).unwrap();
        assert_eq!(stored.to_tensor().unwrap().data(), [1.5, -2.0]);
    }

    #[test]
    fn half_types_widen_and_doubles_are_rounded() {
        let mut bytes = bf16::from_f32(-1.5).to_le_bytes().to_vec();
        bytes.extend(f16::from_f32(0.25).to_le_bytes());
        bytes.extend(0.1f64.to_le_bytes());
        let map = map_of(&bytes);
        let read = |offset, dtype| {
            let stored = Stored::dense(&map, offset, dtype, vec![1]).unwrap();
            stored.to_tensor().unwrap().data()[0]
        };
        assert_eq!((read(0, Dtype::BF16), read(2, Dtype::F16)), (-1.5, 0.25));
        assert_eq!(read(4, Dtype::F64), 0.1f32);
    }

    #[test]
    fn strides_are_followed_and_checked_against_the_range() {
        let map = map_of(&floats(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]));
        let strided = |shape: &[usize], strides: &[usize]| {
            Stored::strided(&map, 0, 24, Dtype::F32, shape.to_vec(), strides.to_vec())
        };
        // A transposed [2, 3] matrix.
        let transposed = strided(&[3, 2], &[1, 3]).unwrap().to_tensor().unwrap();
        assert_eq!(transposed.data(), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        // A dimension of extent 1 may have any stride: still dense.
        assert!(strided(&[1, 6], &[999, 1]).unwrap().strides.is_none());
        assert!(strided(&[3, 2], &[1, 4]).is_none(), "reaches past the end");
        assert!(strided(&[1 << 40], &[0]).is_none(), "more elements than the range holds");
        assert!(strided(&[2], &[usize::MAX]).is_none());
        assert!(strided(&[usize::MAX, 0], &[1, 1]).is_some(), "nothing to read");
    }
}
