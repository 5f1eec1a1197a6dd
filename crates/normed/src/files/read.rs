//! Readers that refuse a file over a stated limit, so that no file can fill the memory.

use std::fs::{self, File};
use std::io::{IsTerminal as _, Read};
use std::path::Path;

use serde::de::DeserializeOwned;

use super::destination::{file_kind, open_descriptor};
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

/// Opens the regular file at `path`. Links are followed.
///
/// Anything else is refused before it is opened: a named pipe would wait for a writer, and a device may
/// never end.
///
/// # Errors
///
/// If there is no file at `path`, it cannot be opened, or it is not a regular file.
pub fn open_regular(path: &Path) -> Result<File> {
    let io = |e: std::io::Error| Error::io(path, &e);
    let metadata = fs::metadata(path).map_err(io)?;
    if !metadata.is_file() {
        return Err(not_regular(path, file_kind(&metadata)));
    }
    File::open(path).map_err(io)
}

fn not_regular(path: &Path, kind: &str) -> Error {
    Error::invalid(path.display(), format!("is not a regular file: it is {kind}"))
}

/// Reads the whole regular file at `path`, of at most `limit` bytes.
///
/// The memory used is that of the bytes that are there: a length that a file system only claims is
/// not allocated in advance.
///
/// # Errors
///
/// If the file cannot be read, is not a regular file, or holds more than `limit` bytes.
pub fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>> {
    read_whole(open_regular(path)?, path, limit)
}

/// Reads a regular file as [`read_bounded`] does, or what a process writes into an open descriptor:
/// `/dev/stdin`, or the `/dev/fd/63` of a shell's `<(...)`. That can be read once.
///
/// # Errors
///
/// As [`read_bounded`]; if the descriptor is a terminal or a device, or nothing is left in it.
pub fn read_once(path: &Path, limit: u64) -> Result<Vec<u8>> {
    if open_descriptor(path).is_none() {
        return read_bounded(path, limit).map_err(|error| match error.cause() {
            cause if cause.ends_with("a named pipe") => error.with_remedy(
                "hand it over as standard input: `/dev/stdin < PIPE` in place of its name",
            ),
            _ => error,
        });
    }
    let io = |e: std::io::Error| Error::io(path, &e);
    let metadata = fs::metadata(path).map_err(io)?;
    let is_device = file_kind(&metadata) == "a device";
    if metadata.is_dir() || is_device {
        return Err(not_regular(path, file_kind(&metadata)));
    }
    let file = File::open(path).map_err(io)?;
    if file.is_terminal() {
        return Err(not_regular(path, "a terminal"));
    }
    let bytes = read_whole(file, path, limit)?;
    if bytes.is_empty() {
        let cause = "nothing is in it; what a pipe held can be read only once";
        return Err(Error::invalid(path.display(), cause)
            .with_remedy("save it to a file, and name the file"));
    }
    Ok(bytes)
}

fn read_whole(file: File, path: &Path, limit: u64) -> Result<Vec<u8>> {
    let io = |e: std::io::Error| Error::io(path, &e);
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
    text_of(read_bounded(path, limit)?, path)
}

/// Reads text as [`read_text`] does, from what [`read_once`] reads.
///
/// # Errors
///
/// As [`read_text`] and [`read_once`].
pub fn read_text_once(path: &Path, limit: u64) -> Result<String> {
    text_of(read_once(path, limit)?, path)
}

fn text_of(bytes: Vec<u8>, path: &Path) -> Result<String> {
    if let Some((what, remedy)) = foreign_form(&bytes) {
        return Err(Error::invalid(path.display(), format!("is {what}, not UTF-8 text"))
            .with_remedy(remedy));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let end = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes()[..end].iter().filter(|&&b| b == b'\n').count();
        let is_table = path.extension().is_some_and(|ending| ending == "csv" || ending == "tsv");
        Error::invalid(format!("{}:{line}", path.display()), "is not UTF-8 text").with_remedy(
            match is_table {
                true => "normed import makes rows of a table, whatever its encoding",
                false => "save the file as UTF-8",
            },
        )
    })?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// What a file is that is no UTF-8 text by its first bytes, and what to do.
fn foreign_form(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    const SAVE: &str = "save the file as UTF-8";
    const DECOMPRESS: &str = "decompress it first";
    const IMPORT: &str = "turn it into rows: normed import FILE --out data.jsonl";
    match bytes {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some(("UTF-16 text", SAVE)),
        // Without a byte-order mark, ASCII has a zero in every second byte.
        [0, first, ..] | [first, 0, ..] if *first != 0 => Some(("UTF-16 text", SAVE)),
        [0x1f, 0x8b, ..] => Some(("compressed with gzip", DECOMPRESS)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(("compressed with zstd", DECOMPRESS)),
        [b'P', b'K', 3, 4, ..] if is_workbook(bytes) => Some(("a workbook", IMPORT)),
        [0xd0, 0xcf, 0x11, 0xe0, ..] => Some(("a workbook", IMPORT)),
        [b'P', b'K', 3, 4, ..] => Some(("a zip archive", "unpack it first")),
        [b'P', b'A', b'R', b'1', ..] => {
            Some(("a parquet file", "read it as one: name = \"parquet\" in [data] of a recipe"))
        }
        _ => None,
    }
}

/// Whether a zip archive is a workbook of Excel or OpenDocument, by the names that it starts or ends with.
fn is_workbook(bytes: &[u8]) -> bool {
    const LOOKED_AT: usize = 1 << 16;
    let names: [&[u8]; 2] = [b"xl/", b"opendocument.spreadsheet"];
    let ends =
        [&bytes[..bytes.len().min(LOOKED_AT)], &bytes[bytes.len().saturating_sub(LOOKED_AT)..]];
    let has = |part: &[u8], name: &[u8]| part.windows(name.len()).any(|window| window == name);
    ends.iter().any(|part| names.iter().any(|name| has(part, name)))
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

    /// A named pipe that nothing writes to would be waited for forever.
    #[cfg(unix)]
    #[test]
    fn only_regular_files_are_opened() {
        use std::os::unix::net::UnixListener;
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let made = std::process::Command::new("mkfifo").arg(at("pipe")).status().unwrap();
        assert!(made.success());
        let _listener = UnixListener::bind(at("socket")).unwrap();
        std::os::unix::fs::symlink("pipe", at("link")).unwrap();
        for (path, kind) in [
            (at("pipe"), "a named pipe"),
            (at("link"), "a named pipe"),
            (at("socket"), "a socket"),
            (dir.path().to_owned(), "a directory"),
            ("/dev/zero".into(), "a device"),
        ] {
            for error in [read_bounded(&path, 9).unwrap_err(), read_once(&path, 9).unwrap_err()] {
                assert_eq!(error.cause(), format!("is not a regular file: it is {kind}"));
                assert_eq!(error.exit_code(), 2);
            }
        }
        assert!(read_once(&at("pipe"), 9).unwrap_err().remedy().unwrap().contains("/dev/stdin"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_open_descriptor_is_read_once() {
        use std::io::Write as _;
        use std::os::fd::AsRawFd as _;
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(b"12345").unwrap();
        drop(writer);
        let path = format!("/dev/fd/{}", reader.as_raw_fd());
        assert_eq!(read_once(Path::new(&path), 5).unwrap(), b"12345");
        let error = read_once(Path::new(&path), 5).unwrap_err();
        assert!(error.cause().contains("can be read only once"), "{error}");
        assert!(read_bounded(Path::new(&path), 5).is_err());
        let zero = File::open("/dev/zero").unwrap();
        let path = format!("/dev/fd/{}", zero.as_raw_fd());
        assert!(read_once(Path::new(&path), 5).unwrap_err().cause().contains("a device"));
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
    fn what_is_no_text_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let utf16 = |mark: &str, swap: bool| -> Vec<u8> {
            let unit = |unit| if swap { u16::to_be_bytes(unit) } else { u16::to_le_bytes(unit) };
            format!("{mark}[{{}}]").encode_utf16().flat_map(unit).collect()
        };
        for (bytes, cause) in [
            (utf16("\u{feff}", false), "is UTF-16 text"),
            (utf16("\u{feff}", true), "is UTF-16 text"),
            (utf16("", false), "is UTF-16 text"),
            (utf16("", true), "is UTF-16 text"),
            (b"\x1f\x8b\x08".to_vec(), "compressed with gzip"),
            (b"PAR1...".to_vec(), "a parquet file"),
        ] {
            fs::write(&path, bytes).unwrap();
            let error = read_text(&path, 100).unwrap_err().to_string();
            assert!(error.contains(cause) && error.contains("hint: "), "{error}");
        }
        fs::write(&path, "[]").unwrap();
        assert_eq!(read_text(&path, 100).unwrap(), "[]");
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
