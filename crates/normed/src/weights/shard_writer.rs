//! Writes a checkpoint as safetensors files of limited size, with an index if there is more than one.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use serde_json::json;

use super::safetensors_header::{TensorEntry, safetensors_header};
use crate::files::write_atomically;
use crate::{Error, Result};

/// Why writing a file stopped.
pub(super) enum WriteError {
    /// The file cannot be written.
    Io(io::Error),
    /// A tensor cannot be computed.
    Tensor(Error),
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Writes the bytes of a group.
type WriteFn<'a> = Box<dyn Fn(&mut dyn Write) -> Result<(), WriteError> + 'a>;

/// Tensors that are computed and written together, in this order.
pub(super) struct TensorGroup<'a> {
    entries: Vec<TensorEntry>,
    write: WriteFn<'a>,
}

impl<'a> TensorGroup<'a> {
    /// A group whose tensors are `entries`. `write` writes exactly their bytes.
    pub fn new(
        entries: Vec<TensorEntry>,
        write: impl Fn(&mut dyn Write) -> Result<(), WriteError> + 'a,
    ) -> Self {
        Self { entries, write: Box::new(write) }
    }

    /// The size of its tensors together.
    pub fn bytes(&self) -> usize {
        self.entries.iter().map(|entry| entry.bytes).sum()
    }
}

/// Writes groups of tensors into `dir`: as model.safetensors, or as several files and
/// model.safetensors.index.json if they have more than `limit` bytes together. A file is larger than `limit` only
/// if a single group is.
///
/// `on_done` is called after each group, with the number of groups written so far.
///
/// # Errors
/// If a file cannot be written, or a tensor cannot be computed. That file is then not there.
pub(super) fn write_sharded(
    dir: &Path,
    groups: Vec<TensorGroup<'_>>,
    limit: usize,
    on_done: &mut dyn FnMut(usize),
) -> Result<()> {
    let total: usize = groups.iter().map(TensorGroup::bytes).sum();
    let mut shards: Vec<Vec<TensorGroup<'_>>> = Vec::new();
    let mut room = 0;
    for group in groups {
        match shards.last_mut() {
            Some(shard) if group.bytes() <= room => {
                room -= group.bytes();
                shard.push(group);
            }
            _ => {
                room = limit.saturating_sub(group.bytes());
                shards.push(vec![group]);
            }
        }
    }
    let count = shards.len();
    let mut weight_map = BTreeMap::new();
    let mut done = 0;
    for (i, mut shard) in shards.into_iter().enumerate() {
        let file = match count {
            1 => "model.safetensors".to_owned(),
            _ => format!("model-{:05}-of-{count:05}.safetensors", i + 1),
        };
        // Single tensors come first: bytes of odd lengths before them would misalign them for mapping.
        shard.sort_by_key(|group| group.entries.len() > 1);
        write_shard(&dir.join(&file), &shard, &mut || {
            done += 1;
            on_done(done);
        })?;
        let entries = shard.into_iter().flat_map(|group| group.entries);
        weight_map.extend(entries.map(|entry| (entry.name, file.clone())));
    }
    if count > 1 {
        let index = json!({ "metadata": { "total_size": total }, "weight_map": weight_map });
        let path = dir.join("model.safetensors.index.json");
        write_atomically(&path, |out| writeln!(out, "{index:#}"))?;
    }
    Ok(())
}

fn write_shard(path: &Path, groups: &[TensorGroup<'_>], on_done: &mut dyn FnMut()) -> Result<()> {
    let entries: Vec<_> = groups.iter().flat_map(|group| &group.entries).cloned().collect();
    let mut stopped = None;
    let written = write_atomically(path, |out| {
        out.write_all(&safetensors_header(&entries, &BTreeMap::new()))?;
        for group in groups {
            match (group.write)(out) {
                Ok(()) => on_done(),
                Err(WriteError::Io(error)) => return Err(error),
                Err(WriteError::Tensor(error)) => {
                    stopped = Some(error);
                    return Err(io::ErrorKind::Other.into());
                }
            }
        }
        Ok(())
    });
    stopped.map_or(written, Err)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::{read_safetensors, read_sharded};

    fn group(name: &str, bytes: usize) -> TensorGroup<'static> {
        TensorGroup::new(vec![TensorEntry::new(name, "U8", &[bytes], bytes)], move |out| {
            out.write_all(&vec![bytes as u8; bytes])?;
            Ok(())
        })
    }

    #[test]
    fn no_file_is_larger_than_the_limit() {
        let dir = tempfile::tempdir().unwrap();
        let groups =
            vec![group("a", 4), group("b", 5), group("c", 12), group("d", 1), group("e", 1)];
        let mut seen = Vec::new();
        write_sharded(dir.path(), groups, 10, &mut |done| seen.push(done)).unwrap();
        assert_eq!(seen, [1, 2, 3, 4, 5]);
        let checkpoint = read_sharded(&dir.path().join("model.safetensors.index.json")).unwrap();
        for (name, bytes) in [("a", 4), ("b", 5), ("c", 12), ("d", 1), ("e", 1)] {
            assert_eq!(&*checkpoint.tensors[name].bytes(), vec![bytes as u8; bytes]);
        }
        let names = |i: usize| {
            let file = dir.path().join(format!("model-0000{i}-of-00003.safetensors"));
            read_safetensors(&file).unwrap().tensors.into_keys().collect::<String>()
        };
        assert_eq!([names(1), names(2), names(3)], ["ab", "c", "de"]);
    }

    #[test]
    fn one_file_needs_no_index() {
        let dir = tempfile::tempdir().unwrap();
        write_sharded(dir.path(), vec![group("a", 4), group("b", 5)], 9, &mut |_| {}).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        let file = read_safetensors(&dir.path().join("model.safetensors")).unwrap();
        assert_eq!(file.tensors.len(), 2);
    }

    #[test]
    fn a_tensor_that_cannot_be_computed_leaves_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let broken = TensorGroup::new(vec![TensorEntry::new("b", "U8", &[1], 1)], |_| {
            Err(WriteError::Tensor(Error::invalid("b", "cannot be computed")))
        });
        let error = write_sharded(dir.path(), vec![group("a", 4), broken], 99, &mut |_| {});
        assert!(error.unwrap_err().to_string().contains("cannot be computed"));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
