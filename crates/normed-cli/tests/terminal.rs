//! What is printed where, in which form and in which colors.

#[allow(dead_code)] // what only the library's own tests use
#[path = "../../normed/tests/tiny/mod.rs"]
mod tiny;

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// The exit code, standard output and standard error of a call with these variables.
fn call(dir: &Path, args: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_normed"));
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"] {
        command.env_remove(name);
    }
    let output =
        command.args(args).current_dir(dir).envs(variables.iter().copied()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn errors_have_the_colors_of_clap_where_they_are_wanted() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["train", "nowhere.toml"];
    let [plain, forced, refused] =
        [&[][..], &[("CLICOLOR_FORCE", "1")], &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]]
            .map(|variables| call(dir.path(), &args, variables).2);
    assert!(plain.starts_with("error: nowhere.toml: no such file"), "{plain}");
    assert_eq!(plain, refused);
    // Bold red, as clap writes its own errors.
    let clap = call(dir.path(), &["frobnicate"], &[("CLICOLOR_FORCE", "1")]).2;
    let style = clap.split("error:").next().unwrap();
    assert!(style.starts_with('\u{1b}'), "{clap:?}");
    assert!(forced.starts_with(&format!("{style}error:")), "{forced:?} {clap:?}");
}

#[test]
fn the_global_options_stand_anywhere() {
    let dir = tempfile::tempdir().unwrap();
    tiny::make(dir.path(), "method = \"layer_norm\"", "");
    for args in [
        &["--threads", "1", "-v", "inspect", "base"][..],
        &["inspect", "base", "--verbose", "--threads", "1"],
    ] {
        let (code, out, details) = call(dir.path(), args, &[]);
        assert_eq!(code, Some(0), "{details}");
        assert!(out.contains("total") && !out.contains("threads"), "{out}");
        assert!(details.contains("threads: 1\n") && details.contains("model: base\n"), "{details}");
    }
    let (_, out, details) = call(dir.path(), &["inspect", "base"], &[]);
    assert!(out.contains("total") && details.is_empty(), "{details}");

    let train = ["-q", "train", "recipe.toml", "--set", "train.epochs=1", "--no-test"];
    let (code, out, err) = call(dir.path(), &train, &[]);
    assert_eq!((code, out.as_str(), err.as_str()), (Some(0), "", ""));
    let out = ["--out", "s.jsonl"];
    let split = [&["split", "--data", "data.jsonl", "--by", "image", "-q"], &out[..]].concat();
    assert_eq!(call(dir.path(), &split, &[]).1, "");
    for args in [
        &["-q", "-v", "inspect", "base"][..],
        &["--threads", "0", "inspect", "base"],
        &["-q", "train", "recipe.toml", "--json"],
    ] {
        assert_eq!(call(dir.path(), args, &[]).0, Some(2), "{args:?}");
    }
}

#[test]
fn warnings_are_events_under_json() {
    let dir = tempfile::tempdir().unwrap();
    tiny::make(dir.path(), "method = \"layer_norm\"", "");
    let rows = "{\"image\": \"5.png\", \"question\": \"q\", \"split\": \"test\"}\n\
                {\"image\": \"5.png\", \"question\": \"q\"}\n";
    fs::write(dir.path().join("rows.jsonl"), rows).unwrap();
    let predict = ["predict", "--model", "base", "--data", "rows.jsonl", "--out"];
    let (code, out, err) = call(dir.path(), &[&predict[..], &["p.jsonl"]].concat(), &[]);
    assert_eq!((code, out.lines().count()), (Some(0), 1), "{err}");
    assert!(err.starts_with("warning: ") && err.contains("1 of 2 rows have no `split`"), "{err}");

    let json = [&predict[..], &["p.jsonl", "--json", "--force"]].concat();
    let (_, out, err) = call(dir.path(), &json, &[]);
    let events: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((events[0]["event"].as_str(), err.as_str()), (Some("warning"), ""), "{out}");
    assert!(events[0]["message"].as_str().unwrap().contains("1 of 2 rows"), "{out}");
    assert_eq!(events[events.len() - 1]["predictions"], 2);

    // Where the rows are on standard output, events are on standard error.
    let (_, out, err) = call(dir.path(), &[&predict[..], &["-", "--json"]].concat(), &[]);
    assert_eq!(out, fs::read_to_string(dir.path().join("p.jsonl")).unwrap());
    assert!(err.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{err}");
    assert_eq!(err.lines().count(), events.len());
}
