//! BERT's WordPiece tokenizer, from tokenizer.json or vocab.txt.

use std::path::Path;

use serde::{Deserialize, Serialize};
use tokenizers::decoders::wordpiece::WordPiece as WordPieceDecoder;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::bert::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::{
    AddedToken, DecoderWrapper, ModelWrapper, NormalizerWrapper, PreTokenizerWrapper,
};

use super::encode::{SpecialTokenIds, Tokenizer, parse_json};
use crate::files::{TOKENIZER_LIMIT, read_bounded, read_json};
use crate::{Error, Result};

/// The token of a word that is not in the vocabulary.
const UNKNOWN: &str = "[UNK]";
/// BERT's special tokens: skipped by [`Tokenizer::decode`].
const SPECIAL: [&str; 5] = [UNKNOWN, "[SEP]", "[PAD]", "[CLS]", "[MASK]"];

/// The keys of tokenizer_config.json that apply to vocab.txt.
#[derive(Serialize, Deserialize)]
#[serde(default)]
struct TokenizerConfig {
    tokenizer_class: String,
    do_lower_case: bool,
    strip_accents: Option<bool>,
    tokenize_chinese_chars: bool,
}

impl Default for TokenizerConfig {
    fn default() -> Self {
        Self {
            tokenizer_class: "BertTokenizer".into(),
            do_lower_case: true,
            strip_accents: None,
            tokenize_chinese_chars: true,
        }
    }
}

impl Tokenizer {
    /// Reads the WordPiece tokenizer in `dir`: tokenizer.json, or else vocab.txt with an optional
    /// tokenizer_config.json.
    ///
    /// # Errors
    ///
    /// If `dir` has neither file, if a file is damaged, or if the tokenizer is not BERT's.
    pub fn open(dir: &Path) -> Result<Self> {
        let (json, vocab) = (dir.join("tokenizer.json"), dir.join("vocab.txt"));
        if json.is_file() {
            Self::from_json(&json)
        } else if vocab.is_file() {
            Self::from_vocab(&vocab, &dir.join("tokenizer_config.json"))
        } else {
            Err(Error::invalid(dir.display(), "it contains neither tokenizer.json nor vocab.txt")
                .with_remedy("copy one of them from where the model comes from"))
        }
    }

    fn from_json(path: &Path) -> Result<Self> {
        let wrong = |cause: &dyn std::fmt::Display| Error::invalid(path.display(), cause);
        let bytes = read_bounded(path, TOKENIZER_LIMIT)?;
        let mut inner = parse_json(&bytes).map_err(|e| wrong(&e))?;
        match inner.get_model() {
            ModelWrapper::WordPiece(model) if inner.token_to_id(&model.unk_token).is_none() => {
                return Err(wrong(&format!("`{}` is not in the vocabulary", model.unk_token)));
            }
            ModelWrapper::WordPiece(_) => {}
            _ => {
                return Err(wrong(
                    &"the model is not WordPiece, the only kind that is supported for BERT",
                ));
            }
        }
        if !matches!(inner.get_normalizer(), Some(NormalizerWrapper::BertNormalizer(_))) {
            return Err(wrong(&"the normalizer is not BertNormalizer"));
        }
        if !matches!(inner.get_pre_tokenizer(), Some(PreTokenizerWrapper::BertPreTokenizer(_))) {
            return Err(wrong(&"the pre_tokenizer is not BertPreTokenizer"));
        }
        match inner.get_decoder() {
            Some(DecoderWrapper::WordPiece(_)) => {}
            None => _ = inner.with_decoder(Some(WordPieceDecoder::default())),
            Some(_) => return Err(wrong(&"the decoder is not WordPiece")),
        }
        // Files of sentence encoders also pad and truncate, which here is the collator's part.
        inner.with_padding(None);
        inner.with_truncation(None).map_err(|e| wrong(&e))?;
        Ok(Self::with_bert_config(inner))
    }

    fn from_vocab(path: &Path, config: &Path) -> Result<Self> {
        let bytes = read_bounded(path, TOKENIZER_LIMIT)?;
        let config: TokenizerConfig =
            if config.is_file() { read_json(config)? } else { TokenizerConfig::default() };
        Self::build(path, &bytes, &config)
    }

    /// A WordPiece tokenizer with the vocabulary `words`, one token per line as in vocab.txt, which treats text
    /// as bert-base-uncased does. `place` names it in errors.
    ///
    /// # Errors
    ///
    /// If `[UNK]` is missing, or a token is there twice.
    ///
    /// ```
    /// use normed::data::Tokenizer;
    ///
    /// let tokenizer = Tokenizer::from_words("vocab.txt".as_ref(), "[UNK]\nlung\n##s\nclear\n")?;
    /// assert_eq!(tokenizer.encode("Lungs clear"), [1, 2, 3]);
    /// assert_eq!(tokenizer.decode(&[1, 2, 3]), "lungs clear");
    /// # Ok::<(), normed::Error>(())
    /// ```
    pub fn from_words(place: &Path, words: &str) -> Result<Self> {
        Self::build(place, words.as_bytes(), &TokenizerConfig::default())
    }

    fn build(path: &Path, bytes: &[u8], config: &TokenizerConfig) -> Result<Self> {
        let vocab = WordPiece::read_bytes(bytes).map_err(|e| Error::invalid(path.display(), e))?;
        if !vocab.contains_key(UNKNOWN) {
            return Err(Error::invalid(path.display(), format!("it lacks the token `{UNKNOWN}`")));
        }
        let lines = bytes.split_inclusive(|&b| b == b'\n').count();
        if vocab.len() != lines {
            let cause = format!("its {lines} lines contain {} different tokens", vocab.len());
            return Err(Error::invalid(path.display(), cause));
        }
        let special: Vec<_> = SPECIAL
            .iter()
            .filter(|&&token| vocab.contains_key(token))
            .map(|&token| AddedToken::from(token, true))
            .collect();
        let model = WordPiece::builder()
            .vocab(vocab)
            .unk_token(UNKNOWN.into())
            .build()
            .map_err(|e| Error::invalid(path.display(), e))?;
        let mut inner = tokenizers::Tokenizer::new(model);
        inner
            .with_normalizer(Some(BertNormalizer::new(
                true,
                config.tokenize_chinese_chars,
                config.strip_accents,
                config.do_lower_case,
            )))
            .with_pre_tokenizer(Some(BertPreTokenizer))
            .with_decoder(Some(WordPieceDecoder::default()));
        inner.add_special_tokens(&special);
        Ok(Self::with_bert_config(inner))
    }

    /// Completes the tokenizer with the configuration that describes its normalizer.
    fn with_bert_config(inner: tokenizers::Tokenizer) -> Self {
        let mut config = TokenizerConfig::default();
        if let Some(NormalizerWrapper::BertNormalizer(rule)) = inner.get_normalizer() {
            config.do_lower_case = rule.lowercase;
            config.strip_accents = rule.strip_accents;
            config.tokenize_chinese_chars = rule.handle_chinese_chars;
        }
        let config = serde_json::to_value(&config).expect("strings and flags serialize");
        Self { inner, config, special_ids: SpecialTokenIds::default() }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// `[PAD] [UNK] [CLS] [SEP] [MASK] lung ##s no . é`
    fn vocab_dir() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let vocab = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nlung\n##s\nno\n.\né\n";
        fs::write(dir.path().join("vocab.txt"), vocab).unwrap();
        dir
    }

    #[test]
    fn vocab_txt_lowers_and_strips() {
        let tokenizer = Tokenizer::open(vocab_dir().path()).unwrap();
        assert_eq!(tokenizer.encode("LÚNGS [SEP] no."), [5, 6, 3, 7, 8]);
        assert_eq!(tokenizer.decode(&[2, 5, 6, 8, 3, 0]), "lungs.");
        assert_eq!((tokenizer.id("[SEP]"), tokenizer.id("heart")), (Some(3), None));
    }

    #[test]
    fn tokenizer_config_is_applied() {
        let dir = vocab_dir();
        fs::write(dir.path().join("tokenizer_config.json"), r#"{"do_lower_case": false}"#).unwrap();
        let tokenizer = Tokenizer::open(dir.path()).unwrap();
        assert_eq!(tokenizer.encode("lung Lung é"), [5, 1, 9]);
    }

    #[test]
    fn added_tokens_follow_the_vocabulary() {
        let mut tokenizer = Tokenizer::open(vocab_dir().path()).unwrap();
        assert!(tokenizer.add_special("[ENC]", 11).is_err());
        assert!(tokenizer.add_special("[DEC]", 5).is_err());
        tokenizer.add_special("[DEC]", 10).unwrap();
        tokenizer.add_special("[DEC]", 10).unwrap();
        tokenizer.add_special("[ENC]", 11).unwrap();
        assert!(tokenizer.add_special("[ENC]", 12).is_err());
        assert_eq!((tokenizer.len(), tokenizer.id("[ENC]")), (12, Some(11)));
        assert_eq!(tokenizer.decode(&[10, 7, 11]), "no");
    }

    #[test]
    fn saving_and_opening_changes_nothing() {
        let mut tokenizer = Tokenizer::open(vocab_dir().path()).unwrap();
        tokenizer.add_special("[DEC]", 10).unwrap();
        let dir = tempfile::tempdir().unwrap();
        tokenizer.save(dir.path()).unwrap();
        let again = Tokenizer::open(dir.path()).unwrap();
        assert_eq!(again.encode("Lungs é [DEC]"), tokenizer.encode("Lungs é [DEC]"));
        assert_eq!((again.len(), again.id("[DEC]")), (11, Some(10)));
    }

    #[test]
    fn what_is_no_bert_tokenizer_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let refused = |name: &str, text: &str| {
            fs::write(dir.path().join(name), text).unwrap();
            Tokenizer::open(dir.path()).unwrap_err().to_string()
        };
        assert!(Tokenizer::open(dir.path()).unwrap_err().to_string().contains("neither"));
        assert!(refused("vocab.txt", "a\nb\n").contains("[UNK]"));
        assert!(refused("vocab.txt", "[UNK]\na\na\n").contains("3 lines contain 2"));
        assert!(refused("tokenizer.json", "{").contains("tokenizer.json"));
        let bpe = r#"{"version": "1.0", "added_tokens": [],
            "model": {"type": "BPE", "vocab": {}, "merges": []}}"#;
        assert!(refused("tokenizer.json", bpe).contains("not WordPiece"));
    }
}
