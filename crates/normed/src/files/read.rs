//! Readers that refuse a file over a stated limit, so that no file can fill the memory.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::de::DeserializeOwned;

use crate::{Error, Result};

/// Limit for configurations, indexes, templates and other files of a few pages: 32 MiB.
pub const CONFIG_LIMIT: u64 = 32 << 20;

/// Limit for tokenizers, vocabularies and dictionaries: 256 MiB.
pub const TOKENIZER_LIMIT: u64 = 256 << 20;

/// Limit for the rows of a data set, for predictions and for the events of a run: 4 GiB.
pub const TABLE_LIMIT: u64 = 4 << 30;

/// Limit for an image file that is decoded whole: 2 GiB.
pub const IMAGE_LIMIT: u64 = 2 << 30;

const MIB: u64 = 1 << 20;

/// Reads the whole file at `path`, of at most `limit` bytes.
///
/// The memory used is that of the bytes that are there: a length that a file system only claims is
/// not allocated in advance, and a pipe or a device that never ends is cut off at `limit`.
///
/// # Errors
///
/// If the file cannot be read, or holds more than `limit` bytes.
pub fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let io = |e: std::io::Error| Error::io(path, &e);
    let file = File::open(path).map_err(io)?;
    let length = file.metadata().map_err(io)?.len();
    if length > limit {
        return Err(too_large(path, limit));
    }
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > limit {
        return Err(too_large(path, limit));
    }
    Ok(bytes)
}

/// Reads the whole text file at `path`, of at most `limit` bytes, without its byte-order mark.
///
/// # Errors
///
/// If the file cannot be read, holds more than `limit` bytes, or is not UTF-8; the error names the
/// line.
pub fn read_text(path: &Path, limit: u64) -> Result<String> {
    let text = String::from_utf8(read_bounded(path, limit)?).map_err(|error| {
        let end = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes()[..end].iter().filter(|&&b| b == b'\n').count();
        Error::invalid(format!("{}:{line}", path.display()), "is not UTF-8 text")
            .with_remedy("save the file as UTF-8")
    })?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// Reads the JSON file at `path`, of at most [`CONFIG_LIMIT`] bytes, as a `T`.
///
/// # Errors
///
/// If the file cannot be read, is too large, or is not the JSON of a `T`.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = read_bounded(path, CONFIG_LIMIT)?;
    serde_json::from_slice(&bytes).map_err(|e| Error::invalid(path.display(), e))
}

fn too_large(path: &Path, limit: u64) -> Error {
    let limit = match limit {
        limit if limit >= MIB => format!("{} MiB", limit / MIB),
        limit => format!("{limit} bytes"),
    };
    let cause =
        format!("the file is larger than {limit}, the most that a file of this kind may be");
    Error::invalid(path.display(), cause).with_remedy(
        "check that this is the right file; if it is damaged, copy or download it again",
    )
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn files_over_the_limit_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "12345").unwrap();
        assert_eq!(read_bounded(&path, 5).unwrap(), b"12345");
        let error = read_bounded(&path, 4).unwrap_err().to_string();
        assert!(error.contains("file: the file is larger than 4 bytes"), "{error}");
        assert!(error.contains("hint: "), "{error}");
        let missing = read_bounded(&dir.path().join("none"), 5).unwrap_err();
        assert_eq!(missing.kind(), crate::ErrorKind::NotFound);
    }

    /// Its length is zero, so that only what was read can tell that it is too large.
    #[cfg(target_os = "linux")]
    #[test]
    fn an_endless_device_is_refused() {
        let error = read_bounded(Path::new("/dev/zero"), 2 * MIB).unwrap_err();
        assert!(error.cause().contains("larger than 2 MiB"), "{error}");
    }

    #[test]
    fn text_loses_its_byte_order_mark_and_names_the_line_that_is_not_text() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "\u{feff}a").unwrap();
        assert_eq!(read_text(&path, 10).unwrap(), "a");
        fs::write(&path, b"a\n\xff").unwrap();
        assert!(read_text(&path, 10).unwrap_err().place().ends_with("file:2"));
    }

    #[test]
    fn json_is_parsed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        fs::write(&path, "[1, 2]").unwrap();
        assert_eq!(read_json::<Vec<u8>>(&path).unwrap(), [1, 2]);
        assert!(read_json::<String>(&path).unwrap_err().place().ends_with("config.json"));
    }
}
