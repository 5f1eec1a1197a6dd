//! The hash of the sources: it follows every change that can change a result, and no other.

#[path = "../build/sources.rs"]
mod sources;

use std::fs;
use std::path::Path;

const CODE: &str =
    "//! A module.\n\n/// Adds one.\npub fn next(n: u32) -> u32 {\n    n + 1 // no overflow\n}\n";

const LOCK: &str = r#"version = 4

[[package]]
name = "image"
version = "0.25.1"
source = "registry"

[[package]]
name = "normed"
version = "0.2.0"
dependencies = [
 "image",
 "rand 0.8.0",
]

[[package]]
name = "normed-cli"
version = "0.2.0"
dependencies = [
 "clap",
]

[[package]]
name = "rand"
version = "0.8.0"
source = "registry"

[[package]]
name = "rand"
version = "0.9.0"
source = "registry"

[[package]]
name = "clap"
version = "4.0.0"
source = "registry"
"#;

/// The hash of a tree of these files; `Cargo.lock` is next to it.
fn hash(files: &[(&str, &str)]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let src = dir.path().join("src");
    for (name, text) in files {
        let path = if *name == "Cargo.lock" { dir.path().join(name) } else { src.join(name) };
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    sources::hash(&[&src], &dir.path().join("Cargo.lock")).unwrap()
}

#[test]
fn code_changes_the_hash_and_comments_layout_and_tests_do_not() {
    let of = |code: &str| hash(&[("train/step.rs", code)]);
    let was = of(CODE);
    let test = "#[cfg(test)]\nmod tests {\n    use super::*;\n}\n";
    for same in [
        CODE.replace("Adds one", "The next number"),
        CODE.replace("// no overflow", ""),
        CODE.replace("    ", "  "),
        format!("{CODE}\n{test}"),
    ] {
        assert_eq!(of(&same), was, "{same}");
    }
    for other in [
        CODE.replace("n + 1", "n + 2"),
        CODE.replace("n + 1", "n - 1"),
        CODE.replace("pub fn next", "#[inline] pub fn next"),
        format!("{CODE}{test}pub fn last() {{}}\n"),
        format!("{CODE}const TEXT: &str = \"\n// no comment\";"),
    ] {
        assert_ne!(of(&other), was, "{other}");
    }
    assert_ne!(of("const A: &str = \"// a\";"), of("const A: &str = \"// b\";"));
    assert_ne!(of("fn f() { (1)(2) }"), of("fn f() { (1(2)) }"));
}

#[test]
fn what_shows_results_does_not_count_and_every_other_file_does() {
    let of = |more: (&str, &str)| hash(&[("train/step.rs", CODE), more]);
    let was = hash(&[("train/step.rs", CODE)]);
    for name in ["study/table.rs", "plot/figure.rs", "hub/mod.rs", "lib.rs", "data/tests.rs"] {
        assert_eq!(of((name, "fn new() {}")), was, "{name}");
    }
    for name in ["metrics/study.rs", "later/mod.rs", "train/plot/mod.rs", "data/words.txt"] {
        assert_ne!(of((name, "fn new() {}")), was, "{name}");
    }
    assert_ne!(hash(&[("train/steps.rs", CODE)]), was, "a file's name counts");
}

#[test]
fn packages_count_that_the_library_is_built_with() {
    let of = |lock: &str| hash(&[("train/step.rs", CODE), ("Cargo.lock", lock)]);
    let was = of(LOCK);
    for same in [("4.0.0", "4.1.0"), ("0.9.0", "0.9.1"), ("0.2.0", "0.3.0")] {
        assert_eq!(of(&LOCK.replace(same.0, same.1)), was, "{same:?}");
    }
    for other in [("0.25.1", "0.25.2"), ("0.8.0", "0.8.1")] {
        assert_ne!(of(&LOCK.replace(other.0, other.1)), was, "{other:?}");
    }
}

#[test]
fn the_library_knows_the_hash_of_its_sources() {
    let library = Path::new(env!("CARGO_MANIFEST_DIR"));
    let roots = [library.join("../normed-engine/src"), library.join("src")];
    let hash = sources::hash(&[&roots[0], &roots[1]], &library.join("../../Cargo.lock")).unwrap();
    assert_eq!(hash, normed::build::SOURCE_HASH);
}
