//! Mistakes of a person's first hour: each is answered by its place, its cause and what to do.

#[allow(dead_code)] // what only the library's own tests use
#[path = "../../normed/tests/tiny/mod.rs"]
mod tiny;

use std::fs;
use std::path::Path;
use std::process::Command;

/// A mistake: what is in the folder before, the command, and what its message has to say.
struct Mistake {
    name: &'static str,
    prepare: fn(&Path),
    args: &'static [&'static str],
    says: &'static [&'static str],
}

fn nothing(_: &Path) {}

/// Replaces `from` in the file `name` by `to`.
fn edit(here: &Path, name: &str, from: &str, to: &str) {
    let path = here.join(name);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{from}");
    fs::write(path, text.replace(from, to)).unwrap();
}

fn write(here: &Path, name: &str, text: &str) {
    fs::write(here.join(name), text).unwrap();
}

/// Keeps the rows for which `keep` says so.
fn keep_rows(here: &Path, keep: impl Fn(&str) -> bool) {
    let text = fs::read_to_string(here.join("data.jsonl")).unwrap();
    let rows: Vec<_> = text.lines().filter(|line| keep(line)).collect();
    write(here, "data.jsonl", &(rows.join("\n") + "\n"));
}

const TRAIN: &[&str] = &["train", "recipe.toml", "--output", "run", "--quiet"];
const PLAN: &[&str] = &["plan", "recipe.toml"];
const EVALUATE: &[&str] =
    &["evaluate", "--recipe", "recipe.toml", "--adapter", "run/adapter", "--quiet"];

const MISTAKES: &[Mistake] = &[
    Mistake {
        name: "the recipe is elsewhere",
        prepare: nothing,
        args: &["train", "recepie.toml"],
        says: &["recepie.toml: no such file"],
    },
    Mistake {
        name: "a folder in place of a recipe",
        prepare: nothing,
        args: &["train", "base"],
        says: &["base: is not a regular file: it is a directory"],
    },
    Mistake {
        name: "the data in place of the recipe",
        prepare: nothing,
        args: &["train", "data.jsonl"],
        says: &["data.jsonl", "normed init data.jsonl --model MODEL"],
    },
    Mistake {
        name: "the data file is elsewhere",
        prepare: |here| fs::rename(here.join("data.jsonl"), here.join("other.jsonl")).unwrap(),
        args: TRAIN,
        says: &["/data.jsonl: no such file"],
    },
    Mistake {
        name: "a spreadsheet as text in place of data",
        prepare: |here| write(here, "data.jsonl", "File,Question,Answer\n0.png,Is it?,yes\n"),
        args: PLAN,
        says: &["data.jsonl", "is not JSON: it is text, such as a CSV table", "normed import"],
    },
    Mistake {
        name: "a workbook in place of data",
        prepare: |here| write(here, "data.jsonl", "PK\u{3}\u{4}..xl/workbook.xml"),
        args: PLAN,
        says: &["data.jsonl", "normed import"],
    },
    Mistake {
        name: "a folder in place of data",
        prepare: |here| edit(here, "recipe.toml", "data.jsonl", "base"),
        args: PLAN,
        says: &["base: is not a regular file: it is a directory"],
    },
    Mistake {
        name: "the question under another name",
        prepare: |here| edit(here, "data.jsonl", "\"question\"", "\"Question\""),
        args: PLAN,
        says: &[
            "72 rows are broken",
            "data.jsonl:1: `question` is missing; the row has `Question` (and 71 more rows)",
        ],
    },
    Mistake {
        name: "several fields are missing",
        prepare: |here| write(here, "data.jsonl", "{\"id\": 1, \"text\": \"x\"}\n"),
        args: PLAN,
        says: &["data.jsonl:1: `image`, `question` and `answer` are missing"],
    },
    Mistake {
        name: "paths with backslashes",
        prepare: |here| {
            fs::create_dir(here.join("images")).unwrap();
            fs::copy(here.join("0.png"), here.join("images/0.png")).unwrap();
            edit(here, "data.jsonl", "\"0.png\"", "\"images\\\\0.png\"");
        },
        args: PLAN,
        says: &[
            "data.jsonl:1: image `images\\0.png`",
            "Write `/` in place of `\\` in paths: `images/0.png`",
        ],
    },
    Mistake {
        name: "absolute paths of another machine",
        prepare: |here| edit(here, "data.jsonl", "\"0.png\"", "\"/home/somebody/0.png\""),
        args: PLAN,
        says: &[
            "there is no file /home/somebody/0.png",
            "relative to the folder of the images",
            "image_root",
        ],
    },
    Mistake {
        name: "an image is missing",
        prepare: |here| edit(here, "data.jsonl", "\"0.png\"", "\"0.jpg\""),
        args: PLAN,
        says: &["data.jsonl:1: image `0.jpg`: there is no file /", "did you mean `0.png`?"],
    },
    Mistake {
        name: "all images are elsewhere",
        prepare: |here| {
            for i in 0..36 {
                fs::remove_file(here.join(format!("{i}.png"))).unwrap();
            }
        },
        args: PLAN,
        says: &["72 rows are broken", "Paths start from /", "image_root"],
    },
    Mistake {
        name: "an image of a phone",
        prepare: |here| write(here, "0.png", "\0\0\0\u{18}ftypheic\0\0\0\0mif1heic"),
        args: PLAN,
        says: &["0.png", "it is HEIC. Convert it to PNG"],
    },
    Mistake {
        name: "an answer is empty",
        prepare: |here| edit(here, "data.jsonl", "\"answer\":\"no\"", "\"answer\":\"\""),
        args: PLAN,
        says: &["`answer` is empty", "on_bad_example"],
    },
    Mistake {
        name: "one row alone",
        prepare: |here| keep_rows(here, |line| line.contains("\"0-CLOSED\"")),
        args: TRAIN,
        says: &["train.holdout: the data set has no validation split", "train.metric = \"last\""],
    },
    Mistake {
        name: "no row has a split",
        prepare: |here| {
            for split in ["train", "validate", "test"] {
                edit(here, "data.jsonl", &format!(",\"split\":\"{split}\""), "");
            }
        },
        args: TRAIN,
        says: &["the training split is empty", "normed split --data FILE --by group"],
    },
    Mistake {
        name: "a key is misspelled",
        prepare: |here| edit(here, "recipe.toml", "batch_size", "batchsize"),
        args: TRAIN,
        says: &["recipe.toml: line 13: train.batchsize: no such key", "did you mean `batch_size`?"],
    },
    Mistake {
        name: "a key of another program",
        prepare: |here| edit(here, "recipe.toml", "lr = 0.02", "learning_rate = 0.02"),
        args: TRAIN,
        says: &["train.learning_rate: no such key", "in normed this is `lr` in [train]"],
    },
    Mistake {
        name: "a method is misspelled",
        prepare: |here| edit(here, "recipe.toml", "layer_norm", "layernorm"),
        args: TRAIN,
        says: &["tuning.method: there is no \"layernorm\"", "did you mean `layer_norm`?"],
    },
    Mistake {
        name: "a number as a text",
        prepare: |here| edit(here, "recipe.toml", "lr = 0.02", "lr = \"1e-3\""),
        args: TRAIN,
        says: &["train.lr: must be a number above 0, is \"1e-3\"", "without quotes"],
    },
    Mistake {
        name: "no epoch",
        prepare: nothing,
        args: &["train", "recipe.toml", "--set", "train.epochs=0"],
        says: &["--set train.epochs=0: train.epochs: must be a whole number from 1"],
    },
    Mistake {
        name: "a model without a config",
        prepare: |here| fs::remove_file(here.join("base/config.json")).unwrap(),
        args: TRAIN,
        says: &["config.json"],
    },
    Mistake {
        name: "a model that was not fetched",
        prepare: |here| edit(here, "recipe.toml", "\"base\"", "\"Salesforce/blip-vqa-base\""),
        args: TRAIN,
        says: &["Salesforce/blip-vqa-base", "normed fetch Salesforce/blip-vqa-base"],
    },
    Mistake {
        name: "an adapter folder that is not there",
        prepare: nothing,
        args: EVALUATE,
        says: &["run/adapter"],
    },
    Mistake {
        name: "the run directory holds a run",
        prepare: |here| {
            fs::create_dir(here.join("run")).unwrap();
            write(here, "run/recipe.toml", "");
        },
        args: TRAIN,
        says: &["run: it already contains a run", "--resume", "--output", "remove the folder"],
    },
    Mistake {
        name: "the run directory holds other files",
        prepare: |here| {
            fs::create_dir(here.join("run")).unwrap();
            write(here, "run/thesis.txt", "");
        },
        args: TRAIN,
        says: &["run: it is not empty, and contains no run", "--output"],
    },
    Mistake {
        name: "a GPU in the recipe",
        prepare: |here| edit(here, "recipe.toml", "seed = 5", "device = \"cuda\""),
        args: TRAIN,
        says: &["device: no such key", "normed computes on the CPU; GPUs are not supported yet"],
    },
    Mistake {
        name: "a GPU on the command line",
        prepare: nothing,
        args: &["train", "recipe.toml", "--device", "cuda"],
        says: &["--device", "normed computes on the CPU; GPUs are not supported yet"],
    },
    Mistake {
        name: "too little memory",
        prepare: nothing,
        args: &["train", "recipe.toml", "--memory", "1MiB"],
        says: &[
            "memory: 1MiB is not enough; the smallest possible peak is",
            "a higher memory limit",
        ],
    },
    Mistake {
        name: "single quotes",
        prepare: |here| edit(here, "data.jsonl", "{\"id\":\"0-CLOSED\"", "{'id':\"0-CLOSED\""),
        args: PLAN,
        says: &["data.jsonl:1: ", "single quotes"],
    },
    Mistake {
        name: "a comma at the end of a row",
        prepare: |here| edit(here, "data.jsonl", "\"train\"}\n", "\"train\"},\n"),
        args: PLAN,
        says: &["data.jsonl:1: the row ends with a comma. Remove it"],
    },
    Mistake {
        name: "an id is there twice",
        prepare: |here| edit(here, "data.jsonl", "\"1-CLOSED\"", "\"0-CLOSED\""),
        args: PLAN,
        says: &["data.jsonl:3: the id `0-CLOSED` is already that of", "data.jsonl:1"],
    },
    Mistake {
        name: "reports as questions",
        prepare: |here| {
            edit(here, "data.jsonl", "\"answer\"", "\"report\"");
            edit(here, "data.jsonl", "\"question\"", "\"history\"");
        },
        args: PLAN,
        says: &["`question` and `answer` are missing", "is read with the task `report`"],
    },
    Mistake {
        name: "questions as reports",
        prepare: |here| {
            let name = "name = \"jsonl\"";
            edit(here, "recipe.toml", name, "name = \"jsonl\"\ntask = \"report\"");
        },
        args: PLAN,
        says: &["`report` is missing", "is read with the task `vqa`"],
    },
    Mistake {
        name: "another encoding",
        prepare: |here| {
            let text = fs::read_to_string(here.join("data.jsonl")).unwrap();
            let text = text.replacen("Is it bright?", "Größer?", 1);
            let latin: Vec<u8> = text.chars().map(|c| c as u8).collect();
            fs::write(here.join("data.jsonl"), latin).unwrap();
        },
        args: PLAN,
        says: &["data.jsonl:1: is not UTF-8 text", "save the file as UTF-8"],
    },
    Mistake {
        name: "the output is in a folder that is not there",
        prepare: nothing,
        args: &["predict", "--model", "base", "--data", "data.jsonl", "--out", "results/a.jsonl"],
        says: &["results", "no such file or directory"],
    },
    Mistake {
        name: "a split that no row is in",
        prepare: |here| keep_rows(here, |line| !line.contains("\"test\"")),
        args: &[
            "predict",
            "--model",
            "base",
            "--data",
            "data.jsonl",
            "--split",
            "test",
            "--out",
            "a.jsonl",
        ],
        says: &["data.jsonl: the test split has no questions", "leave out --split"],
    },
    Mistake {
        name: "the data twice, as if it were an output",
        prepare: nothing,
        args: &[
            "predict",
            "--model",
            "base",
            "--data",
            "data.jsonl",
            "--out",
            "data.jsonl",
            "--force",
        ],
        says: &["data.jsonl", "is an input of this command"],
    },
    Mistake {
        name: "an empty file",
        prepare: |here| write(here, "data.jsonl", ""),
        args: PLAN,
        says: &["data.jsonl: holds no row"],
    },
    Mistake {
        name: "an answer file in place of data",
        prepare: |here| {
            write(here, "data.jsonl", "{\"id\":\"1\",\"prediction\":\"yes\",\"target\":\"yes\"}\n");
        },
        args: PLAN,
        says: &["data.jsonl:1: `image`, `question` and `answer` are missing"],
    },
];

#[test]
fn mistakes_are_answered_by_place_cause_and_remedy() {
    assert!(MISTAKES.len() >= 40, "{}", MISTAKES.len());
    let mut wrong = Vec::new();
    for Mistake { name, prepare, args, says } in MISTAKES {
        let dir = tempfile::tempdir().unwrap();
        let here = dir.path();
        tiny::make(here, "method = \"layer_norm\"", "");
        prepare(here);
        let existed = here.join("run").exists();
        let mut command = Command::new(env!("CARGO_BIN_EXE_normed"));
        command.args(*args).current_dir(here);
        command.env("HF_HOME", here.join("hub")).env("HF_HUB_OFFLINE", "1");
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        let missing: Vec<_> = says.iter().filter(|said| !text.contains(**said)).collect();
        if output.status.code() != Some(2) || !missing.is_empty() {
            wrong.push(format!("{name}: {:?}\n{text}\nlacks {missing:?}", output.status));
        }
        // Nothing is in the way of the next try.
        assert_eq!(here.join("run").exists(), existed, "{name}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// What looks like a mistake and is none: spaces in paths, a byte-order mark, a batch larger than the data.
#[test]
fn what_is_no_mistake_runs() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path().join("my study (2024)");
    fs::create_dir(&here).unwrap();
    tiny::make(&here, "method = \"layer_norm\"", "");
    let text = fs::read_to_string(here.join("data.jsonl")).unwrap();
    write(&here, "data.jsonl", &format!("\u{feff}{text}"));
    let train = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_normed"));
        command.args(TRAIN).args(args).current_dir(&here).output().unwrap()
    };
    let output = train(&["--set", "train.batch_size=500", "--set", "train.grad_accum_steps=1"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // The same run again is refused, and another one of the same name starts after the folder is removed.
    assert_eq!(train(&[]).status.code(), Some(2));
    fs::remove_dir_all(here.join("run")).unwrap();
    assert!(train(&["--no-test"]).status.success());
}

/// A run that fails before its first step can be tried again as it is, and nothing to resume is said.
#[test]
fn the_next_try_starts_as_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    tiny::make(here, "method = \"layer_norm\"", "");
    fs::rename(here.join("0.png"), here.join("away.png")).unwrap();
    let train = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_normed"));
        command.args(["train", "recipe.toml", "--output", "run"]).args(args).current_dir(here);
        let output = command.output().unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };
    assert!(!train(&[]).0);
    assert!(!here.join("run").exists());
    fs::create_dir(here.join("run")).unwrap();
    assert!(!train(&[]).0);
    assert!(!here.join("run").exists());
    fs::rename(here.join("away.png"), here.join("0.png")).unwrap();
    let (succeeded, text) = train(&["--resume"]);
    assert!(succeeded, "{text}");
    assert!(text.contains("there is no run to resume in run, so that one starts"), "{text}");
    let (succeeded, text) = train(&["--resume"]);
    assert!(succeeded && !text.contains("no run to resume"), "{text}");
}
