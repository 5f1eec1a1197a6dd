//! Gives the library its version, commit and source hash, as constants in `normed::build`.

use std::path::{Path, PathBuf};

mod commit;
mod sources;

fn main() {
    let library = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    let root = library.join("../..");
    let roots = [library.join("../normed-engine/src"), library.join("src")];
    let lock = root.join("Cargo.lock");
    // The script runs again when one of these changes, and not at every commit: it would compile the
    // whole library again.
    for path in roots.iter().chain([&lock, &library.join("build"), &library.join("Cargo.toml")]) {
        // Cargo takes a path that does not exist for one that has changed.
        if path.exists() {
            println!("cargo::rerun-if-changed={}", path.display());
        }
    }
    for name in ["NORMED_COMMIT", "NORMED_COMMIT_DATE"] {
        println!("cargo::rerun-if-env-changed={name}");
    }

    let hash = sources::hash(&roots.each_ref().map(PathBuf::as_path), &lock)
        .unwrap_or_else(|cause| panic!("cannot hash the sources of normed: {cause}"));
    set("SOURCE_HASH", &hash);
    let version = variable("CARGO_PKG_VERSION");
    let full = match given_commit().or_else(|| commit_of(&root)) {
        Some((commit, date)) => {
            set("BUILD_COMMIT", &commit);
            set("BUILD_DATE", &date);
            format!("{version} ({commit}, {date})")
        }
        None => version,
    };
    set("FULL_VERSION", &full);
}

/// The commit and its date from the environment, for builds without a repository.
fn given_commit() -> Option<(String, String)> {
    Some((std::env::var("NORMED_COMMIT").ok()?, std::env::var("NORMED_COMMIT_DATE").ok()?))
}

/// The commit and date of the newest change to what the script watches.
fn commit_of(root: &Path) -> Option<(String, String)> {
    commit::newest(root, &["crates/normed", "crates/normed-engine", "Cargo.toml", "Cargo.lock"])
}

/// A variable that Cargo sets for every build script.
fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("cargo sets {name} for build scripts"))
}

fn set(name: &str, value: &str) {
    println!("cargo::rustc-env=NORMED_{name}={value}");
}
