//! safetensors in files of limited size, with an index where there is more than one.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use serde_json::json;

use super::save::header;
use crate::files::write_atomically;
use crate::{Error, Result};

/// A tensor in a file to be written.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub name: String,
    /// As safetensors calls it.
    pub dtype: &'static str,
    pub shape: Vec<usize>,
    pub bytes: usize,
}

impl Entry {
    pub fn new(name: &str, dtype: &'static str, shape: &[usize], bytes: usize) -> Self {
        Self { name: name.to_owned(), dtype, shape: shape.to_vec(), bytes }
    }
}

/// Why a file is not written to its end.
pub(super) enum Stop {
    /// It cannot be written.
    Written(io::Error),
    /// What should be in it cannot be made.
    Made(Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Written(error)
    }
}

type Make<'a> = Box<dyn Fn(&mut dyn Write) -> Result<(), Stop> + 'a>;

/// Tensors that are made and written together, in this order.
pub(super) struct Item<'a> {
    entries: Vec<Entry>,
    write: Make<'a>,
}

impl<'a> Item<'a> {
    /// `write` writes exactly the bytes that `entries` claim.
    pub fn new(
        entries: Vec<Entry>,
        write: impl Fn(&mut dyn Write) -> Result<(), Stop> + 'a,
    ) -> Self {
        Self { entries, write: Box::new(write) }
    }

    pub fn bytes(&self) -> usize {
        self.entries.iter().map(|entry| entry.bytes).sum()
    }
}

/// Writes `items` into `dir`: model.safetensors, or as many files as it takes so that none but one of a
/// single item has more than `limit` bytes, and model.safetensors.index.json. `on_done` is told how many
/// items are written, each time.
pub(super) fn write_sharded(
    dir: &Path,
    items: Vec<Item<'_>>,
    limit: usize,
    on_done: &mut dyn FnMut(usize),
) -> Result<()> {
    let total: usize = items.iter().map(Item::bytes).sum();
    let mut shards: Vec<Vec<Item<'_>>> = Vec::new();
    let mut room = 0;
    for item in items {
        match shards.last_mut() {
            Some(shard) if item.bytes() <= room => {
                room -= item.bytes();
                shard.push(item);
            }
            _ => {
                room = limit.saturating_sub(item.bytes());
                shards.push(vec![item]);
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
        // What is one tensor is mapped where it is aligned: before those whose lengths are odd.
        shard.sort_by_key(|item| item.entries.len() > 1);
        write_shard(&dir.join(&file), &shard, &mut || {
            done += 1;
            on_done(done);
        })?;
        let entries = shard.into_iter().flat_map(|item| item.entries);
        weight_map.extend(entries.map(|entry| (entry.name, file.clone())));
    }
    if count > 1 {
        let index = json!({ "metadata": { "total_size": total }, "weight_map": weight_map });
        let path = dir.join("model.safetensors.index.json");
        write_atomically(&path, |out| writeln!(out, "{index:#}"))?;
    }
    Ok(())
}

fn write_shard(path: &Path, items: &[Item<'_>], on_done: &mut dyn FnMut()) -> Result<()> {
    let entries: Vec<_> = items.iter().flat_map(|item| &item.entries).cloned().collect();
    let mut stopped = None;
    let written = write_atomically(path, |out| {
        out.write_all(&header(&entries, &BTreeMap::new()))?;
        for item in items {
            match (item.write)(out) {
                Ok(()) => on_done(),
                Err(Stop::Written(error)) => return Err(error),
                Err(Stop::Made(error)) => {
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

    fn item(name: &str, bytes: usize) -> Item<'static> {
        Item::new(vec![Entry::new(name, "U8", &[bytes], bytes)], move |out| {
            out.write_all(&vec![bytes as u8; bytes])?;
            Ok(())
        })
    }

    #[test]
    fn no_file_is_larger_than_the_limit() {
        let dir = tempfile::tempdir().unwrap();
        let items = vec![item("a", 4), item("b", 5), item("c", 12), item("d", 1), item("e", 1)];
        let mut seen = Vec::new();
        write_sharded(dir.path(), items, 10, &mut |done| seen.push(done)).unwrap();
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
        write_sharded(dir.path(), vec![item("a", 4), item("b", 5)], 9, &mut |_| {}).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        let file = read_safetensors(&dir.path().join("model.safetensors")).unwrap();
        assert_eq!(file.tensors.len(), 2);
    }

    #[test]
    fn what_cannot_be_made_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let broken = Item::new(vec![Entry::new("b", "U8", &[1], 1)], |_| {
            Err(Stop::Made(Error::invalid("b", "cannot be made")))
        });
        let error = write_sharded(dir.path(), vec![item("a", 4), broken], 99, &mut |_| {});
        assert!(error.unwrap_err().to_string().contains("cannot be made"));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
