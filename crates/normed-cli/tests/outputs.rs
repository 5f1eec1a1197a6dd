//! What commands write, and what they refuse to write over.

#[allow(dead_code)] // what only the library's own tests use
#[path = "../../normed/tests/tiny/mod.rs"]
mod tiny;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn normed(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_normed")).args(args).current_dir(dir).output().unwrap()
}

#[track_caller]
fn succeeds(dir: &Path, args: &[&str]) -> String {
    let output = normed(dir, args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn fails(dir: &Path, args: &[&str], cause: &str) {
    let output = normed(dir, args);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{args:?}: {text}");
    assert!(text.contains(cause), "{args:?}: {text}");
}

/// The commands that write a file, without the option that names it.
const WRITERS: [&[&str]; 4] = [
    &["predict", "--model", "base", "--data", "data.jsonl", "--split", "test", "--out"],
    &["evaluate", "--recipe", "recipe.toml", "--quiet", "--out"],
    &["split", "--data", "data.jsonl", "--by", "image", "--out"],
    &["score", "reports.jsonl", "--export", "radeval", "--out"],
];

/// The tiny run's folder, with a file of reports.
fn workspace() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    tiny::make(dir.path(), "method = \"layer_norm\"", "");
    let report = r#"{"id": "1", "prediction": "no effusion", "target": "no effusion"}"#;
    fs::write(dir.path().join("reports.jsonl"), report).unwrap();
    dir
}

#[test]
fn no_command_overwrites_what_it_reads() {
    let dir = workspace();
    let here = dir.path();
    let inputs =
        ["data.jsonl", "0.png", "./5.png", "base/config.json", "recipe.toml", "reports.jsonl"];
    let read_by = |writer: &[&str], input: &str| match input {
        "recipe.toml" => writer[0] == "evaluate",
        "reports.jsonl" => writer[0] == "score",
        "base/config.json" => ["predict", "evaluate"].contains(&writer[0]),
        _ => writer[0] != "score",
    };
    let mut refused = 0;
    for writer in WRITERS {
        for input in inputs.into_iter().filter(|input| read_by(writer, input)) {
            let before = fs::read(here.join(input)).unwrap();
            for force in [&[][..], &["--force"]] {
                let args = [writer, &[input][..], force].concat();
                fails(here, &args, "is an input of this command");
                refused += 1;
            }
            assert_eq!(fs::read(here.join(input)).unwrap(), before, "{writer:?} {input}");
        }
    }
    assert_eq!(refused, 2 * (4 + 5 + 3 + 1));
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("data.jsonl", here.join("link.jsonl")).unwrap();
        fs::hard_link(here.join("0.png"), here.join("hard.png")).unwrap();
        for name in ["link.jsonl", "hard.png"] {
            let args = [WRITERS[0], &[name, "--force"]].concat();
            fails(here, &args, "is an input of this command");
        }
    }
    // The file of the image-shuffled answers is an output, too.
    fs::copy(here.join("data.jsonl"), here.join("a_blind.jsonl")).unwrap();
    let blind = ["evaluate", "--model", "base", "--data", "a_blind.jsonl", "--blind", "--out"];
    fails(here, &[&blind[..], &["a.jsonl", "--force"]].concat(), "is an input of this command");
}

#[test]
fn results_are_overwritten_only_with_force() {
    let dir = workspace();
    let here = dir.path();
    fs::write(here.join("out"), "an earlier result\n").unwrap();
    for writer in WRITERS {
        let args = [writer, &["out"][..]].concat();
        fails(here, &args, "out: exists already");
        assert_eq!(fs::read_to_string(here.join("out")).unwrap(), "an earlier result\n");
        fails(here, &[writer, &["none/out"][..]].concat(), "no such file or directory");
        fails(here, &[writer, &["base"][..]].concat(), "is a directory");
    }
    for writer in WRITERS {
        succeeds(here, &[writer, &["out", "--force"][..]].concat());
        assert_ne!(fs::read_to_string(here.join("out")).unwrap(), "an earlier result\n");
        fs::write(here.join("out"), "an earlier result\n").unwrap();
    }
    // The model is not loaded before the outputs are checked.
    fs::remove_file(here.join("base/model.safetensors")).unwrap();
    fails(here, &[WRITERS[0], &["out"][..]].concat(), "out: exists already");
    assert_eq!(fs::read_dir(here).unwrap().filter(is_temporary).count(), 0);
}

fn is_temporary(entry: &std::io::Result<fs::DirEntry>) -> bool {
    entry.as_ref().unwrap().file_name().to_string_lossy().starts_with('.')
}

/// Models and adapters are directories; the same rule holds for them.
#[test]
fn directories_are_replaced_only_with_force() {
    let dir = workspace();
    let here = dir.path();
    let train = ["train", "recipe.toml", "--set", "train.epochs=1", "--no-test", "--quiet"];
    succeeds(here, &[&train[..], &["--output", "run"]].concat());
    let commands: [&[&str]; 3] = [
        &["merge", "base", "run/adapter", "DIR"],
        &["quantize", "base", "--to", "int8", "--output", "DIR"],
        &["export", "run", "--format", "peft", "--out", "DIR"],
    ];
    fs::create_dir(here.join("notes")).unwrap();
    fs::write(here.join("notes/thesis.txt"), "text").unwrap();
    for (i, command) in commands.into_iter().enumerate() {
        let name = format!("out_{i}");
        let with = |dir: &str, force: &[&str]| -> Vec<String> {
            let words = command.iter().chain(force).map(|word| word.replace("DIR", dir));
            words.collect()
        };
        let call = |words: Vec<String>, cause: Option<&str>| {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            match cause {
                Some(cause) => fails(here, &words, cause),
                None => drop(succeeds(here, &words)),
            }
        };
        fs::create_dir(here.join(&name)).unwrap(); // an empty directory is no result
        call(with(&name, &[]), None);
        fs::write(here.join(&name).join("old"), "").unwrap();
        call(with(&name, &[]), Some("exists already"));
        call(with(&name, &["--force"]), None);
        assert!(!here.join(&name).join("old").exists(), "{command:?}");
        call(with("notes", &["--force"]), Some("holds neither a model nor an adapter"));
        let input = if command[0] == "export" { "run/adapter" } else { "base" };
        call(with(input, &["--force"]), Some("is an input of this command"));
        call(with("recipe.toml", &["--force"]), Some("exists already"));
    }
    assert!(here.join("notes/thesis.txt").exists() && here.join("base/config.json").exists());
    let svg = ["diff", "base", "run", "--svg", "changes.svg"];
    succeeds(here, &svg);
    fails(here, &svg, "exists already");
    succeeds(here, &[&svg[..], &["--force"]].concat());
    succeeds(here, &["man", "pages"]);
    fails(here, &["man", "pages"], "exists already");
    succeeds(here, &["man", "pages", "--force"]);
}

#[cfg(unix)]
#[test]
fn pipes_devices_and_the_standard_output_are_written_into() {
    use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
    let dir = workspace();
    let here = dir.path();
    let pipe = here.join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for writer in WRITERS {
        let reader = {
            let pipe = pipe.clone();
            std::thread::spawn(move || fs::read_to_string(pipe).unwrap())
        };
        succeeds(here, &[writer, &["pipe"][..]].concat());
        assert!(reader.join().unwrap().starts_with("{\""), "{writer:?}");
        assert!(fs::symlink_metadata(&pipe).unwrap().file_type().is_fifo());

        // What is said about the result does not mix with it.
        let text = succeeds(here, &[writer, &["/dev/stdout"][..]].concat());
        assert!(
            text.lines().count() > 0 && text.lines().all(|line| line.starts_with("{\"")),
            "{text}"
        );

        let private = here.join("private");
        fs::write(&private, "before").unwrap();
        fs::set_permissions(&private, fs::Permissions::from_mode(0o600)).unwrap();
        succeeds(here, &[writer, &["private", "--force"][..]].concat());
        assert_eq!(fs::metadata(&private).unwrap().permissions().mode() & 0o777, 0o600);
    }
    // Another node of the device behind /dev/null: the test must not be able to replace the real one.
    let made = Command::new("mknod").arg(here.join("null")).args(["c", "1", "3"]).status().unwrap();
    if made.success() && fs::OpenOptions::new().write(true).open(here.join("null")).is_ok() {
        succeeds(here, &[WRITERS[0], &["null"]].concat());
        assert!(fs::symlink_metadata(here.join("null")).unwrap().file_type().is_char_device());
    }
    let blind = ["evaluate", "--recipe", "recipe.toml", "--blind", "--out", "/dev/stdout"];
    fails(here, &blind, "writes a second file");
}
