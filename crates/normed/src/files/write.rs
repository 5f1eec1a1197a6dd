//! Atomic writing: a file is replaced as a whole, or left as it was.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use crate::{Error, Result};

/// Start of the names of temporary files. A process that is killed while it writes leaves one.
pub const TEMPORARY_PREFIX: &str = ".writing-";

/// Writes the file at `path` whole or not at all.
///
/// `write` writes to a temporary file in the same directory, which is synced to disk and then
/// renamed. A full disk or a killed process leaves what was at `path` before.
///
/// # Errors
///
/// If the temporary file cannot be created, written, synced or renamed, or if `write` fails.
pub fn write_atomically(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<()> {
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    let attempt = || -> io::Result<()> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(TEMPORARY_PREFIX);
        // The permissions of any new file, within the umask; the crate's default is the owner's alone.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let file = builder.tempfile_in(dir)?;
        let mut buffer = BufWriter::with_capacity(1 << 20, file.as_file());
        write(&mut buffer)?;
        buffer.flush()?;
        drop(buffer);
        file.as_file().sync_all()?;
        file.persist(path).map_err(|e| e.error)?;
        // The new name itself is on disk only once the directory is.
        #[cfg(unix)]
        File::open(dir)?.sync_all()?;
        Ok(())
    };
    attempt().map_err(|e| match e.kind() {
        io::ErrorKind::StorageFull => Error::failed(path.display(), "the disk is full")
            .with_remedy("free some space; what was there before is unchanged"),
        _ => Error::io(path, &e),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_failure_leaves_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "before").unwrap();
        let error = write_atomically(&path, |out| {
            out.write_all(b"half")?;
            Err(io::ErrorKind::StorageFull.into())
        })
        .unwrap_err();
        assert!(error.to_string().contains("the disk is full"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "before");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "a temporary file stays");
    }
}
