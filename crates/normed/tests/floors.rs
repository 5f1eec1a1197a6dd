//! The arrows between the floors, read from the `crate::` paths in the sources; comments and tests
//! may name what they like.

use std::fs;
use std::path::{Path, PathBuf};

/// Each floor, and those that it may name. `models` and `tuning` do not know each other.
const FLOORS: [(&str, &str); 15] = [
    ("files", ""),
    ("pickle", ""),
    ("tensor", ""),
    ("plot", ""),
    ("ops", "tensor"),
    ("nn", "tensor ops"),
    ("weights", "tensor files pickle"),
    ("hub", "files"),
    ("data", "tensor ops files pickle"), // of ops, the label that does not count
    ("metrics", "files data"),           // of data, what kind of answer a question has
    ("models", "tensor ops nn files weights data"),
    ("tuning", "tensor ops nn"),
    ("recipe", "tensor files hub data metrics models tuning"),
    ("train", "tensor ops nn files weights data metrics models tuning recipe plot"),
    ("study", "tensor files weights data metrics tuning recipe train plot"),
];

/// What a floor may name of another, where that is not everything.
const ONLY: [(&str, &str, &str); 2] =
    [("data", "ops", "IGNORE_INDEX"), ("metrics", "data", "AnswerType")];

/// Models, methods and data sets: `train` knows their interfaces alone.
const CONCRETE: [&str; 15] = [
    "Miss",
    "Llava",
    "Clip",
    "Llama",
    "Vit",
    "Bert",
    "LayerNorm",
    "Method",
    "VqaRad",
    "Slake",
    "Jsonl",
    "Parquet",
    "PathVqa",
    "Phantom",
    "Vocab",
];

/// The sources of the engine and those of what stands on it.
fn crates() -> [PathBuf; 2] {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    ["normed-engine/src", "normed/src"].map(|sources| crates.join(sources))
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut files = Vec::new();
    for path in entries {
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("tests.rs") {
            files.push(path);
        }
    }
    files
}

/// A source without its comments and without the tests at its foot.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    code.lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n")
}

/// The words of `text` that are names.
fn names(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|name| !name.is_empty())
}

/// What follows each `crate::`, up to the end of the path or of the braces.
fn paths(code: &str) -> impl Iterator<Item = &str> {
    code.split("crate::").skip(1).map(|rest| {
        let mut depth = 0;
        let end = rest.find(|c: char| {
            depth += i32::from(c == '{') - i32::from(c == '}');
            depth < 0 || depth == 0 && !(c.is_alphanumeric() || "_:}".contains(c))
        });
        &rest[..end.unwrap_or(rest.len())]
    })
}

#[test]
fn each_floor_knows_only_those_it_stands_on() {
    let crates = crates();
    let mut seen = 0;
    for (floor, below) in FLOORS {
        let src = crates.iter().find(|src| src.join(floor).is_dir()).unwrap();
        for path in sources(&src.join(floor)) {
            let code = code(&path);
            for crate_path in paths(&code) {
                for (other, _) in FLOORS.iter().filter(|(other, _)| *other != floor) {
                    let named = names(crate_path).any(|name| name == *other);
                    assert!(!named || below.contains(other), "{path:?}: crate::{crate_path}");
                    seen += usize::from(named);
                }
                for (_, other, only) in ONLY.iter().filter(|(from, ..)| *from == floor) {
                    let mut named = names(crate_path);
                    if named.next() == Some(other) {
                        assert!(named.all(|name| name == *only), "{path:?}: crate::{crate_path}");
                    }
                }
            }
        }
    }
    assert!(seen > 50, "only {seen} arrows found: the scan is blind");
}

#[test]
fn the_library_never_prints() {
    for path in crates().iter().flat_map(|src| sources(src)) {
        let code = code(&path);
        for print in ["println!", "print!", "dbg!", "stdout()", "stderr()"] {
            assert!(!code.contains(print), "{path:?} has {print}");
        }
    }
}

#[test]
fn training_and_studies_name_no_model_no_method_and_no_data_set() {
    let [_, src] = crates();
    for path in sources(&src.join("train")).into_iter().chain(sources(&src.join("study"))) {
        let code = code(&path);
        let concrete = names(&code).find(|name| CONCRETE.contains(name));
        assert_eq!(concrete, None, "{path:?}");
    }
}
