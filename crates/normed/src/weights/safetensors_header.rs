//! The header of a safetensors file to be written.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// A tensor in a file to be written.
#[derive(Debug, Clone)]
pub(super) struct TensorEntry {
    /// The tensor's name.
    pub name: String,
    /// The element type, by safetensors' name.
    pub dtype: &'static str,
    /// The extent of each dimension.
    pub shape: Vec<usize>,
    /// The size of its elements together, in bytes.
    pub bytes: usize,
}

impl TensorEntry {
    /// An entry for a tensor of `bytes` bytes.
    pub fn new(name: &str, dtype: &'static str, shape: &[usize], bytes: usize) -> Self {
        Self { name: name.to_owned(), dtype, shape: shape.to_vec(), bytes }
    }
}

/// The header of a safetensors file with these tensors: its length, its JSON, and padding.
pub(super) fn safetensors_header(
    entries: &[TensorEntry],
    metadata: &BTreeMap<String, String>,
) -> Vec<u8> {
    let mut header = Map::new();
    let mut texts = json!({ "format": "pt" });
    for (key, value) in metadata {
        texts[key] = json!(value);
    }
    header.insert("__metadata__".into(), texts);
    let mut offset = 0;
    for TensorEntry { name, dtype, shape, bytes } in entries {
        let end = offset + bytes;
        let entry = json!({ "dtype": dtype, "shape": shape, "data_offsets": [offset, end] });
        header.insert(name.clone(), entry);
        offset = end;
    }
    let mut header = Value::Object(header).to_string().into_bytes();
    // Data that start at a multiple of 8 can be used where they are mapped.
    header.resize(header.len().next_multiple_of(8), b' ');
    [&(header.len() as u64).to_le_bytes()[..], &header].concat()
}
