//! The BPE tokenizer of a decoder-only language model, from tokenizer.json or tokenizer.model.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value, json};
use tokenizers::{AddedToken, DecoderWrapper, ModelWrapper};

use super::encode::{SPECIAL_TOKEN_KEYS, SpecialTokenIds, Tokenizer, parse_json};
use super::sentence_piece::SentencePiece;
use crate::data::prompt::chat;
use crate::files::{TOKENIZER_LIMIT, read_bounded, read_json};
use crate::{Error, Result};

/// The file of settings, special tokens and added tokens.
const CONFIG: &str = "tokenizer_config.json";
/// The file of special tokens in older checkpoints.
const SPECIAL: &str = "special_tokens_map.json";
/// The file of byte pairs' tokens in older checkpoints, to which merges.txt belongs.
const OLD_VOCABULARY: &str = "vocab.json";
/// The file of added tokens in older checkpoints.
const ADDED: &str = "added_tokens.json";

impl Tokenizer {
    /// Reads the tokenizer of a decoder-only language model in `dir`: tokenizer.json with a BPE model (LLaMA's and
    /// Mistral's with byte fallback, GPT-2's and Llama 3's over bytes), or else SentencePiece's tokenizer.model.
    /// tokenizer_config.json, special_tokens_map.json and added_tokens.json are read, too.
    ///
    /// An absent `legacy` in tokenizer_config.json is true for tokenizer.model, as in transformers up to version
    /// 4: text after a special token then starts with a space, as text at the start does.
    ///
    /// # Errors
    ///
    /// If `dir` has neither file, if a file is damaged, or if the tokenizer has steps that are not supported.
    pub fn open_causal(dir: &Path) -> Result<Self> {
        let (json, model) = (dir.join("tokenizer.json"), dir.join("tokenizer.model"));
        let config = read_if_present(&dir.join(CONFIG))?.unwrap_or_else(|| json!({}));
        let Value::Object(config) = config else {
            return Err(Error::invalid(dir.join(CONFIG).display(), "is not a JSON object"));
        };
        let flag = |key| config.get(key).and_then(Value::as_bool);
        let (mut inner, path) = if json.is_file() {
            let bytes = read_bounded(&json, TOKENIZER_LIMIT)?;
            (parse_json(&bytes).map_err(|e| Error::invalid(json.display(), e))?, json)
        } else if model.is_file() {
            let (legacy, prefix) = (flag("legacy"), flag("add_prefix_space"));
            let piece = SentencePiece::open(&model)?;
            (piece.tokenizer(legacy.unwrap_or(true), prefix.unwrap_or(true))?, model)
        } else {
            let cause = "it contains neither tokenizer.json nor tokenizer.model";
            let error = Error::invalid(dir.display(), cause);
            return Err(if dir.join(OLD_VOCABULARY).is_file() {
                error.with_remedy(
                    "convert its vocab.json and merges.txt in Python: \
                     AutoTokenizer.from_pretrained(folder).save_pretrained(folder)",
                )
            } else {
                error.with_remedy("copy one of them from where the model comes from")
            });
        };
        check_steps(&inner).map_err(|cause| Error::invalid(path.display(), cause))?;
        inner.with_padding(None);
        inner.with_truncation(None).map_err(|e| Error::invalid(path.display(), e))?;
        let mut tokenizer =
            Self { inner, config: Value::Null, special_ids: SpecialTokenIds::default() };
        tokenizer.add_declared_tokens(dir, config)?;
        Ok(tokenizer)
    }

    /// Adds the tokens that the other files declare, and finds the ids of the special tokens.
    fn add_declared_tokens(&mut self, dir: &Path, mut config: Map<String, Value>) -> Result<()> {
        let special = read_if_present(&dir.join(SPECIAL))?.unwrap_or_default();
        let name = |key: &str| content(&config, key).or_else(|| content(special.as_object()?, key));
        let names = SPECIAL_TOKEN_KEYS.map(|key| (key, name(key)));
        for (id, (file, token)) in declared(dir, &config, &special)? {
            self.add(&dir.join(file).display().to_string(), token, id)?;
        }
        let mut ids = [None; 4];
        for ((key, name), id) in names.iter().zip(&mut ids) {
            let Some(name) = name else { continue };
            config.insert((*key).to_owned(), name.as_str().into());
            *id = self.id(name);
            match *id {
                Some(id) => self.add(CONFIG, AddedToken::from(name.as_str(), true), id)?,
                // transformers would give it a new id, for which the model has no embedding.
                None if *key == "pad_token" => {}
                None => {
                    let cause = format!("{key} is `{name}`, which is not in the vocabulary");
                    return Err(Error::invalid(dir.join(CONFIG).display(), cause));
                }
            }
        }
        let [bos, eos, _, pad] = ids;
        let class = config.get("tokenizer_class").and_then(Value::as_str).unwrap_or_default();
        let bos = match config.get("add_bos_token").and_then(Value::as_bool) {
            Some(adds) => bos.filter(|_| adds),
            None if class.contains("Llama") => bos.or_else(|| self.leading_special_token()),
            None => {
                self.leading_special_token().filter(|first| bos.is_none_or(|bos| bos == *first))
            }
        };
        self.special_ids = SpecialTokenIds { bos, eos, pad };
        if let Some((_, source)) = chat::find_chat_template(dir)? {
            config.insert("chat_template".into(), source.into());
        }
        // `save` writes tokenizer.json; other classes would interpret it differently.
        config.insert("tokenizer_class".into(), "PreTrainedTokenizerFast".into());
        self.config = config.into();
        Ok(())
    }

    /// The special token that the post-processor of the file puts before a text, if any.
    fn leading_special_token(&self) -> Option<u32> {
        let encoding = self.inner.encode_fast("a", true).ok()?;
        encoding.get_ids().first().copied().filter(|&id| self.is_special(id))
    }
}

/// The JSON file at `path`, if there is one.
fn read_if_present(path: &Path) -> Result<Option<Value>> {
    path.is_file().then(|| read_json(path)).transpose()
}

/// Tokens that files declare with an id: the file and the token by the id.
type Declared = BTreeMap<u32, (&'static str, AddedToken)>;

fn declared(dir: &Path, config: &Map<String, Value>, special: &Value) -> Result<Declared> {
    let mut declared = Declared::new();
    let wrong = |file: &str, cause: String| Error::invalid(dir.join(file).display(), cause);
    let added = read_if_present(&dir.join(ADDED))?.unwrap_or_default();
    let names: Vec<&str> = special["additional_special_tokens"]
        .as_array()
        .into_iter()
        .flatten()
        .chain(special.as_object().into_iter().flat_map(Map::values))
        .filter_map(spelling)
        .collect();
    for (token, id) in added.as_object().into_iter().flatten() {
        let id = id.as_u64().and_then(|id| u32::try_from(id).ok());
        let id = id.ok_or_else(|| wrong(ADDED, format!("the id of `{token}` is not a number")))?;
        let token = AddedToken::from(token.as_str(), names.contains(&token.as_str()));
        declared.insert(id, (ADDED, token));
    }
    let decoder = config.get("added_tokens_decoder").and_then(Value::as_object);
    for (id, token) in decoder.into_iter().flatten() {
        let number = id.parse::<u32>();
        let id = number.map_err(|_| {
            wrong(CONFIG, format!("the id `{id}` of an added token is not a number"))
        })?;
        let token = serde_json::from_value(token.clone());
        let token = token.map_err(|e| wrong(CONFIG, format!("added token {id}: {e}")))?;
        declared.insert(id, (CONFIG, token));
    }
    Ok(declared)
}

/// The special token under `key`: a text, or an object with a `content`.
fn content(map: &Map<String, Value>, key: &str) -> Option<String> {
    map.get(key).and_then(spelling).map(str::to_owned)
}

fn spelling(token: &Value) -> Option<&str> {
    token.as_str().or_else(|| token["content"].as_str())
}

/// Checks that every step of the tokenizer is supported: it cannot fail, and is deterministic.
fn check_steps(inner: &tokenizers::Tokenizer) -> Result<(), String> {
    let ModelWrapper::BPE(model) = inner.get_model() else {
        return Err(
            "the model is not BPE, the only kind that is supported for language models".into()
        );
    };
    if model.dropout.is_some_and(|dropout| dropout > 0.0) {
        return Err("the model drops merges at random (dropout), which is not supported".into());
    }
    if let Some(unknown) = &model.unk_token
        && inner.token_to_id(unknown).is_none()
    {
        return Err(format!("its unknown token `{unknown}` is not in the vocabulary"));
    }
    let decoder = inner.get_decoder().ok_or("it has no decoder")?;
    let parts = match decoder {
        DecoderWrapper::Sequence(parts) => parts.get_decoders(),
        one => std::slice::from_ref(one),
    };
    for part in parts {
        match part {
            DecoderWrapper::ByteLevel(_)
            | DecoderWrapper::ByteFallback(_)
            | DecoderWrapper::Fuse(_)
            | DecoderWrapper::Metaspace(_)
            | DecoderWrapper::Replace(_) => {}
            DecoderWrapper::Strip(strip) if strip.stop == 0 => {}
            _ => return Err("the decoder has a step that is not supported".into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Bytes as characters; `no` is one token.
    const BYTES: &str = r#"{"version": "1.0", "added_tokens": [
            {"id": 3, "content": "<s>", "special": true, "normalized": false, "single_word": false,
             "lstrip": false, "rstrip": false}],
        "normalizer": null, "post_processor": null,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
            "use_regex": true},
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true,
            "use_regex": true},
        "model": {"type": "BPE", "vocab": {"n": 0, "o": 1, "no": 2, "<s>": 3}, "merges": ["n o"]}}"#;

    fn open(files: &[(&str, &str)]) -> Result<Tokenizer> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        Tokenizer::open_causal(dir.path())
    }

    #[test]
    fn the_other_files_are_read() {
        let json = ("tokenizer.json", BYTES);
        let plain = open(&[json]).unwrap();
        assert_eq!((plain.encode("no<s>on"), plain.len()), (vec![2, 3, 1, 0], 4));
        assert_eq!(
            (plain.decode(&[3, 2]), plain.special_token_ids()),
            ("no".into(), &SpecialTokenIds::default())
        );

        let config = r#"{"bos_token": "<s>", "add_bos_token": true, "eos_token": {"content": "</s>"},
            "added_tokens_decoder": {"5": {"content": "<image>", "special": true, "normalized": false,
                "single_word": false, "lstrip": false, "rstrip": false}}}"#;
        let files = [json, (CONFIG, config), (ADDED, r#"{"</s>": 4, "x": 6}"#)];
        let full = open(&files).unwrap();
        let named = SpecialTokenIds { bos: Some(3), eos: Some(4), pad: None };
        assert_eq!((full.special_token_ids(), full.len()), (&named, 7));
        assert_eq!(full.encode("no<image></s>x"), [2, 5, 4, 6]);
        assert_eq!(full.special_tokens(), ["<s>", "</s>", "<image>"]);
        assert!(full.is_special(5) && !full.is_special(6) && !full.is_special(2));
        let named = (SPECIAL, r#"{"bos_token": "<s>", "pad_token": "<pad>"}"#);
        // Nothing says that a text begins with it.
        assert_eq!(open(&[json, named]).unwrap().special_token_ids(), &SpecialTokenIds::default());
    }

    #[test]
    fn a_mark_turns_a_special_token_into_text() {
        let tokenizer = open(&[("tokenizer.json", BYTES)]).unwrap();
        assert_eq!(
            tokenizer.encode_without('\u{e000}', "n<\u{e000}s>o<s>\u{e000}no"),
            [0, 1, 3, 2]
        );
        assert!(tokenizer.encode_without('\u{e000}', "").is_empty());
    }

    #[test]
    fn saving_and_opening_changes_nothing() {
        let config = r#"{"bos_token": "<s>", "add_bos_token": true, "chat_template": "{{ x }}"}"#;
        let tokenizer = open(&[("tokenizer.json", BYTES), (CONFIG, config)]).unwrap();
        let dir = tempfile::tempdir().unwrap();
        tokenizer.save(dir.path()).unwrap();
        let again = Tokenizer::open_causal(dir.path()).unwrap();
        assert_eq!(again.encode("no<s>on"), tokenizer.encode("no<s>on"));
        assert_eq!(
            (again.special_token_ids(), &again.config),
            (tokenizer.special_token_ids(), &tokenizer.config)
        );
    }

    #[test]
    fn tokenizers_that_could_fail_are_refused() {
        let refused = |files: &[(&str, &str)], cause: &str| {
            let error = open(files).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains(cause), "{error}");
        };
        refused(&[], "neither tokenizer.json nor tokenizer.model");
        refused(
            &[(OLD_VOCABULARY, "{}"), ("merges.txt", "")],
            "vocab.json and merges.txt in Python",
        );
        refused(&[("tokenizer.json", "{")], "tokenizer.json");
        let json = |from: &str, to: &str| BYTES.replace(from, to);
        let other = r#""type": "BPE", "unk_token": "?""#;
        refused(
            &[("tokenizer.json", &json(r#""type": "BPE""#, other))],
            "unknown token `?` is not in the vocabulary",
        );
        let other = r#""type": "BPE", "dropout": 0.5"#;
        refused(&[("tokenizer.json", &json(r#""type": "BPE""#, other))], "at random");
        let strip = json(
            r#""decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true,
            "use_regex": true}"#,
            r#""decoder": {"type": "Strip", "content": " ", "start": 0, "stop": 1}"#,
        );
        refused(&[("tokenizer.json", &strip)], "the decoder has a step");
        let words = r#"{"version": "1.0", "added_tokens": [], "model": {"type": "WordLevel",
            "vocab": {"a": 0}, "unk_token": "a"}}"#;
        refused(&[("tokenizer.json", words)], "not BPE");
        let json = ("tokenizer.json", BYTES);
        refused(&[json, (CONFIG, "[]")], "not a JSON object");
        refused(
            &[json, (CONFIG, r#"{"eos_token": "</s>"}"#)],
            "`</s>`, which is not in the vocabulary",
        );
        refused(&[json, (ADDED, r#"{"<image>": 7}"#)], "the next free id is 4");
        refused(&[json, (ADDED, r#"{"<image>": 2}"#)], "its id 2 belongs to `no`");
        refused(&[json, (ADDED, r#"{"<image>": "x"}"#)], "is not a number");
    }
}
