//! What the data tests share.

use std::path::{Path, PathBuf};

/// A golden file.
pub fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// The directory of the real data sets: `$NORMED_DATA`, else shared/data beside the workspace.
/// Where there is none, says so; the caller's test is then passed over.
#[allow(dead_code, reason = "not every test that includes this module needs it")]
pub fn shared_data() -> Option<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2)?.to_owned();
    let beside = workspace.join("../shared/data");
    let found = std::env::var_os("NORMED_DATA").map(PathBuf::from).unwrap_or(beside);
    if found.join("vqa-rad").is_dir() && found.join("slake").is_dir() {
        return Some(found);
    }
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    eprintln!("SKIPPED {test}: no data sets in {} (set NORMED_DATA)", found.display());
    None
}
