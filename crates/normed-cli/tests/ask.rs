//! Asking a model: one question, rows of a file without answers, rows of standard input, and images as a model sees
//! them.

#[allow(dead_code)] // what only the library's own tests use
#[path = "../../normed/tests/tiny/mod.rs"]
mod tiny;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

fn normed(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_normed")).args(args).current_dir(dir).output().unwrap()
}

/// What a call that must succeed prints.
fn stdout(dir: &Path, args: &[&str]) -> String {
    let output = normed(dir, args);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// What a call says that must fail because of its input.
fn refusal(dir: &Path, args: &[&str]) -> String {
    let output = normed(dir, args);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{args:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn parse(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))
}

/// A folder with images, questions, a base model and a finished run.
fn workspace() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    tiny::make(dir.path(), "method = \"layer_norm\"", "");
    let train = ["train", "recipe.toml", "--set", "train.epochs=1", "--no-test", "--quiet"];
    stdout(dir.path(), &[&train[..], &["--output", "run"]].concat());
    dir
}

#[test]
fn a_question_is_answered_with_its_probability() {
    let dir = workspace();
    let ask = ["ask", "--adapter", "run", "--image", "5.png", "--question", "Is it bright?"];
    let text = stdout(dir.path(), &ask);
    let (answer, probability) = text.trim_end().rsplit_once('\n').unwrap();
    let probability: f64 = probability.strip_prefix("probability ").unwrap().parse().unwrap();
    assert!((0.0..=1.0).contains(&probability), "{text}");
    assert_eq!(stdout(dir.path(), &[&ask[..], &["-q"]].concat()), format!("{answer}\n"));

    let row = parse(&stdout(dir.path(), &[&ask[..], &["--json"]].concat()));
    assert_eq!((&row["prediction"], &row["image"]), (&json!(answer), &json!("5.png")));
    assert!((row["probability"].as_f64().unwrap() - probability).abs() < 1e-3, "{row}");
    // The same answer as among many questions, by the base and the adapter that the run has.
    let base = ["predict", "--model", "base", "--adapter", "run/adapter", "--data", "data.jsonl"];
    stdout(dir.path(), &[&base[..], &["--split", "test", "--out", "p.jsonl"]].concat());
    let file = fs::read_to_string(dir.path().join("p.jsonl")).unwrap();
    let same = parse(file.lines().next().unwrap());
    assert_eq!((&same["id"], &same["image"]), (&json!("5-CLOSED"), &json!("5.png")));
    assert_eq!(same["prediction"], row["prediction"]);
    let [a, b] = [&same, &row].map(|row| row["probability"].as_f64().unwrap());
    assert!((a - b).abs() < 1e-5, "{a} {b}");

    let two = [&ask[..], &["--image", "11.png", "--json"]].concat();
    assert_eq!(parse(&stdout(dir.path(), &two))["image"], "5.png 11.png");
    let report = ["ask", "--model", "run", "--image", "5.png", "--task", "report", "--json"];
    let report = [&report[..], &["--max-new-tokens", "8"]].concat();
    let report = parse(&stdout(dir.path(), &report));
    assert_eq!(report["question"], "describe the findings of this study.");
    for (args, cause) in [
        (&["--image", "5.png"][..], "--question: is missing"),
        (&["--image", "5.png", "--task", "report", "--question", "q"], "is given"),
        (&["--image", "none.png", "--question", "q"], "none.png: no such file"),
        (&["--image", "recipe.toml", "--question", "q"], "recipe.toml"),
        (&["--image", "5.png", "--question", "q", "--prompt", "p"], "cannot be used with"),
    ] {
        let text = refusal(dir.path(), &[&["ask", "--adapter", "run"], args].concat());
        assert!(text.contains(cause), "{cause}: {text}");
    }
}

#[test]
fn rows_without_answers_are_predicted_and_not_scored() {
    let dir = workspace();
    let rows = "{\"image\": \"5.png\", \"question\": \"Is it bright?\"}\n\
                {\"id\": \"b\", \"image\": \"11.png\", \"question\": \"Is it bright?\", \"answer\": \"no\"}\n";
    fs::write(dir.path().join("rows.jsonl"), rows).unwrap();
    let predict = ["predict", "--adapter", "run", "--data", "rows.jsonl", "--out"];
    let text = stdout(dir.path(), &[&predict[..], &["p.jsonl"]].concat());
    assert_eq!(text, "2 answers are in p.jsonl\n");
    let file = fs::read_to_string(dir.path().join("p.jsonl")).unwrap();
    let [unknown, known] = [0, 1].map(|i| parse(file.lines().nth(i).unwrap()));
    assert_eq!((&unknown["id"], &known["id"]), (&json!("1"), &json!("b")));
    for key in ["target", "answer_type", "nll", "num_target_tokens"] {
        assert!(unknown.get(key).is_none() && known.get(key).is_some(), "{key}: {file}");
    }
    for row in [&unknown, &known] {
        assert!(row["image"].is_string() && row["probability"].is_f64(), "{row}");
    }
    // - is standard output, and nothing else is there.
    assert_eq!(stdout(dir.path(), &[&predict[..], &["-"]].concat()), file);

    let text = refusal(dir.path(), &["evaluate", "--adapter", "run", "--data", "rows.jsonl"]);
    assert!(text.contains("rows.jsonl:1: `answer` is missing"), "{text}");
    let text = refusal(dir.path(), &["score", "p.jsonl"]);
    assert!(text.contains("p.jsonl:1: missing field `target`"), "{text}");
    let train = ["train", "recipe.toml", "--set", "data.file=rows.jsonl", "--output", "none"];
    let text = refusal(dir.path(), &train);
    assert!(text.contains("rows.jsonl:1: `answer`"), "{text}");
}

/// A row at a time: each answer is there before the next row is written.
#[test]
fn rows_of_standard_input_are_answered_at_once() {
    let dir = workspace();
    let mut process = Command::new(env!("CARGO_BIN_EXE_normed"))
        .args(["predict", "--adapter", "run", "--data", "-"])
        .current_dir(dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut rows = process.stdin.take().unwrap();
    let mut answers = BufReader::new(process.stdout.take().unwrap()).lines();
    let mut ask = |row: &str| {
        writeln!(rows, "{row}").unwrap();
        parse(&answers.next().unwrap().unwrap())
    };
    let question = r#"{"image": "5.png", "question": "Is it bright?"}"#;
    let first = ask(question);
    assert_eq!((&first["id"], &first["image"]), (&json!("1"), &json!("5.png")));
    assert!(first["prediction"].is_string() && first["probability"].is_f64(), "{first}");
    assert!(first.get("error").is_none() && first.get("target").is_none(), "{first}");
    for (row, id, cause) in [
        ("{", "2", "not JSON"),
        (r#"{"id": "x", "image": "5.png"}"#, "x", "`question` is missing"),
        (r#"{"id": 7, "image": "none.png", "question": "q"}"#, "7", "none.png: no such file"),
        (r#"{"image": "data.jsonl", "question": "q"}"#, "5", "data.jsonl"),
        ("[1]", "6", "a list, not an object"),
    ] {
        let answer = ask(row);
        assert_eq!(answer["id"], id, "{row}");
        assert!(answer["error"].as_str().unwrap().contains(cause), "{answer}");
        assert!(answer.get("prediction").is_none(), "{answer}");
    }
    // The program goes on, skips blank lines, reads files anew, and knows answers that are there.
    fs::copy(dir.path().join("11.png"), dir.path().join("5.png")).unwrap();
    let again = ask(&format!("\n{question}"));
    assert_eq!(again["id"], "7");
    assert_ne!(again["probability"], first["probability"]);
    let known = ask(r#"{"image": "5.png", "question": "Is it bright?", "answer": "no"}"#);
    assert_eq!((&known["target"], &known["answer_type"]), (&json!("no"), &json!("CLOSED")));
    let talk = r#"{"image": "5.png", "messages": [{"role": "user", "content": "Why?"},
        {"role": "assistant", "content": "Because."}, {"role": "user", "content": "Is it bright?"}]}"#;
    let talk = ask(&talk.replace('\n', " "));
    assert_eq!(talk["question"], "Is it bright?");
    drop(rows);
    assert!(process.wait().unwrap().success());
    assert!(answers.next().is_none());

    let to_file = ["predict", "--adapter", "run", "--data", "-", "--out", "p.jsonl"];
    let text = refusal(dir.path(), &to_file);
    assert!(text.contains("--out") && text.contains("standard output"), "{text}");
}

/// A run's folder is its model: `--model` and `--adapter` take it everywhere.
#[test]
fn a_run_is_a_model() {
    let dir = workspace();
    let question = ["--image", "5.png", "--question", "Is it bright?", "--json"];
    let answer = |args: &[&str]| parse(&stdout(dir.path(), &[&["ask"], args, &question].concat()));
    let tuned = answer(&["--adapter", "run"]);
    for same in [
        &["--model", "run"][..],
        &["--model", "run/adapter"],
        &["--adapter", "run/adapter"],
        &["--model", "base", "--adapter", "run"],
    ] {
        assert_eq!(answer(same), tuned, "{same:?}");
    }
    assert_ne!(answer(&["--model", "base"])["probability"], tuned["probability"]);
    // Elsewhere the adapter's base is not known; its name is no path of the machine.
    fs::create_dir(dir.path().join("moved")).unwrap();
    for name in ["adapter_config.json", "adapter_model.safetensors"] {
        let to = dir.path().join("moved").join(name);
        fs::copy(dir.path().join("run/adapter").join(name), to).unwrap();
    }
    fs::rename(dir.path().join("base"), dir.path().join("other")).unwrap();
    let text = refusal(dir.path(), &[&["ask", "--adapter", "moved"], &question[..4]].concat());
    assert!(text.contains("moved: its base is not here: base: no such file"), "{text}");
    assert!(text.contains("hint: give the base model with --model"), "{text}");
    fs::rename(dir.path().join("other"), dir.path().join("base")).unwrap();
    assert_eq!(answer(&["--adapter", "moved"])["probability"], tuned["probability"]);
    stdout(dir.path(), &["merge", "base", "run", "merged", "--quiet"]);
    let merged = answer(&["--model", "merged"]);
    let [a, b] = [&merged, &tuned].map(|row| row["probability"].as_f64().unwrap());
    assert!((a - b).abs() < 1e-5, "{a} {b}");
    let scores = stdout(dir.path(), &["evaluate", "--recipe", "recipe.toml", "--adapter", "run"]);
    assert!(scores.starts_with("metric "), "{scores}");

    // A run that is not finished, one that has no model of its own, and what is no adapter.
    fs::create_dir(dir.path().join("half")).unwrap();
    fs::copy(dir.path().join("run/recipe.toml"), dir.path().join("half/recipe.toml")).unwrap();
    let refused = |args: &[&str]| refusal(dir.path(), &[&["ask"], args, &question[..4]].concat());
    for args in
        [&["--adapter", "half"][..], &["--model", "half"], &["--model", "half", "--adapter", "run"]]
    {
        let text = refused(args);
        assert!(text.contains("half: is a run that is not finished"), "{text}");
        assert!(text.contains("normed train half/recipe.toml --output half --resume"), "{text}");
    }
    let text = refused(&["--model", "run", "--adapter", "run"]);
    assert!(text.contains("run with an adapter") && text.contains("normed merge"), "{text}");
    let text = refused(&["--adapter", "base"]);
    assert!(text.contains("is a model, not an adapter"), "{text}");
    let text = refusal(dir.path(), &["inspect", "run"]);
    assert!(text.contains("run with an adapter"), "{text}");
}

#[test]
fn an_image_is_shown_as_the_model_sees_it() {
    let dir = workspace();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../normed/tests/golden/medical");
    fs::copy(golden.join("frames.dcm"), dir.path().join("frames.dcm")).unwrap();
    let show = ["show", "frames.dcm", "--model", "run", "--frame", "1", "--window", "40,400"];
    let facts = stdout(dir.path(), &[&show[..], &["--out", "v.png", "--json"]].concat());
    let facts = parse(&facts);
    assert_eq!(
        (&facts["format"], &facts["window"]),
        (&json!("DICOM"), &json!("center 40, width 400"))
    );
    assert!(facts["frame"].as_str().unwrap().starts_with("1 of "), "{facts}");
    assert_eq!(facts["model_sees"], "16 x 16 pixels");
    let view = image::open(dir.path().join("v.png")).unwrap();
    assert_eq!((view.width(), view.height()), (16, 16));

    // Without a model nothing is resized: the file of 8 bits comes back.
    let text = stdout(dir.path(), &["show", "5.png", "--out", "same.png"]);
    assert!(text.contains("format") && text.contains("PNG") && text.contains("8 x 8"), "{text}");
    let same = image::open(dir.path().join("same.png")).unwrap().into_rgb8();
    assert_eq!(same, image::open(dir.path().join("5.png")).unwrap().into_rgb8());
    let text = refusal(dir.path(), &["show", "5.png", "--out", "5.png", "--force"]);
    assert!(text.contains("it is the image"), "{text}");
}
