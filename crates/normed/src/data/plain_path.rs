//! One spelling for all spellings of a path.

use std::path::{Component, Path, PathBuf};

/// The absolute path, without `.`, `..` and repeated separators. Nothing is looked up.
pub(super) fn plain_path(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).components() {
        match component {
            Component::ParentDir => drop(plain.pop()),
            other => plain.push(other),
        }
    }
    plain
}
