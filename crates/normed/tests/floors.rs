//! The structure of the code: which floor may name which, no circles between files, and what only
//! certain places may do. Sources are parsed, so that comments and strings may say what they like.

mod source_tree;

use std::path::{Path, PathBuf};

use source_tree::{SourceFile, SourceTree};

/// Each floor, and those that it may name. `models` and `tuning` do not know each other.
const FLOORS: [(&str, &str); 16] = [
    ("files", ""),
    ("pickle", ""),
    ("tensor", ""),
    ("plot", ""),
    ("ops", "tensor"),
    ("nn", "tensor ops"),
    ("weights", "files tensor ops pickle"),
    ("hub", "files"),
    ("data", "files tensor ops pickle"), // of ops, the label that does not count
    ("metrics", "files data"),
    ("models", "files tensor ops nn weights data"),
    ("tuning", "tensor ops nn"),
    ("recipe", "files tensor hub data metrics models tuning"),
    ("train", "files tensor ops nn weights hub data metrics models tuning recipe plot"),
    ("predict", "hub tensor weights data metrics models recipe train"),
    ("study", "files tensor weights data metrics tuning recipe train plot"),
];

/// What a floor may name of another, where that is not everything.
const ONLY: [(&str, &str, &[&str]); 2] = [
    ("data", "ops", &["IGNORE_INDEX"]),
    ("metrics", "data", &["Answer", "AnswerType", "Split", "read_objects", "text_of", "yes_or_no"]),
];

/// Modules at the root of the library that every floor may name.
const GROUND: [&str; 5] = ["error", "build", "range", "digits", "near_name"];

/// Models, methods and data sets: `train` and `study` know their interfaces alone.
const CONCRETE: [&str; 14] = [
    "Miss",
    "Llava",
    "Clip",
    "Llama",
    "Vit",
    "Bert",
    "LayerNorm",
    "VqaRad",
    "Slake",
    "Jsonl",
    "Parquet",
    "PathVqa",
    "Phantom",
    "Vocab",
];

/// What the engine must not know: formats, libraries and models.
const FOREIGN_TO_THE_ENGINE: [&str; 9] =
    ["peft", "lora", "llava", "blip", "clip", "bert", "recipe", "adapter_config", "huggingface"];

fn sources(name: &str) -> PathBuf {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    crates.join(name).join("src")
}

/// The floor that a path names, seen from a file of the library or the engine.
fn floor_of(path: &[String]) -> Option<&str> {
    let first =
        if path[0] == "crate" || path[0] == "normed_engine" { path.get(1)? } else { return None };
    FLOORS.iter().map(|(floor, _)| *floor).find(|floor| floor == first)
}

fn floor(file: &SourceFile) -> Option<&str> {
    file.module.get(1).map(String::as_str)
}

#[test]
fn each_floor_names_only_those_it_stands_on() {
    let mut arrows = 0;
    for tree in ["normed-engine", "normed"].map(|name| SourceTree::parse(&sources(name))) {
        for file in tree.files() {
            let Some(own) = floor(file).filter(|own| !GROUND.contains(own)) else { continue };
            let rule = FLOORS.iter().find(|(floor, _)| *floor == own);
            let (_, below) = rule.unwrap_or_else(|| panic!("{own} is on no list"));
            for path in &file.paths {
                let Some(other) = floor_of(path).filter(|other| *other != own) else { continue };
                let shown = || format!("{}: {}", file.path.display(), path.join("::"));
                assert!(below.split(' ').any(|floor| floor == other), "{}", shown());
                if let Some((.., only)) =
                    ONLY.iter().find(|(from, to, _)| (*from, *to) == (own, other))
                {
                    let name = path.get(2).map_or("", String::as_str);
                    assert!(only.contains(&name), "{}", shown());
                }
                arrows += 1;
            }
        }
    }
    assert!(arrows > 300, "only {arrows} arrows found: the scan is blind");
}

#[test]
fn no_files_name_each_other_in_a_circle() {
    for name in ["normed-engine", "normed", "normed-cli"] {
        let tree = SourceTree::parse(&sources(name));
        let arrows: usize = tree.files().map(|file| tree.targets(file).len()).sum();
        assert!(arrows > 50, "{name}: only {arrows} arrows found: the scan is blind");
        let circles = tree.circles();
        assert!(circles.is_empty(), "{name}: {circles:#?}");
    }
}

#[test]
fn the_libraries_never_print() {
    for tree in ["normed-engine", "normed"].map(|name| SourceTree::parse(&sources(name))) {
        for file in tree.files() {
            for print in ["println", "print", "eprintln", "eprint", "dbg"] {
                assert!(!file.macros.contains(print), "{}: {print}!", file.path.display());
            }
            for stream in ["stdout", "stderr"] {
                assert!(!file.identifiers.contains(stream), "{}: {stream}", file.path.display());
            }
        }
    }
}

#[test]
fn training_and_studies_name_no_model_no_method_and_no_data_set() {
    for file in SourceTree::parse(&sources("normed")).files() {
        if matches!(floor(file), Some("train" | "study")) {
            let named = CONCRETE.iter().find(|name| file.identifiers.contains(**name));
            assert_eq!(named, None, "{}", file.path.display());
        }
    }
}

#[test]
fn the_engine_knows_no_model_format_or_recipe() {
    for file in SourceTree::parse(&sources("normed-engine")).files() {
        for name in &file.identifiers {
            let words: Vec<_> = name.split('_').map(str::to_lowercase).collect();
            let foreign =
                FOREIGN_TO_THE_ENGINE.iter().find(|word| words.iter().any(|w| w == *word));
            assert_eq!(foreign, None, "{}: {name}", file.path.display());
        }
    }
}

/// Whole files are read by `files`, which knows a limit. A stream that ends in memory says its limit where it is
/// read.
#[test]
fn files_are_read_within_limits() {
    for file in SourceTree::parse(&sources("normed")).files() {
        // What the kernel says of this process is no file of a stranger.
        if floor(file) == Some("files") || file.path.ends_with("train/peak_memory.rs") {
            continue;
        }
        let shown = file.path.display();
        let bare = file.paths.iter().find(|path| {
            matches!(&path[..], [.., fs, read] if fs == "fs" && ["read", "read_to_string"].contains(&&**read))
        });
        assert_eq!(bare, None, "{shown}");
        let has = |name: &str| file.identifiers.contains(name);
        let unlimited = ["read_to_end", "read_to_string"].into_iter().find(|name| has(name));
        assert!(unlimited.is_none() || has("take") || has("limit"), "{shown}: {unlimited:?}");
    }
}
