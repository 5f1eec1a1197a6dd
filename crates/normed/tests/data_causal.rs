//! Token ids and decoded texts of causal tokenizers against transformers' and SentencePiece's
//! (goldens by reference/make_causal_token_goldens.py).

use std::fs;
use std::path::{Path, PathBuf};

use normed::data::Tokenizer;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

#[path = "data_common/mod.rs"]
mod common;
use common::{golden, real_data};

/// The first rows are of VQA-RAD, the others adversarial.
const SAMPLED: usize = 120;

#[derive(Deserialize)]
struct Row {
    text: String,
    legacy: (Vec<u32>, String),
    later: (Vec<u32>, String),
    bytes: (Vec<u32>, String),
}

fn rows() -> Vec<Row> {
    let rows = fs::read(golden("causal/texts.json")).unwrap();
    let rows: Vec<Row> = serde_json::from_slice(&rows).unwrap();
    assert!(rows.len() > SAMPLED + 60);
    rows
}

/// The tokenizer of `file`, with `config` as its tokenizer_config.json.
fn open(file: &Path, name: &str, config: &str) -> (tempfile::TempDir, Tokenizer) {
    let dir = tempfile::tempdir().unwrap();
    fs::copy(file, dir.path().join(name)).unwrap();
    fs::write(dir.path().join("tokenizer_config.json"), config).unwrap();
    let tokenizer = Tokenizer::open_causal(dir.path()).unwrap();
    (dir, tokenizer)
}

const LEGACY: &str = r#"{"bos_token": "<s>", "eos_token": "</s>"}"#;
const LATER: &str = r#"{"bos_token": "<s>", "eos_token": "</s>", "legacy": false}"#;

fn check(tokenizer: &Tokenizer, expected: fn(&Row) -> &(Vec<u32>, String)) {
    // What is saved reads the same.
    let dir = tempfile::tempdir().unwrap();
    tokenizer.save(dir.path()).unwrap();
    let again = Tokenizer::open_causal(dir.path()).unwrap();
    assert_eq!(again.special_token_ids(), tokenizer.special_token_ids());
    for row in rows() {
        let (ids, decoded) = expected(&row);
        assert_eq!(&tokenizer.encode(&row.text), ids, "{:?}", row.text);
        assert_eq!(&tokenizer.decode(ids), decoded, "{:?}", row.text);
        assert_eq!(&again.encode(&row.text), ids, "{:?}", row.text);
    }
}

#[test]
fn sentence_pieces_are_transformers() {
    let model = golden("causal/sp/tokenizer.model");
    let (_dir, legacy) = open(&model, "tokenizer.model", LEGACY);
    check(&legacy, |row| &row.legacy);
    let (_dir, later) = open(&model, "tokenizer.model", LATER);
    check(&later, |row| &row.later);
    let named = legacy.special_token_ids();
    assert_eq!((named.bos, named.eos, named.pad, legacy.len()), (Some(1), Some(2), None, 700));
}

#[test]
fn byte_level_pairs_are_transformers() {
    let (_dir, tokenizer) = open(&golden("causal/bytes/tokenizer.json"), "tokenizer.json", "{}");
    check(&tokenizer, |row| &row.bytes);
    assert_eq!(tokenizer.special_token_ids().bos, tokenizer.id("<|begin_of_text|>"));
}

/// SHA-256 over each text's number of ids and ids, as the golden's.
fn digest(tokenizer: &Tokenizer, texts: impl Iterator<Item = String>) -> String {
    let mut sha = Sha256::new();
    for text in texts {
        let ids = tokenizer.encode(&text);
        sha.update((ids.len() as u32).to_le_bytes());
        ids.iter().for_each(|id| sha.update(id.to_le_bytes()));
    }
    sha.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn texts(files: &[PathBuf]) -> Vec<String> {
    let rows = files
        .iter()
        .flat_map(|file| serde_json::from_slice::<Vec<Value>>(&fs::read(file).unwrap()).unwrap());
    rows.flat_map(|row| [row["question"].clone(), row["answer"].clone()])
        .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
        .collect()
}

#[test]
#[ignore = "needs real data: set NORMED_DATA and run with --include-ignored"]
fn ids_of_whole_data_sets_are_mistrals_real_data() {
    let data = real_data();
    let digests = fs::read(golden("causal/digests.json")).unwrap();
    let digests: Value = serde_json::from_slice(&digests).unwrap();
    let slake = texts(&["train", "validate", "test"].map(|s| data.join(format!("slake/{s}.json"))));
    let vqa_rad = texts(&[data.join("vqa-rad/VQA_RAD Dataset Public.json")]);
    let adversarial: Vec<_> = rows().into_iter().skip(SAMPLED).map(|row| row.text).collect();
    let mistral = data.join("tokenizers/mistral");
    let (json, model) = (mistral.join("tokenizer.json"), mistral.join("tokenizer.model.v1"));
    for (file, name) in [(&json, "tokenizer.json"), (&model, "tokenizer.model")] {
        let (_dir, tokenizer) = open(file, name, LEGACY);
        for (texts, key) in
            [(&vqa_rad, "vqa-rad"), (&slake, "slake"), (&adversarial, "adversarial")]
        {
            assert_eq!(digest(&tokenizer, texts.iter().cloned()), digests[key], "{name}, {key}");
        }
    }
    let (_dir, later) = open(&model, "tokenizer.model", LATER);
    for (texts, key) in [(&vqa_rad, "vqa-rad later"), (&adversarial, "adversarial later")] {
        assert_eq!(digest(&later, texts.iter().cloned()), digests[key], "{key}");
    }
}
