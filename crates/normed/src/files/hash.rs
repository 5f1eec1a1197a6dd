//! Checksums of files, taken piece by piece.

use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::read::open_regular;
use crate::{Error, Result};

/// Feeds the bytes of the file at `path` to `hash`, a piece at a time, whatever the file's size.
///
/// # Errors
///
/// If the file cannot be read, or is not a regular file.
pub fn hash_file(path: &Path, hash: &mut Sha256) -> Result<()> {
    let io = |e: io::Error| Error::io(path, &e);
    let mut file = open_regular(path)?;
    let mut piece = vec![0; 1 << 16];
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(n) => hash.update(&piece[..n]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(io(e)),
        }
    }
}
