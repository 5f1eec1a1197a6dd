//! Files that are whole or not there.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use half::bf16;
use serde_json::{Map, Value, json};

use super::shards::Entry;
use crate::tensor::{Elements, Precision, Tensor};
use crate::{Error, Result};

/// Writes `path` by way of a temporary file beside it that takes its name when all is on disk: a
/// full disk or a killed process leaves what was there before.
pub fn write_atomically(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<()> {
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    let attempt = || -> io::Result<()> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(".writing-");
        // Readable by others as any new file is, within the umask; the crate's default is not.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let file = builder.tempfile_in(dir)?;
        let mut buffer = BufWriter::with_capacity(1 << 20, file.as_file());
        write(&mut buffer)?;
        buffer.flush()?;
        drop(buffer);
        file.as_file().sync_all()?;
        file.persist(path).map_err(|e| e.error)?;
        // The new name itself is on disk only once the directory is.
        #[cfg(unix)]
        File::open(dir)?.sync_all()?;
        Ok(())
    };
    attempt().map_err(|e| match e.kind() {
        io::ErrorKind::StorageFull => Error::failed(path.display(), "the disk is full")
            .with_remedy("free some space; what was there before is unchanged"),
        _ => Error::io(path, &e),
    })
}

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
    use std::fs;

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

    #[test]
    fn a_failure_leaves_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "before").unwrap();
        let error = write_atomically(&path, |out| {
            out.write_all(b"half")?;
            Err(io::ErrorKind::StorageFull.into())
        })
        .unwrap_err();
        assert!(error.to_string().contains("the disk is full"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "before");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "a temporary file stays");
    }
}
