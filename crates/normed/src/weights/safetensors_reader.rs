//! Reads a safetensors file.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::tensor::MappedFile;
use safetensors::tensor::{Metadata, TensorInfo};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};

use super::stored::{Checkpoint, Stored, map_file};
use crate::{Error, Result};

/// Size of the header's length, in bytes.
const LENGTH_BYTES: usize = 8;

/// The longest header, as in the safetensors crate.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// Reads the safetensors file at `path`. Its tensors are mapped, not copied.
///
/// # Errors
/// If the file cannot be mapped, or is damaged: each tensor must be inside the file, without overlap or gap.
pub fn read_safetensors(path: &Path) -> Result<Checkpoint> {
    let map = map_file(path)?;
    let broken = |cause: String| {
        Error::invalid(path.display(), format!("not a valid safetensors file: {cause}"))
            .with_remedy("copy or download the file again")
    };
    let (header, start) = parse_header(&map).map_err(broken)?;
    let Header { metadata, mut tensors } = header;
    tensors.sort_by_key(|(_, info)| info.data_offsets);
    // Ends are checked first: the crate's arithmetic on them may overflow.
    let length = map.len() - start;
    if let Some((name, _)) = tensors.iter().find(|(_, info)| info.data_offsets.1 > length) {
        return Err(broken(format!("`{name}` ends after the end of the file")));
    }
    let end = tensors.last().map_or(0, |(_, info)| info.data_offsets.1);
    if end != length {
        return Err(broken(format!("{length} bytes of data, {end} described")));
    }
    // The crate checks that ranges fit the shapes and leave neither overlaps nor gaps.
    Metadata::new(None, tensors.clone()).map_err(|e| broken(e.to_string()))?;
    let tensors = tensors
        .into_iter()
        .map(|(name, info)| {
            let offset = start + info.data_offsets.0;
            match Stored::dense(&map, offset, info.dtype, info.shape) {
                Some(stored) => Ok((name, stored)),
                None => Err(broken(format!("`{name}` is outside the file"))),
            }
        })
        .collect::<Result<_>>()?;
    Ok(Checkpoint { path: path.to_owned(), tensors, metadata })
}

/// The header, and the position where the data start.
fn parse_header(map: &Arc<MappedFile>) -> Result<(Header, usize), String> {
    let length = map.first_chunk::<LENGTH_BYTES>().ok_or("it is shorter than a header")?;
    let length = u64::from_le_bytes(*length);
    let end = usize::try_from(length)
        .ok()
        .and_then(|n| n.checked_add(LENGTH_BYTES))
        .filter(|&end| end <= map.len())
        .ok_or_else(|| format!("the header claims {length} bytes, the file has {}", map.len()))?;
    if length > MAX_HEADER_BYTES {
        return Err(format!(
            "the header claims {length} bytes, more than the largest allowed header"
        ));
    }
    let header =
        serde_json::from_slice(&map[LENGTH_BYTES..end]).map_err(|e| format!("header: {e}"))?;
    Ok((header, end))
}

/// A safetensors header without duplicate names (of duplicates, the crate's own type keeps the last).
struct Header {
    metadata: BTreeMap<String, String>,
    tensors: Vec<(String, TensorInfo)>,
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Header;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let mut header = Header { metadata: BTreeMap::new(), tensors: Vec::new() };
                let mut seen = BTreeSet::new();
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        let entries: Option<HashMap<String, String>> = map.next_value()?;
                        header.metadata = entries.unwrap_or_default().into_iter().collect();
                    } else {
                        header.tensors.push((name.clone(), map.next_value()?));
                    }
                    if !seen.insert(name.clone()) {
                        return Err(A::Error::custom(format!("`{name}` appears twice")));
                    }
                }
                Ok(header)
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Checkpoint> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), bytes).unwrap();
        read_safetensors(file.path())
    }

    #[track_caller]
    fn fails(bytes: &[u8], cause: &str) {
        let error = read(bytes).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains(cause), "{error}");
    }

    const ONE: &str = r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;

    #[test]
    fn a_misaligned_file_is_read() {
        let one = read(&file(ONE, &2.5f32.to_le_bytes())).unwrap();
        assert_eq!(one.tensors["a"].to_tensor().unwrap().data(), [2.5]);
    }

    #[test]
    fn hostile_headers_are_errors() {
        fails(b"", "shorter than a header");
        fails(&u64::MAX.to_le_bytes(), "the header claims 18446744073709551615 bytes");
        fails(&file("[]", &[]), "an object of tensors");
        fails(&file("{", &[]), "EOF");
        fails(&file(ONE, &[0; 3]), "`a` ends after the end");
        fails(&file(ONE, &[0; 5]), "5 bytes of data, 4 described");
        let twice = ONE.replace(
            "}}",
            r#"},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#,
        );
        fails(&file(&twice, &[0; 8]), "`b` appears twice");
        let entry = |shape: &str, offsets: &str| {
            file(
                &format!(r#"{{"a":{{"dtype":"F32","shape":{shape},"data_offsets":{offsets}}}}}"#),
                &[0; 4],
            )
        };
        fails(&entry("[2]", "[0,4]"), "not a valid safetensors file");
        fails(&entry("[1]", "[4,0]"), "0 described");
        fails(&entry("[9223372036854775807,4]", "[0,4]"), "not a valid");
        fails(&entry("[-1]", "[0,4]"), "invalid value");
        fails(&entry("[1]", "[0,18446744073709551615]"), "ends after");
        let overlapping = r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
        fails(&file(overlapping, &[0; 4]), "not a valid");
    }
}
