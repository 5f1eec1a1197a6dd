//! The tokenizer: text to token ids, and back.

use std::path::Path;

use serde_json::Value;
use tokenizers::{AddedToken, Model, OffsetType, PreTokenizer};

use crate::data::panics;
use crate::{Error, Result, files};

/// The keys under which tokenizer_config.json names special tokens.
pub(super) const SPECIAL_TOKEN_KEYS: [&str; 4] =
    ["bos_token", "eos_token", "unk_token", "pad_token"];

/// A tokenizer: BERT's WordPiece ([`Tokenizer::open`]), or the BPE of a decoder-only language model
/// ([`Tokenizer::open_causal`]).
///
/// Tokenizers with steps that could fail are refused when they are opened: any text can be encoded, and any ids
/// decoded.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    pub(super) inner: tokenizers::Tokenizer,
    /// The content of tokenizer_config.json, which [`Tokenizer::save`] writes.
    pub(super) config: Value,
    pub(super) special_ids: SpecialTokenIds,
}

/// The ids of a language model's special tokens; `None` where the tokenizer's files do not name one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpecialTokenIds {
    /// Begins every text, `<s>`; also `None` where the files say that none does.
    pub bos: Option<u32>,
    /// Ends a text, `</s>`.
    pub eos: Option<u32>,
    /// Pads short rows.
    pub pad: Option<u32>,
}

/// Parses tokenizer.json; the error is the cause alone.
pub(super) fn parse_json(bytes: &[u8]) -> Result<tokenizers::Tokenizer, String> {
    panics::catch(|| tokenizers::Tokenizer::from_bytes(bytes).map_err(|e| e.to_string()))
}

impl Tokenizer {
    /// Encodes `text` without adding special tokens; special tokens that are written in it become their ids, as
    /// with transformers' `encode(add_special_tokens=False)`.
    ///
    /// # Panics
    ///
    /// Never: a tokenizer with steps that could fail is refused when it is opened.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let encoding = self.inner.encode_fast(text, false);
        encoding.expect("opening refuses steps that can fail").get_ids().to_vec()
    }

    /// Encodes `text` as [`Tokenizer::encode`] does, and leaves out every `mark`: a special token with a mark in
    /// it is encoded as plain text.
    pub(in crate::data) fn encode_without(&self, mark: char, text: &str) -> Vec<u32> {
        let steps = || {
            let (added, normalizer) =
                (self.inner.get_added_vocabulary(), self.inner.get_normalizer());
            let mut pieces = added.extract_and_normalize(normalizer, text);
            pieces.normalize(|piece| {
                piece.filter(|c| c != mark);
                Ok(())
            })?;
            if let Some(pre_tokenizer) = self.inner.get_pre_tokenizer() {
                pre_tokenizer.pre_tokenize(&mut pieces)?;
            }
            pieces.tokenize(|piece| self.inner.get_model().tokenize(piece.get()))?;
            pieces.into_encoding(None, 0, OffsetType::None)
        };
        steps().expect("opening refuses steps that can fail").get_ids().to_vec()
    }

    /// Decodes `ids`; special tokens are skipped, as with transformers' `decode(skip_special_tokens=True)`.
    ///
    /// # Panics
    ///
    /// Never: a tokenizer whose decoder could fail is refused when it is opened.
    pub fn decode(&self, ids: &[u32]) -> String {
        self.inner.decode(ids, true).expect("opening refuses decoders that can fail")
    }

    /// The id of a token such as `[CLS]`.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// The token with this id, as it is written in the vocabulary.
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// Whether `id` is the id of a special token.
    pub fn is_special(&self, id: u32) -> bool {
        let added = self.inner.get_added_vocabulary();
        added.simple_id_to_token(id).is_some_and(|token| added.is_special_token(&token))
    }

    /// The texts of all special tokens, ordered by id.
    pub fn special_tokens(&self) -> Vec<String> {
        let mut tokens: Vec<_> =
            self.inner.get_added_tokens_decoder().into_iter().filter(|(_, t)| t.special).collect();
        tokens.sort_unstable_by_key(|(id, _)| *id);
        tokens.into_iter().map(|(_, token)| token.content).collect()
    }

    /// The texts of the special tokens that tokenizer_config.json names, with their keys (`bos_token`).
    pub(in crate::data) fn special_token_texts(&self) -> Vec<(&'static str, String)> {
        let text = |key: &'static str| Some((key, self.config[key].as_str()?.to_owned()));
        SPECIAL_TOKEN_KEYS.into_iter().filter_map(text).collect()
    }

    /// The ids of the special tokens of a language model.
    pub fn special_token_ids(&self) -> &SpecialTokenIds {
        &self.special_ids
    }

    /// Adds the special token `token` with the id `id`, unless it is there. BLIP adds `[DEC]` and `[ENC]` to BERT's
    /// vocabulary (30522 and 30523), and the tokenizer files of its checkpoints may lack them.
    ///
    /// # Errors
    ///
    /// If the token has another id, or if `id` belongs to another token or is not the next free one.
    pub fn add_special(&mut self, token: &str, id: u32) -> Result<()> {
        self.add("tokenizer", AddedToken::from(token, true), id)
    }

    pub(super) fn add(&mut self, place: &str, token: AddedToken, id: u32) -> Result<()> {
        let place = format!("{place}, `{}`", token.content);
        if let Some(found) = self.id(&token.content).filter(|&found| found != id) {
            return Err(Error::invalid(place, format!("it has the id {found}; {id} is expected")));
        }
        if self.id(&token.content).is_none() {
            if let Some(other) = self.inner.id_to_token(id) {
                return Err(Error::invalid(place, format!("its id {id} belongs to `{other}`")));
            }
            if id as usize != self.len() {
                let cause =
                    format!("its id should be {id}, but the next free id is {}", self.len());
                return Err(Error::invalid(place, cause));
            }
        }
        if token.special {
            self.inner.add_special_tokens(&[token]);
        } else {
            self.inner.add_tokens(&[token]);
        }
        Ok(())
    }

    /// The number of tokens, added tokens included.
    #[expect(clippy::len_without_is_empty, reason = "a vocabulary holds at least [UNK]")]
    pub fn len(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// Writes tokenizer.json and the tokenizer_config.json that transformers needs.
    ///
    /// # Errors
    ///
    /// If a file cannot be written.
    pub fn save(&self, dir: &Path) -> Result<()> {
        let json = dir.join("tokenizer.json");
        let text = self.inner.to_string(true).map_err(|e| Error::failed(json.display(), e))?;
        files::write_atomically(&json, |out| out.write_all(text.as_bytes()))?;
        let path = dir.join("tokenizer_config.json");
        files::write_atomically(&path, |out| writeln!(out, "{:#}", self.config))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_cut_where_the_crate_panics_is_an_error() {
        let error =
            parse_json(br#"{"version": "1.0", "decoder": {"type": "ByteLevel","#).unwrap_err();
        assert!(error.contains("the decoder failed"), "{error}");
    }
}
