//! What the data tests share.

use std::path::{Path, PathBuf};

/// A golden file.
pub fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// The directory of the real data sets: `$NORMED_DATA`, else shared/data next to the workspace.
///
/// Tests that call this are ignored, and have `real_data` in their names: an ordinary run needs no data.
/// Where they are run, data that is absent fails them.
#[allow(dead_code, reason = "not every test that includes this module needs it")]
pub fn real_data() -> PathBuf {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let found = std::env::var_os("NORMED_DATA").map(PathBuf::from).unwrap_or(default);
    for data_set in ["vqa-rad", "slake"] {
        let there = found.join(data_set).is_dir();
        assert!(there, "{} holds no {data_set}; NORMED_DATA names its directory", found.display());
    }
    found
}
