//! Token ids and decoded texts against transformers' BERT tokenizer
//! (goldens by reference/make_token_goldens.py).

use std::fs;
use std::path::{Path, PathBuf};

use normed::data::Tokenizer;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

#[path = "data_common/mod.rs"]
mod common;
use common::{golden, real_data};

#[derive(Deserialize)]
struct Row {
    text: String,
    ids: Vec<u32>,
    decoded: String,
}

#[test]
fn ids_and_texts_are_transformers() {
    let dir = tempfile::tempdir().unwrap();
    fs::copy(golden("token_vocab.txt"), dir.path().join("vocab.txt")).unwrap();
    let tokenizer = Tokenizer::open(dir.path()).unwrap();
    let rows = fs::read(golden("token_texts.json")).unwrap();
    let rows: Vec<Row> = serde_json::from_slice(&rows).unwrap();
    assert!(rows.len() >= 300);
    for row in rows {
        assert_eq!(tokenizer.encode(&row.text), row.ids, "{:?}", row.text);
        assert_eq!(tokenizer.decode(&row.ids), row.decoded, "{:?}", row.text);
    }
}

/// SHA-256 over each text's number of ids and ids, as the golden's.
fn digest(tokenizer: &Tokenizer, files: &[PathBuf]) -> String {
    let mut sha = Sha256::new();
    for file in files {
        let rows: Vec<Value> = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
        for value in rows.iter().flat_map(|row| [&row["question"], &row["answer"]]) {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let ids = tokenizer.encode(&text);
            sha.update((ids.len() as u32).to_le_bytes());
            for id in ids {
                sha.update(id.to_le_bytes());
            }
        }
    }
    sha.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
#[ignore = "needs real data: set NORMED_DATA and run with --include-ignored"]
fn ids_of_whole_data_sets_are_transformers_real_data() {
    let data = real_data();
    let digests: Value =
        serde_json::from_slice(&fs::read(golden("token_digests.json")).unwrap()).unwrap();
    let slake = ["train", "validate", "test"].map(|s| data.join(format!("slake/{s}.json")));
    let vqa_rad = [data.join("vqa-rad/VQA_RAD Dataset Public.json")];
    let bert = data.join("tokenizers/bert-base-uncased");
    let vocab_only = tempfile::tempdir().unwrap();
    fs::copy(bert.join("vocab.txt"), vocab_only.path().join("vocab.txt")).unwrap();
    for dir in [bert.as_path(), vocab_only.path()] as [&Path; 2] {
        let mut tokenizer = Tokenizer::open(dir).unwrap();
        assert_eq!(tokenizer.len(), 30522);
        tokenizer.add_special("[DEC]", 30522).unwrap();
        tokenizer.add_special("[ENC]", 30523).unwrap();
        assert_eq!(digest(&tokenizer, &vqa_rad), digests["vqa-rad"], "{}", dir.display());
        assert_eq!(digest(&tokenizer, &slake), digests["slake"], "{}", dir.display());
    }
}
