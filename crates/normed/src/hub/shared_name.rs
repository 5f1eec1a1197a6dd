//! The name of a folder or file in what is meant to be shared: no path of this machine.

use std::path::{Component, Path};

/// The name by which others know `path`: `ORG/NAME` of a repository in the hub's cache, else the last name of the
/// path.
///
/// ```
/// use std::path::Path;
///
/// use normed::hub::shared_name;
///
/// let snapshot = "/home/a/.cache/huggingface/hub/models--Org--name/snapshots/0123";
/// assert_eq!(shared_name(Path::new(snapshot)), "Org/name");
/// assert_eq!(shared_name(Path::new("/home/a/models/phantom")), "phantom");
/// ```
pub fn shared_name(path: &Path) -> String {
    let names: Vec<_> = path
        .components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_string_lossy()),
            _ => None,
        })
        .collect();
    let repository = names.windows(2).rev().find_map(|pair| match pair {
        [folder, snapshots] if snapshots == "snapshots" => {
            let id = folder.strip_prefix("models--").or_else(|| folder.strip_prefix("datasets--"));
            Some(id?.replacen("--", "/", 1))
        }
        _ => None,
    });
    let last = || names.last().map_or_else(|| "unknown".to_owned(), |name| name.to_string());
    repository.unwrap_or_else(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_the_machine_is_left() {
        for (path, name) in [
            ("/home/a/hub/models--Org--a--b/snapshots/0123", "Org/a--b"),
            ("/home/a/hub/datasets--org--set/snapshots/0123/data/train.parquet", "org/set"),
            ("/home/a/snapshots/model", "model"),
            ("/home/a/models/phantom/", "phantom"),
            ("../models/phantom", "phantom"),
            ("phantom", "phantom"),
            ("/", "unknown"),
            ("..", "unknown"),
        ] {
            assert_eq!(shared_name(Path::new(path)), name, "{path}");
        }
    }
}
