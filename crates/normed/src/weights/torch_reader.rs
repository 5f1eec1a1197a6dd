//! Reads PyTorch's `.pth` and `.bin` files: zip archives of a pickle and raw storages.
//!
//! No maintained crate reads them alone (candle's and burn's readers are parts of their frameworks), so the pickle
//! is read by [`crate::pickle`].

use std::collections::BTreeMap;
use std::io::Cursor;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crate::tensor::MappedFile;
use zip::{CompressionMethod, ZipArchive};

use super::stored::{Checkpoint, Stored, map_file};
use crate::pickle::{Pickle, Value};
use crate::{Error, Result};

/// The first bytes of the format before PyTorch 1.6: a pickle of a fixed number.
const LEGACY: &[u8] = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.";

/// The names of the state dict in files that hold an optimizer's state as well: BLIP's, Lightning's, DeepSpeed's.
const NESTED: [&str; 4] = ["model", "state_dict", "model_state_dict", "module"];

/// Reads the state dict at `path` that `torch.save` wrote, alone or under one of the names in `NESTED`, at any
/// depth. Its tensors are mapped, not copied.
///
/// # Errors
/// If the file cannot be mapped, is of the format before PyTorch 1.6, or is damaged, or if its pickle names
/// anything but tensors.
pub fn read_torch(path: &Path) -> Result<Checkpoint> {
    let map = map_file(path)?;
    if map.starts_with(LEGACY) {
        let cause = "the format before PyTorch 1.6 is not supported";
        return Err(Error::invalid(path.display(), cause)
            .with_remedy("save it again in Python: torch.save(torch.load(path), new_path)"));
    }
    let broken = |cause: String| {
        Error::invalid(path.display(), cause)
            .with_remedy("it must be a plain state dict: torch.save(model.state_dict(), path)")
    };
    let tensors = read_archive(&map).map_err(broken)?;
    Ok(Checkpoint { path: path.to_owned(), tensors, metadata: BTreeMap::new() })
}

fn read_archive(map: &Arc<MappedFile>) -> Result<BTreeMap<String, Stored>, String> {
    let entries = list_entries(map)?;
    let mut pickles = entries.keys().filter_map(|name| name.strip_suffix("data.pkl"));
    let (Some(root), None) = (pickles.next(), pickles.next()) else {
        return Err("not one PyTorch checkpoint: the archive must have one data.pkl".into());
    };
    if let Some(order) = entries.get(&format!("{root}byteorder"))
        && &map[order.clone()] != b"little"
    {
        return Err("its numbers are not little-endian".into());
    }
    let (pickle, value) = Pickle::parse(&map[entries[&format!("{root}data.pkl")].clone()])?;
    state_dict(&pickle, value)?
        .into_iter()
        .map(|(name, tensor)| {
            let view = &pickle.tensors[tensor];
            let storage = &pickle.storages[view.storage];
            let range = entries
                .get(&format!("{root}data/{}", storage.key))
                .ok_or_else(|| format!("`{name}` is in data/{}, which is missing", storage.key))?;
            let stored = view
                .offset
                .checked_mul(storage.dtype.bitsize() / 8)
                .and_then(|offset| offset.checked_add(range.start))
                .and_then(|offset| {
                    let (shape, strides) = (view.shape.clone(), view.strides.clone());
                    Stored::strided(map, offset, range.end, storage.dtype, shape, strides)
                })
                .ok_or_else(|| format!("`{name}` is larger than data/{}", storage.key))?;
            Ok((name, stored))
        })
        .collect()
}

/// The byte range of each entry in the file.
fn list_entries(map: &Arc<MappedFile>) -> Result<BTreeMap<String, Range<usize>>, String> {
    let bytes: &[u8] = map;
    let mut archive =
        ZipArchive::new(Cursor::new(bytes)).map_err(|e| format!("not a PyTorch file: {e}"))?;
    let mut entries = BTreeMap::new();
    for i in 0..archive.len() {
        let entry = archive.by_index_raw(i).map_err(|e| e.to_string())?;
        let name = entry.name().map_err(|e| e.to_string())?.into_owned();
        if entry.compression() != CompressionMethod::Stored || entry.encrypted() {
            return Err(format!("{name} is compressed, which PyTorch never does"));
        }
        let range = entry
            .data_start()
            .zip(entry.data_start().and_then(|start| start.checked_add(entry.size())))
            .and_then(|(start, end)| Some(usize::try_from(start).ok()?..usize::try_from(end).ok()?))
            .filter(|range| range.end <= bytes.len())
            .ok_or_else(|| format!("{name} ends after the end of the file"))?;
        entries.insert(name, range);
    }
    Ok(entries)
}

/// The names of the tensors in the state dict, with their indices in `pickle`.
fn state_dict(pickle: &Pickle, root: Value) -> Result<Vec<(String, usize)>, String> {
    let Value::Dict(outer) = root else {
        return Err("it holds no dict of tensors".into());
    };
    let nested = |dict: usize| {
        pickle.dicts[dict].iter().find_map(|&(key, value)| match value {
            Value::Dict(inner) if NESTED.contains(&pickle.text(key)?) => Some(inner),
            _ => None,
        })
    };
    // A dict can contain itself.
    let chain = std::iter::successors(Some(outer), |&dict| nested(dict));
    let innermost = chain.take(NESTED.len() + 1).last().unwrap_or(outer);
    let mut list: BTreeMap<String, usize> = BTreeMap::new();
    for &(key, value) in &pickle.dicts[innermost] {
        let name = pickle.text(key).ok_or("a tensor without a name")?;
        let Value::Tensor(tensor) = value else {
            return Err(format!("`{name}` is not a tensor"));
        };
        if list.insert(name.to_owned(), tensor).is_some() {
            return Err(format!("`{name}` appears twice"));
        }
    }
    Ok(list.into_iter().collect())
}
