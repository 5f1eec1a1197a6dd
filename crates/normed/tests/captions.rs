//! Caption scores compared with those of pycocoevalcap (reference/make_caption_goldens.py).

mod data_common;

use data_common::{golden, real_data};
use normed::metrics::{Caption, CaptionScores, MeteorData, read_captions, score_captions};
use serde_json::Value;

fn expected(part: &str) -> Value {
    let text = std::fs::read_to_string(golden("captions/expected.json")).expect("a golden file");
    let all: Value = serde_json::from_str(&text).expect("valid JSON");
    all[part].clone()
}

fn assert_near(place: &str, found: f64, want: &Value) {
    let want = want.as_f64().expect("a number");
    assert!((found - want).abs() < 1e-6, "{place}: {found}, not {want}");
}

fn assert_agree(part: &str, scores: &CaptionScores) {
    let expected = expected(part);
    assert_eq!(scores.scores.len(), 7);
    for (metric, score) in &scores.scores {
        let place = format!("{part}, {}", metric.name());
        assert_near(&place, score.value, &expected["scores"][metric.name()]);
        let items = expected["items"][metric.name()].as_array().into_iter().flatten();
        for (i, (item, want)) in scores.items.iter().zip(items).enumerate() {
            assert_near(&format!("{place}, text {i}"), item[metric], want);
        }
    }
}

fn pair(id: usize, prediction: &str, reference: &str) -> Caption {
    Caption {
        id: id.to_string(),
        prediction: prediction.to_owned(),
        references: vec![reference.to_owned()],
        cluster: id.to_string(),
    }
}

/// Checks the scores without METEOR's tables, and also with them if NORMED_METEOR_DATA names an installed
/// pycocoevalcap.
fn check(part: &str, captions: &[Caption]) {
    assert_agree(part, &score_captions(captions, None).expect("no tables are read"));
    match std::env::var_os("NORMED_METEOR_DATA") {
        Some(dir) => {
            let data = MeteorData::open(dir.as_ref()).expect("METEOR's tables");
            assert_agree(
                part,
                &score_captions(captions, Some(&data)).expect("METEOR's paraphrases"),
            );
        }
        None => eprintln!("METEOR of {part} is not tested: NORMED_METEOR_DATA is not set"),
    }
}

#[test]
fn texts_that_are_hard_to_tokenize_score_as_the_tools_score_them() {
    check("hard", &read_captions(&golden("captions/hard.jsonl")).expect("a golden file"));
}

#[test]
fn an_error_names_the_missing_table_of_meteor() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let open = || MeteorData::open(dir.path()).expect_err("no tables").to_string();
    let error = open();
    assert!(error.contains("meteor-1.5.jar") && error.contains("pycocoevalcap"), "{error}");
    std::fs::write(dir.path().join("meteor-1.5.jar"), "no archive").expect("written");
    let error = open();
    assert!(error.contains("meteor-1.5.jar, function/english.words"), "{error}");
}

#[test]
#[ignore = "needs real data: set NORMED_DATA and run with --include-ignored"]
fn real_questions_and_reports_score_as_the_tools_score_them_real_data() {
    let data = real_data();
    let read = |path: &str| std::fs::read_to_string(data.join(path)).expect("a data set");

    let rows: Vec<Value> =
        serde_json::from_str(&read("vqa-rad/VQA_RAD Dataset Public.json")).expect("valid JSON");
    let texts = |row: &Value| {
        let text = |key: &str| row[key].as_str().map(str::to_owned);
        Some((text("question")?, text("question_rephrase").filter(|text| text != "NULL")?))
    };
    let questions = rows.iter().filter_map(texts).enumerate();
    let questions: Vec<Caption> = questions.map(|(i, (q, r))| pair(i, &q, &r)).collect();
    assert_eq!(questions.len() as u64, expected("vqa_rad")["n"].as_u64().expect("a number"));
    check("vqa_rad", &questions);

    let reports: Vec<String> = read("slake/reports.jsonl")
        .lines()
        .map(|line| {
            let row: Value = serde_json::from_str(line).expect("valid JSON");
            row["report"].as_str().expect("a report").to_owned()
        })
        .collect();
    let next = reports.iter().cycle().skip(1);
    let reports: Vec<Caption> =
        reports.iter().zip(next).enumerate().map(|(i, (r, p))| pair(i, p, r)).collect();
    check("reports", &reports);
}
