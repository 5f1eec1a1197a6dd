//! Writing a directory that appears when it is complete, or not at all.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::{Error, Result};

/// A directory that is being written, under a temporary name next to its final one.
pub(super) struct NewDirectory {
    output: PathBuf,
    unfinished: TempDir,
}

impl NewDirectory {
    /// Starts the directory that will be `output`.
    ///
    /// # Errors
    /// If `output` exists, or if nothing can be written next to it.
    pub fn create(output: &Path) -> Result<Self> {
        if output.symlink_metadata().is_ok() {
            return Err(Error::invalid(output.display(), "exists already")
                .with_remedy("name another directory, or remove it"));
        }
        let parent = match output.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let mut builder = tempfile::Builder::new();
        builder.prefix(".unfinished-");
        // As any new directory, within the umask; the crate's default is for its owner alone.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
        let unfinished = builder.tempdir_in(parent).map_err(|e| Error::io(parent, &e))?;
        Ok(Self { output: output.to_owned(), unfinished })
    }

    /// The path to write to.
    pub fn path(&self) -> &Path {
        self.unfinished.path()
    }

    /// Gives the directory its final name.
    ///
    /// # Errors
    /// If `output` has appeared meanwhile, and is not empty.
    pub fn commit(self) -> Result<()> {
        let Self { output, unfinished } = self;
        fs::rename(unfinished.path(), &output).map_err(|e| Error::io(&output, &e))?;
        let _ = unfinished.keep(); // it was renamed: there is nothing to remove
        Ok(())
    }
}
