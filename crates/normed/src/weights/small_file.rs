//! Files of a few pages of text, which a directory of strangers may hold in any size.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::{Error, Result};

/// What no config or index comes near, in bytes.
const LARGEST: u64 = 32 << 20;

/// Reads `path`. A file that is larger than any config or index is an error before it is read.
pub fn read_small(path: &Path) -> Result<Vec<u8>> {
    let io = |e: std::io::Error| Error::io(path, &e);
    let too_large = || {
        let cause = format!("larger than {} MiB: not what its name says", LARGEST >> 20);
        Error::invalid(path.display(), cause).with_remedy("copy or download it again")
    };
    let file = File::open(path).map_err(io)?;
    if file.metadata().map_err(io)?.len() > LARGEST {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    // What is no plain file has no length, and may never end.
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > LARGEST {
        return Err(too_large());
    }
    Ok(bytes)
}
