//! Converts tokenizer.model, SentencePiece's file, to an equivalent tokenizer.json.
//!
//! SentencePiece merges the pair of neighbors whose merged piece has the highest score. A tokenizer.json lists pairs
//! in that order instead: every way to split every piece into two others, ordered by the score of the piece, as
//! transformers' converter does.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::path::Path;

use prost::Message;
use serde_json::{Value, json};

use crate::files::{TOKENIZER_LIMIT, read_bounded};
use crate::{Error, Result};

/// SentencePiece's symbol for a space.
const SPACE: &str = "▁";
/// The `trainer_spec.model_type` of BPE.
const BPE: i32 = 2;

/// The fields of sentencepiece_model.proto's `ModelProto` that are needed.
#[derive(Clone, PartialEq, Message)]
pub(super) struct SentencePiece {
    #[prost(message, repeated, tag = "1")]
    pieces: Vec<Piece>,
    #[prost(message, optional, tag = "2")]
    trainer_spec: Option<TrainerSpec>,
    #[prost(message, optional, tag = "3")]
    normalizer_spec: Option<NormalizerSpec>,
}

#[derive(Clone, PartialEq, Message)]
struct Piece {
    #[prost(string, optional, tag = "1")]
    piece: Option<String>,
    #[prost(float, optional, tag = "2")]
    score: Option<f32>,
    #[prost(enumeration = "PieceKind", optional, tag = "3", default = "Normal")]
    kind: Option<i32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
enum PieceKind {
    Normal = 1,
    Unknown = 2,
    Control = 3,
    UserDefined = 4,
    Unused = 5,
    Byte = 6,
}

#[derive(Clone, PartialEq, Message)]
struct TrainerSpec {
    #[prost(int32, optional, tag = "3", default = "1")]
    model_type: Option<i32>,
    #[prost(bool, optional, tag = "35")]
    byte_fallback: Option<bool>,
    #[prost(int32, optional, tag = "41", default = "1")]
    bos_id: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
struct NormalizerSpec {
    #[prost(bytes = "vec", optional, tag = "2")]
    precompiled_charsmap: Option<Vec<u8>>,
    #[prost(bool, optional, tag = "3", default = "true")]
    add_dummy_prefix: Option<bool>,
    #[prost(bool, optional, tag = "4", default = "true")]
    remove_extra_whitespaces: Option<bool>,
}

impl SentencePiece {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let bytes = read_bounded(path, TOKENIZER_LIMIT)?;
        let wrong = |cause: String| {
            Error::invalid(path.display(), cause).with_remedy(
                "convert it to tokenizer.json with transformers, which is read instead",
            )
        };
        let model = Self::decode(bytes.as_slice())
            .map_err(|e| wrong(format!("is not a SentencePiece model: {e}")))?;
        model.check().map_err(wrong)?;
        Ok(model)
    }

    /// Checks that the model is of LLaMA's kind.
    fn check(&self) -> Result<(), String> {
        let trainer = self.trainer_spec.clone().unwrap_or_default();
        let normalizer = self.normalizer_spec.clone().unwrap_or_default();
        if self.pieces.is_empty() {
            return Err("is not a SentencePiece model: it has no pieces".into());
        }
        if trainer.model_type() != BPE {
            let kind = trainer.model_type();
            return Err(format!("model_type is {kind}; only {BPE} (BPE) is supported"));
        }
        if !normalizer.precompiled_charsmap().is_empty() {
            return Err("it normalizes text by a table, which is not supported".into());
        }
        if normalizer.remove_extra_whitespaces() {
            return Err("remove_extra_whitespaces is set, which is not supported".into());
        }
        self.unknown().map(drop)
    }

    /// The token of unknown text.
    fn unknown(&self) -> Result<&str, String> {
        let piece = self.pieces.iter().find(|piece| piece.kind() == PieceKind::Unknown);
        piece.map(Piece::piece).ok_or_else(|| "it has no piece for unknown text".into())
    }

    /// Converts the model. With `prefix` a space is put before text: with `legacy` before every text between
    /// special tokens, otherwise only before the first.
    pub(super) fn tokenizer(&self, legacy: bool, prefix: bool) -> Result<tokenizers::Tokenizer> {
        let json = self.tokenizer_json(legacy, prefix);
        serde_json::from_value(json).map_err(|e| Error::invalid("tokenizer.model", e))
    }

    fn tokenizer_json(&self, legacy: bool, prefix: bool) -> Value {
        let normalizer = self.normalizer_spec.clone().unwrap_or_default();
        let trainer = self.trainer_spec.clone().unwrap_or_default();
        let prefix = prefix && normalizer.add_dummy_prefix();
        let mut steps = Vec::new();
        if prefix {
            steps.push(json!({"type": "Prepend", "prepend": SPACE}));
        }
        steps.push(json!({"type": "Replace", "pattern": {"String": " "}, "content": SPACE}));
        let scheme = if prefix { "first" } else { "never" };
        let metaspace = json!({"type": "Metaspace", "replacement": SPACE, "prepend_scheme": scheme,
            "split": false});

        let mut decoders = vec![
            json!({"type": "Replace", "pattern": {"String": SPACE}, "content": " "}),
            json!({"type": "ByteFallback"}),
            json!({"type": "Fuse"}),
        ];
        if prefix {
            decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
        }
        let vocab: serde_json::Map<_, _> = (0..)
            .zip(&self.pieces)
            .map(|(id, p)| (p.piece().to_owned(), Value::from(id)))
            .collect();
        json!({
            "version": "1.0",
            "added_tokens": self.added_tokens(),
            "normalizer": legacy.then(|| json!({"type": "Sequence", "normalizers": steps})),
            "pre_tokenizer": (!legacy).then_some(metaspace),
            "post_processor": self.post_processor(trainer.bos_id()),
            "decoder": {"type": "Sequence", "decoders": decoders},
            "model": {
                "type": "BPE",
                "unk_token": self.unknown().ok(),
                "fuse_unk": true,
                "byte_fallback": trainer.byte_fallback(),
                "vocab": vocab,
                "merges": self.merges(),
            },
        })
    }

    /// Added tokens: control pieces, which are special, and user-defined pieces, which are matched first.
    fn added_tokens(&self) -> Vec<Value> {
        let kinds = [PieceKind::Unknown, PieceKind::Control, PieceKind::UserDefined];
        let pieces = self.pieces.iter().enumerate();
        let added = pieces.filter(|(_, piece)| kinds.contains(&piece.kind()));
        added
            .map(|(id, piece)| {
                let special = piece.kind() != PieceKind::UserDefined;
                json!({"id": id, "content": piece.piece(), "special": special, "normalized": false,
                    "single_word": false, "lstrip": false, "rstrip": false})
            })
            .collect()
    }

    /// The post-processor that puts the BOS token before a text, for other programs that read the saved file.
    fn post_processor(&self, bos: i32) -> Option<Value> {
        let bos = usize::try_from(bos).ok().filter(|&id| id < self.pieces.len())?;
        let token = self.pieces[bos].piece();
        let start = json!({"SpecialToken": {"id": token, "type_id": 0}});
        let text = |id| json!({"Sequence": {"id": id, "type_id": 0}});
        Some(json!({
            "type": "TemplateProcessing",
            "single": [start, text("A")],
            "pair": [start, text("A"), start, text("B")],
            "special_tokens": {token: {"id": token, "ids": [bos], "tokens": [token]}},
        }))
    }

    /// Pairs in the order in which they are merged: by the score of the merged piece, then the longer left part
    /// first, then the longer right part. Control pieces take no part, since no text spells them.
    fn merges(&self) -> Vec<[&str; 2]> {
        let is_text =
            |piece: &&Piece| !matches!(piece.kind(), PieceKind::Control | PieceKind::Unknown);
        let ids: HashMap<&str, usize> = self
            .pieces
            .iter()
            .enumerate()
            .filter(|(_, piece)| is_text(piece))
            .map(|(id, piece)| (piece.piece(), id))
            .collect();
        let mut merges = Vec::new();
        for piece in self.pieces.iter().filter(is_text) {
            let whole = piece.piece();
            let mut splits: Vec<_> = whole
                .char_indices()
                .skip(1)
                .map(|(at, _)| whole.split_at(at))
                .filter_map(|(left, right)| {
                    Some(((ids.get(left)?, ids.get(right)?), [left, right]))
                })
                .collect();
            splits.sort_unstable();
            merges.extend(splits.into_iter().map(|(_, pair)| (piece.score(), pair)));
        }
        let lengths = |pair: [&str; 2]| Reverse(pair.map(|part| part.chars().count()));
        merges.sort_by(|(a, left), (b, right)| {
            b.total_cmp(a).then_with(|| lengths(*left).cmp(&lengths(*right)))
        });
        merges.into_iter().map(|(_, pair)| pair).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn model() -> SentencePiece {
        let pieces = [
            ("<unk>", 0.0, PieceKind::Unknown),
            ("<s>", 0.0, PieceKind::Control),
            ("<0x0A>", 0.0, PieceKind::Byte),
            ("aab", -1.0, PieceKind::Normal),
            ("ab", -2.0, PieceKind::Normal),
            ("aa", -2.5, PieceKind::Normal),
            ("s>", -3.0, PieceKind::Normal),
            ("▁", -4.0, PieceKind::Normal),
            ("a", -5.0, PieceKind::Normal),
            ("b", -6.0, PieceKind::Normal),
            ("<", -7.0, PieceKind::Normal),
            ("s", -8.0, PieceKind::Normal),
            (">", -9.0, PieceKind::Normal),
        ];
        let piece = |(piece, score, kind): (&str, f32, PieceKind)| Piece {
            piece: Some(piece.into()),
            score: Some(score),
            kind: Some(kind as i32),
        };
        SentencePiece {
            pieces: pieces.map(piece).to_vec(),
            trainer_spec: Some(TrainerSpec {
                model_type: Some(BPE),
                byte_fallback: Some(true),
                bos_id: Some(1),
            }),
            normalizer_spec: Some(NormalizerSpec {
                precompiled_charsmap: None,
                add_dummy_prefix: Some(true),
                remove_extra_whitespaces: Some(false),
            }),
        }
    }

    #[test]
    fn pairs_are_merged_by_the_score_of_the_merged_piece() {
        let merges = [["aa", "b"], ["a", "ab"], ["a", "b"], ["a", "a"], ["s", ">"]];
        assert_eq!(model().merges(), merges);
    }

    #[test]
    fn legacy_text_begins_with_a_space_wherever_it_begins() {
        let ids = |legacy, prefix, text: &str| {
            let tokenizer = model().tokenizer(legacy, prefix).unwrap();
            let encoding = tokenizer.encode_fast(text, false).unwrap();
            (encoding.get_ids().to_vec(), tokenizer.decode(encoding.get_ids(), true).unwrap())
        };
        assert_eq!(ids(true, true, "aab<s>b\n"), (vec![7, 3, 1, 7, 9, 2], "aab b\n".into()));
        assert_eq!(ids(false, true, "aab<s>b\n"), (vec![7, 3, 1, 9, 2], "aabb\n".into()));
        assert_eq!(ids(true, false, "aab<s>b"), (vec![3, 1, 9], "aabb".into()));
        // What bytes cannot spell, here as there are no pieces for them, is unknown.
        assert_eq!(ids(true, true, "é").0, [7, 0]);
    }

    #[test]
    fn other_kinds_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokenizer.model");
        let refused = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            SentencePiece::open(&path).unwrap_err().to_string()
        };
        assert!(refused(b"").contains("no pieces"));
        assert!(refused(b"AQ== 0\nAg== 1\n").contains("not a SentencePiece model"));
        let bytes = model().encode_to_vec();
        assert!(refused(&bytes[..bytes.len() - 3]).contains("not a SentencePiece model"));
        fs::write(&path, &bytes).unwrap();
        assert_eq!(SentencePiece::open(&path).unwrap(), model());
        let with = |change: fn(&mut SentencePiece)| {
            let mut changed = model();
            change(&mut changed);
            refused(&changed.encode_to_vec())
        };
        assert!(with(|m| m.trainer_spec = None).contains("model_type is 1"));
        assert!(with(|m| m.normalizer_spec = None).contains("remove_extra_whitespaces"));
        assert!(with(|m| drop(m.pieces.remove(0))).contains("unknown"));
        let table = |m: &mut SentencePiece| {
            m.normalizer_spec.as_mut().unwrap().precompiled_charsmap = Some(vec![1]);
        };
        assert!(with(table).contains("by a table"));
    }
}
