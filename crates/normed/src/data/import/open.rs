//! Opens a table of any format.

use super::options::ImportOptions;
use super::sheet::Sheet;
use super::{delimited, workbook};
use crate::files::{TABLE_LIMIT, read_bounded};
use crate::{Error, Result};

/// Reads the table in a file of any of the formats, which its content tells.
///
/// # Errors
///
/// If the file cannot be read, is of another format, or holds no cell.
pub(super) fn open(options: &ImportOptions) -> Result<Sheet> {
    let path = &options.file;
    let bytes = read_bounded(path, TABLE_LIMIT)?;
    let sheet = match bytes.as_slice() {
        [b'P', b'K', 3, 4, ..] | [0xd0, 0xcf, 0x11, 0xe0, ..] => {
            if options.delimiter.is_some() || options.encoding.is_some() {
                let cause = "is a workbook: --delimiter and --encoding are for text files";
                return Err(Error::invalid(path.display(), cause));
            }
            workbook::read(path, bytes, options.sheet.as_deref())?
        }
        text => {
            if options.sheet.is_some() {
                let cause = "is a text file without sheets";
                return Err(Error::invalid(path.display(), cause).with_remedy("leave out --sheet"));
            }
            if let Some((what, remedy)) = other_format(text) {
                return Err(Error::invalid(path.display(), what).with_remedy(remedy));
            }
            delimited::read(path, text, options)?
        }
    };
    if sheet.rows.is_empty() {
        return Err(Error::invalid(path.display(), "holds no cell"));
    }
    Ok(sheet)
}

/// What a file is that is not a table, and what to do.
fn other_format(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
    let starts = |prefix: &[u8]| {
        text.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix))
    };
    if starts(b"PAR1") {
        let remedy = "it needs no import: name = \"parquet\" in [data] of a recipe";
        return Some(("is a parquet file", remedy));
    }
    if starts(b"<!DOCTYPE html") || starts(b"<html") {
        return Some((
            "is a web page under the name of a table, as some programs export it",
            "open it in Excel or LibreOffice, and save it as .xlsx",
        ));
    }
    if starts(b"<?xml") {
        return Some((
            "is XML, not a table",
            "open it in Excel or LibreOffice, and save it as .xlsx",
        ));
    }
    if starts(b"{\"") || starts(b"[{") {
        let remedy = "it needs no import: name = \"jsonl\" and file = \"...\" in [data] of a recipe; normed init \
                      writes one";
        return Some(("is JSON, not a table", remedy));
    }
    if starts(b"\x1f\x8b") || starts(b"\x28\xb5\x2f\xfd") {
        return Some(("is compressed", "decompress it first"));
    }
    None
}
