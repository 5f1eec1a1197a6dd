//! The protocols of papers, compared answer by answer with the papers' own code
//! (reference/make_protocol_goldens.py).

mod data_common;

use std::collections::BTreeMap;

use data_common::golden;
use normed::metrics::{Protocol, read_answers, score_protocols};
use serde_json::Value;

#[test]
fn each_answer_has_the_score_of_the_papers_code() {
    let path = golden("protocols/answers.jsonl");
    let answers = read_answers(&path).expect("a golden file");
    let text = std::fs::read_to_string(&path).expect("a golden file");
    let mut compared = 0;
    for (answer, line) in answers.iter().zip(text.lines()) {
        let row: Value = serde_json::from_str(line).expect("valid JSON");
        for protocol in [Protocol::LlavaMed, Protocol::Miss, Protocol::Vqa] {
            let scores = score_protocols(std::slice::from_ref(answer), &[protocol]);
            let found: BTreeMap<_, _> =
                scores[0].scores.iter().map(|score| (score.name.clone(), score.value)).collect();
            let want: BTreeMap<String, f64> =
                serde_json::from_value(row["expected"][protocol.name()].clone()).expect("scores");
            let place = format!("{}: {answer:?}", protocol.name());
            assert_eq!(
                found.keys().collect::<Vec<_>>(),
                want.keys().collect::<Vec<_>>(),
                "{place}"
            );
            for (name, value) in &found {
                assert!(
                    (value - want[name]).abs() < 1e-9,
                    "{name} {place}: {value}, {}",
                    want[name]
                );
                compared += 1;
            }
        }
    }
    assert!(compared > 1_000, "{compared}");
}
