//! Files that are whole or not there.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use half::bf16;
use serde_json::{Map, Value, json};

use super::shards::Entry;
use crate::Result;
use crate::files::write_atomically;
use crate::tensor::{Elements, Precision, Tensor};

/// Writes `tensors`, in this order, as a safetensors file. `metadata` beside `{"format": "pt"}`,
/// which transformers wants to see.
///
/// The crate's own writer neither syncs nor keeps the metadata in order, and so neither survives a
/// power cut nor gives the same bytes twice.
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
        .map(|(name, tensor)| Entry::new(name, dtype, tensor.shape(), tensor.len() * size))
        .collect();
    write_atomically(path, |out| {
        out.write_all(&header(&entries, metadata))?;
        for (_, tensor) in tensors {
            match tensor.to_precision(precision).elements() {
                Elements::F32(data) => write_all(out, data, f32::to_le_bytes)?,
                Elements::Bf16(data) => write_all(out, data, bf16::to_le_bytes)?,
            }
        }
        Ok(())
    })
}

/// How a safetensors file of `entries` begins.
pub(super) fn header(entries: &[Entry], metadata: &BTreeMap<String, String>) -> Vec<u8> {
    let mut header = Map::new();
    let mut free = json!({ "format": "pt" });
    for (key, value) in metadata {
        free[key] = json!(value);
    }
    header.insert("__metadata__".into(), free);
    let mut offset = 0;
    for Entry { name, dtype, shape, bytes } in entries {
        let end = offset + bytes;
        let entry = json!({ "dtype": dtype, "shape": shape, "data_offsets": [offset, end] });
        header.insert(name.clone(), entry);
        offset = end;
    }
    let mut header = Value::Object(header).to_string().into_bytes();
    // Data that start at a multiple of 8 can be mapped.
    header.resize(header.len().next_multiple_of(8), b' ');
    [&(header.len() as u64).to_le_bytes()[..], &header].concat()
}

pub(super) fn write_all<T: Copy, const N: usize>(
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
    fn what_is_written_is_read_back_and_is_mapped() {
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
    fn replacing_a_file_leaves_its_maps_whole() {
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
