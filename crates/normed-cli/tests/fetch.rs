//! `normed fetch`, and what was fetched under its name in the other commands.

#[allow(dead_code)] // what only the library's own tests use
#[path = "../../normed/tests/hub_server/mod.rs"]
mod hub_server;
#[allow(dead_code)] // what only the library's own tests use
#[path = "../../normed/tests/tiny/mod.rs"]
mod tiny;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use hub_server::{COMMIT, Fault, Server};

/// A hub with a model of a few parameters and a data set of eleven questions; a user's directory.
fn hub() -> (Server, tempfile::TempDir) {
    let (server, dir) = (Server::start(), tempfile::tempdir().unwrap());
    tiny::base(&dir.path().join("made"));
    server.put_all("models/org/base", &dir.path().join("made"));
    let goldens = Path::new(env!("CARGO_MANIFEST_DIR")).join("../normed/tests/golden");
    server.put_all("datasets/org/set", &goldens.join("parquet/vqa"));
    server.card(json!({ "license": "cc0-1.0" }));
    (server, dir)
}

fn command(server: &Server, dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_normed"));
    for name in ["HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_TOKEN_PATH", "TRANSFORMERS_OFFLINE"] {
        command.env_remove(name);
    }
    command.args(args).current_dir(dir);
    command.env("HF_ENDPOINT", &server.endpoint).env("HF_HOME", dir.join("home"));
    command.env("HF_TOKEN", "hf_secret").env("NO_PROXY", "*");
    command
}

fn normed(server: &Server, dir: &Path, args: &[&str]) -> Output {
    command(server, dir, args).output().unwrap()
}

/// What a call that must succeed prints.
fn stdout(server: &Server, dir: &Path, args: &[&str]) -> String {
    let output = normed(server, dir, args);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// What a call that must fail says, and its exit code.
fn failure(server: &Server, dir: &Path, args: &[&str]) -> (String, Option<i32>) {
    let output = normed(server, dir, args);
    (String::from_utf8(output.stderr).unwrap(), output.status.code())
}

fn snapshot(dir: &Path, repo: &str) -> PathBuf {
    dir.join("home/hub").join(repo).join("snapshots").join(COMMIT)
}

#[test]
fn a_fetch_shows_license_sizes_path_and_what_is_next() {
    let (server, dir) = hub();
    let here = dir.path();
    let text = stdout(&server, here, &["fetch", "org/base"]);
    let at = format!("org/base at {COMMIT}, license: cc0-1.0\n");
    assert!(text.starts_with(&at), "{text}");
    let path = snapshot(here, "models--org--base").display().to_string();
    for expected in
        ["model.safetensors", " KiB", "checksums verified", "\nlicense: cc0-1.0\n", &path]
    {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert!(text.ends_with("\nnext: normed inspect org/base\n"), "{text}");
    assert!(stdout(&server, here, &["inspect", "org/base"]).contains("Hugging Face layout"));

    assert_eq!(stdout(&server, here, &["fetch", "org/base", "--quiet"]), path + "\n");
    let text = stdout(&server, here, &["fetch", "org/set", "--dataset", "--json"]);
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events[0]["event"], "listed");
    let fetched = &events[events.len() - 1]["fetched"];
    assert_eq!((&fetched["kind"], &fetched["asked"]["files"]), (&json!("dataset"), &json!(3)));
    let text = stdout(&server, here, &["fetch", "org/set", "--dataset", "--output", "mine"]);
    assert!(text.contains("name = \"parquet\"\n  root = \"mine\""), "{text}");

    let mut offline = command(&server, here, &["fetch", "org/base"]);
    let output = offline.env("HF_HUB_OFFLINE", "1").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("nothing was verified"), "{text}");
}

#[test]
fn a_run_takes_model_and_data_by_their_names() {
    let (server, dir) = hub();
    let here = dir.path();
    let recipe = "model = \"org/base\"\nprecision = \"f32\"\n\n[data]\nname = \"parquet\"\nroot = \"org/set\"\n\n\
         [tuning]\nvision = { method = \"none\" }\ntext = { method = \"layer_norm\" }\n\
         decoder = { method = \"layer_norm\" }\n\n[train]\nbatch_size = 4\nmetric = \"last\"\n";
    fs::write(here.join("recipe.toml"), recipe).unwrap();
    let (text, code) = failure(&server, here, &["train", "recipe.toml"]);
    assert_eq!(code, Some(2));
    for expected in [
        "2 mistakes",
        "model: there is no such folder",
        "data.root: there is no such folder",
        "normed fetch org/base)",
        "normed fetch org/set --dataset)",
    ] {
        assert!(text.contains(expected), "{text}");
    }
    assert!(server.requests().is_empty(), "nothing is fetched unasked");

    stdout(&server, here, &["fetch", "org/base"]);
    stdout(&server, here, &["fetch", "org/set", "--dataset"]);
    let text = stdout(&server, here, &["train", "recipe.toml", "--output", "run"]);
    assert!(text.contains("encoder: 6 images in the cache"), "{text}");
    let read = |name: &str| fs::read_to_string(here.join("run").join(name)).unwrap();
    let events = read("events.jsonl");
    for expected in [
        "11 answers have no `answer_type`: 4 that are yes or no are taken for CLOSED",
        "2 of 3 test images are also in the training split",
    ] {
        assert!(events.contains(expected), "{events}");
    }
    assert!(read("recipe.toml").contains(&*snapshot(here, "models--org--base").to_string_lossy()));
    let rows: Vec<Value> =
        read("predictions.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let types: Vec<_> = rows.iter().map(|row| (&row["id"], &row["answer_type"])).collect();
    assert!(types.contains(&(&json!("test-0"), &json!("CLOSED"))), "{types:?}");
    assert!(types.contains(&(&json!("test-1"), &json!("OPEN"))), "{types:?}");
    let scores = ["evaluate", "--recipe", "recipe.toml", "--adapter", "run/adapter", "--json"];
    // Events come first, here the warnings.
    let printed = stdout(&server, here, &scores);
    let scores: Value = serde_json::from_str(printed.lines().last().unwrap()).unwrap();
    assert_eq!(scores["scores"]["n"], 4);
    stdout(&server, here, &["plan", "recipe.toml", "--json"]);
}

#[test]
fn mistakes_and_failures_have_their_exit_codes() {
    let (server, dir) = hub();
    let fails = |args: &[&str], expected: &str, code: i32| {
        let (text, found) = failure(&server, dir.path(), args);
        assert_eq!(found, Some(code), "{args:?}: {text}");
        assert!(text.contains(expected) && !text.contains("hf_secret"), "{args:?}: {text}");
    };
    fails(
        &["fetch", "https://huggingface.co/org/base"],
        "use the name without the address: org/base",
        2,
    );
    fails(&["fetch", "org/set"], "it is a data set; run: normed fetch org/set --dataset", 2);
    fails(&["fetch", "org/base", "--include", "*.gguf"], "no file matches \"*.gguf\"", 2);
    fails(&["inspect", "org/other"], "normed fetch org/other", 2);
    server.faults("/config.json", &[Fault::Corrupt]);
    fails(&["fetch", "org/base"], "has the wrong checksum", 1);
}

#[cfg(unix)]
#[test]
fn ctrl_c_leaves_what_the_next_fetch_continues() {
    let (server, dir) = hub();
    // The first answer is cut, and the hub wants time before the next: enough to press Ctrl-C.
    let content = server.content("models/org/base", "model.safetensors");
    server.faults(&content, &[Fault::Cut(1000), Fault::Status(503, "retry-after: 60\r\n")]);
    let mut process = command(&server, dir.path(), &["fetch", "org/base"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("trying again in 1 min 00 s")));
    let id = process.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let last = lines.last().unwrap();
    assert_eq!(last, "stopped; the same command continues from here");
    assert_eq!(process.wait().unwrap().code(), Some(130));
    server.requests();
    stdout(&server, dir.path(), &["fetch", "org/base"]);
    let range = Some("bytes=1000-".to_owned());
    assert!(server.requests().iter().any(|request| request.2 == range));
}
