//! A directory that is there whole, or not at all.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::{Error, Result};

/// A directory under way, beside the place that it will have.
pub(super) struct NewDirectory {
    output: PathBuf,
    unfinished: TempDir,
}

impl NewDirectory {
    /// Begins what will be `output`, which must not exist.
    pub fn create(output: &Path) -> Result<Self> {
        if output.symlink_metadata().is_ok() {
            return Err(Error::invalid(output.display(), "is there already")
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

    /// Where to write.
    pub fn path(&self) -> &Path {
        self.unfinished.path()
    }

    /// Gives it its name.
    pub fn commit(self) -> Result<()> {
        let Self { output, unfinished } = self;
        // A directory that appeared meanwhile stays as it is, unless it is empty.
        fs::rename(unfinished.path(), &output).map_err(|e| Error::io(&output, &e))?;
        let _ = unfinished.keep(); // it has its name now: there is nothing to remove
        Ok(())
    }
}
