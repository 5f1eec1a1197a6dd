//! Writes a safetensors file.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use half::bf16;

use super::safetensors_header::{TensorEntry, safetensors_header};
use crate::Result;
use crate::files::write_atomically;
use crate::tensor::{Elements, Precision, Tensor};

/// Writes `tensors`, in this order, as a safetensors file. Its metadata are `metadata` and `{"format": "pt"}`,
/// which transformers requires.
///
/// The writer of the safetensors crate is not used: it does not sync, so that a power cut can leave half a file,
/// and it does not order the metadata, so that the same tensors give different bytes.
///
/// # Errors
/// If the file cannot be written.
pub fn write_safetensors<'a>(
    path: &Path,
    tensors: &[(&'a str, &'a Tensor)],
    precision: Precision,
    metadata: &BTreeMap<String, String>,
) -> Result<()> {
    let (dtype, size) = match precision {
        Precision::F32 => ("F32", 4),
        Precision::Bf16 => ("BF16", 2),
    };
    let entries: Vec<_> = tensors
        .iter()
        .map(|(name, tensor)| TensorEntry::new(name, dtype, tensor.shape(), tensor.len() * size))
        .collect();
    write_atomically(path, |out| {
        out.write_all(&safetensors_header(&entries, metadata))?;
        for (_, tensor) in tensors {
            match tensor.to_precision(precision).elements() {
                Elements::F32(data) => write_elements(out, data, f32::to_le_bytes)?,
                Elements::Bf16(data) => write_elements(out, data, bf16::to_le_bytes)?,
            }
        }
        Ok(())
    })
}

/// Writes numbers as bytes.
pub(super) fn write_elements<T: Copy, const N: usize>(
    out: &mut dyn Write,
    data: &[T],
    bytes: impl Fn(T) -> [u8; N],
) -> io::Result<()> {
    data.iter().try_for_each(|&value| out.write_all(&bytes(value)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::read_safetensors;

    #[test]
    fn a_written_file_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors");
        let (a, b) = (Tensor::new(&[2, 1], vec![1.0, -2.5]), Tensor::new(&[1], vec![1.0 / 3.0]));
        let metadata = BTreeMap::from([("key".to_owned(), "value".to_owned())]);
        for (precision, third) in [(Precision::F32, 1.0 / 3.0), (Precision::Bf16, 0.333_984_38)] {
            write_safetensors(&path, &[("b", &b), ("a", &a)], precision, &metadata).unwrap();
            let read = read_safetensors(&path).unwrap();
            assert_eq!(read.metadata["format"], "pt");
            assert_eq!(read.metadata["key"], "value");
            let value = |name: &str| read.tensors[name].to_tensor().unwrap();
            assert_eq!((value("a").shape(), value("a").data()), (&[2, 1][..], &[1.0, -2.5][..]));
            assert_eq!(value("b").data(), [third]);
        }
    }

    #[test]
    fn replacing_a_file_does_not_change_its_maps() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors");
        let write = |value: f32| {
            let tensor = Tensor::new(&[1], vec![value]);
            let list = [("a", &tensor)];
            write_safetensors(&path, &list, Precision::F32, &BTreeMap::new()).unwrap();
        };
        let read = || read_safetensors(&path).unwrap().tensors["a"].to_tensor().unwrap();
        write(1.0);
        let mapped = read();
        write(2.0);
        assert_eq!((mapped.data(), read().data()), (&[1.0][..], &[2.0][..]));
    }
}
