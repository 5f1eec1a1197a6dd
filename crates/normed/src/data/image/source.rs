//! Where the bytes of an image file come from while its header is read.

use std::io::{BufRead, Read, Seek, SeekFrom};

/// An image file, of which only some parts are read.
pub(super) trait Source: BufRead + Seek {}

impl<T: BufRead + Seek> Source for T {}

/// The bytes at `at`, fewer than `length` where the file ends before. Memory is taken only for those that are
/// there.
pub(super) fn read_at(source: &mut dyn Source, at: u64, length: usize) -> Result<Vec<u8>, String> {
    source.seek(SeekFrom::Start(at)).map_err(|e| e.to_string())?;
    let mut bytes = Vec::new();
    source.take(length as u64).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    Ok(bytes)
}

/// The length of the file in bytes.
pub(super) fn length(source: &mut dyn Source) -> Result<u64, String> {
    source.seek(SeekFrom::End(0)).map_err(|e| e.to_string())
}
