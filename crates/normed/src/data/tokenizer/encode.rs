//! The tokenizer: text to token ids, and back.

use std::path::Path;

use serde_json::Value;
use tokenizers::{AddedToken, Model, OffsetType, PreTokenizer};

use crate::{Error, Result, files};

/// The keys under which tokenizer_config.json names special tokens.
pub(super) const SPECIAL_TOKEN_KEYS: [&str; 4] =
    ["bos_token", "eos_token", "unk_token", "pad_token"];

/// A tokenizer: BERT's word pieces ([`Tokenizer::open`]), or the byte pairs of a causal language
/// model ([`Tokenizer::open_causal`]).
///
/// Both turn down what has steps that could fail: encoding and decoding take any text and any ids.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    pub(super) inner: tokenizers::Tokenizer,
    /// tokenizer_config.json, as [`Tokenizer::save`] writes it.
    pub(super) config: Value,
    pub(super) special_ids: SpecialTokenIds,
}

/// Which tokens a causal tokenizer's files call by what they do. Absent where they do not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpecialTokenIds {
    /// Begins every text, `<s>`; absent as well where the files say that none does.
    pub bos: Option<u32>,
    /// Ends a text, `</s>`.
    pub eos: Option<u32>,
    /// Fills short rows.
    pub pad: Option<u32>,
}

impl Tokenizer {
    /// Token ids of `text`, without special tokens around it; those written out in it are taken for
    /// what they say, as transformers' `encode(add_special_tokens=False)` takes them.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let encoding = self.inner.encode_fast(text, false);
        encoding.expect("`open` lets no step in that fails").get_ids().to_vec()
    }

    /// Token ids of `text` from which every `mark` is then left out: one inside a special token's name
    /// makes text of it. The rest comes out as from [`Tokenizer::encode`].
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
        steps().expect("`open` lets no step in that fails").get_ids().to_vec()
    }

    /// The text of `ids`, special tokens skipped, as transformers' `decode(skip_special_tokens=True)`.
    pub fn decode(&self, ids: &[u32]) -> String {
        self.inner.decode(ids, true).expect("`open` lets no decoder in that fails")
    }

    /// The id of a token, `[CLS]` say.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// The token of an id, as the vocabulary spells it.
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// Whether `id` is a special token's.
    pub fn is_special(&self, id: u32) -> bool {
        let added = self.inner.get_added_vocabulary();
        added.simple_id_to_token(id).is_some_and(|token| added.is_special_token(&token))
    }

    /// The special tokens, as they are written.
    pub fn special_tokens(&self) -> Vec<String> {
        let mut tokens: Vec<_> =
            self.inner.get_added_tokens_decoder().into_iter().filter(|(_, t)| t.special).collect();
        tokens.sort_unstable_by_key(|(id, _)| *id);
        tokens.into_iter().map(|(_, token)| token.content).collect()
    }

    /// The tokens that its files name, as they are written, by their keys (`bos_token`).
    pub(in crate::data) fn special_token_texts(&self) -> Vec<(&'static str, String)> {
        let text = |key: &'static str| Some((key, self.config[key].as_str()?.to_owned()));
        SPECIAL_TOKEN_KEYS.into_iter().filter_map(text).collect()
    }

    /// What its files call which token.
    pub fn special_token_ids(&self) -> &SpecialTokenIds {
        &self.special_ids
    }

    /// Makes sure that the special token `token` has the id `id`. BLIP adds `[DEC]` and `[ENC]`
    /// behind BERT's vocabulary (30522 and 30523), and its checkpoints' tokenizer files may lack
    /// them. An id that another token has, or one beyond the vocabulary's end, is an error.
    pub fn add_special(&mut self, token: &str, id: u32) -> Result<()> {
        self.add("tokenizer", AddedToken::from(token, true), id)
    }

    pub(super) fn add(&mut self, place: &str, token: AddedToken, id: u32) -> Result<()> {
        let place = format!("{place}, `{}`", token.content);
        if let Some(found) = self.id(&token.content).filter(|&found| found != id) {
            return Err(Error::invalid(place, format!("has the id {found}, not {id}")));
        }
        if self.id(&token.content).is_none() {
            if let Some(other) = self.inner.id_to_token(id) {
                return Err(Error::invalid(place, format!("should have the id {id} of `{other}`")));
            }
            if id as usize != self.len() {
                let cause =
                    format!("should have the id {id}, but the next free one is {}", self.len());
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

    /// The number of tokens, added ones included.
    #[expect(clippy::len_without_is_empty, reason = "a vocabulary holds at least [UNK]")]
    pub fn len(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// Writes tokenizer.json, which is read again as it is, and the tokenizer_config.json that
    /// transformers wants beside it.
    pub fn save(&self, dir: &Path) -> Result<()> {
        let json = dir.join("tokenizer.json");
        let text = self.inner.to_string(true).map_err(|e| Error::failed(json.display(), e))?;
        files::write_atomically(&json, |out| out.write_all(text.as_bytes()))?;
        let path = dir.join("tokenizer_config.json");
        files::write_atomically(&path, |out| writeln!(out, "{:#}", self.config))
    }
}
