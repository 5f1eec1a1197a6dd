//! Scores compared with those that reference/make_metric_goldens.py computes independently.

use std::path::{Path, PathBuf};

use normed::data::Answer;
use normed::metrics::{MajorityBaseline, compare, read_predictions, score};
use serde_json::Value;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/metrics").join(name)
}

fn expected(part: &str) -> Value {
    let text = std::fs::read_to_string(golden("expected.json")).expect("a golden file");
    let all: Value = serde_json::from_str(&text).expect("valid JSON");
    all[part].clone()
}

/// Asserts equal keys, texts and nulls, and numbers that agree to 1e-12.
fn assert_agree(place: &str, found: &Value, want: &Value) {
    match (found, want) {
        (Value::Object(f), Value::Object(w)) => {
            let keys = |o: &serde_json::Map<String, Value>| {
                let mut keys: Vec<_> = o.keys().cloned().collect();
                keys.sort();
                keys
            };
            assert_eq!(keys(f), keys(w), "{place}");
            for (key, want) in w {
                assert_agree(&format!("{place}.{key}"), &f[key], want);
            }
        }
        (Value::Number(f), Value::Number(w)) => {
            let (f, w) = (f.as_f64().unwrap_or(f64::NAN), w.as_f64().unwrap_or(f64::NAN));
            assert!((f - w).abs() < 1e-12, "{place}: {f}, not {w}");
        }
        _ => assert_eq!(found, want, "{place}"),
    }
}

#[test]
fn scores_equal_the_reference() {
    let predictions = read_predictions(&golden("first.jsonl")).expect("a golden file");
    let text = std::fs::read_to_string(golden("training.jsonl")).expect("a golden file");
    let training: Vec<Answer> = text
        .lines()
        .map(|line| {
            let row: Value = serde_json::from_str(line).expect("valid JSON");
            let kind = serde_json::from_value(row["answer_type"].clone()).expect("a type");
            Answer::new(row["target"].as_str().expect("a text"), kind)
        })
        .collect();
    let constants = MajorityBaseline::from_training(&training);

    for (part, constants) in
        [("with_training_constants", Some(&constants)), ("with_own_constants", None)]
    {
        let found = serde_json::to_value(score(&predictions, constants)).expect("JSON");
        assert_agree(part, &found["scores"], &expected(part));
    }
}

#[test]
fn differences_equal_the_reference() {
    let [first, second] = ["first.jsonl", "second.jsonl"]
        .map(|name| read_predictions(&golden(name)).expect("a golden file"));
    let found = serde_json::to_value(compare(&first, &second).expect("the same examples"));
    let found = found.expect("JSON");
    assert_agree("first_less_second", &found["differences"], &expected("first_less_second"));
}
