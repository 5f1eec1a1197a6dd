//! From examples to a padded batch, by a model's rules.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};

use super::{
    Batch, Example, IGNORE, ImageRule, ImageSource, Picture, TextRule, TokenRows, Tokenizer,
};
use crate::tensor::Tensor;
use crate::{Error, Result};

/// An example in the model's terms.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// What it was made from.
    pub example: Example,
    /// `[3, size, size]`.
    pub pixels: Arc<[f32]>,
    /// The question with its special tokens.
    pub question: Vec<u32>,
    /// The answer without special tokens.
    pub answer: Vec<u32>,
}

/// Makes batches by a model's rules. Decoded pictures are cached.
pub struct Collator {
    /// For questions and answers.
    pub tokenizer: Arc<Tokenizer>,
    /// For pictures.
    pub image_rule: ImageRule,
    /// For questions and answers.
    pub text_rule: TextRule,
    cache: PictureCache,
}

impl Collator {
    /// A collator whose picture cache takes up to 512 MiB: a thousand pictures at 384 pixels.
    pub fn new(tokenizer: Arc<Tokenizer>, image_rule: ImageRule, text_rule: TextRule) -> Self {
        let cache = PictureCache { limit: 512 << 20, held: Mutex::default() };
        Self { tokenizer, image_rule, text_rule, cache }
    }

    /// The same collator with another limit on its picture cache, in bytes; 0 for none.
    #[must_use]
    pub fn with_cache_limit(mut self, bytes: usize) -> Self {
        self.cache.limit = bytes;
        self
    }

    /// One example in the model's terms.
    pub fn prepare(&self, example: &Example) -> Result<Prepared> {
        let answer = self.tokenizer.encode(&example.answer);
        let longest = self.text_rule.max_answer_tokens;
        if answer.len() >= longest {
            let cause =
                format!("the answer has {} tokens; the decoder takes {longest}", answer.len() + 1);
            return Err(Error::invalid(format!("example `{}`", example.id), cause));
        }
        let resized = match &example.image {
            ImageSource::File(path) => {
                self.cache.get(path, || Ok(self.image_rule.resize(&Picture::decode(path)?)))?
            }
            ImageSource::Drawn(picture) => Arc::new(self.image_rule.resize(picture)),
        };
        Ok(Prepared {
            pixels: self.image_rule.normalise(&resized).into(),
            question: self.question(&example.question),
            answer,
            example: example.clone(),
        })
    }

    /// Start token, tokens, end token; what is too long loses its last tokens but not the end token.
    fn question(&self, text: &str) -> Vec<u32> {
        let rule = &self.text_rule;
        let mut tokens = self.tokenizer.encode(text);
        tokens.truncate(rule.max_question_tokens.saturating_sub(2));
        tokens.insert(0, rule.question_start);
        tokens.push(rule.end);
        tokens
    }

    /// A padded batch. `epoch` enters the dropout keys, with the examples' ids.
    pub fn batch(&self, examples: &[Prepared], epoch: u64) -> Batch {
        let rule = &self.text_rule;
        let with_start = |p: &Prepared| [&[rule.decoder_start], p.answer.as_slice()].concat();
        let decoder_inputs: Vec<_> = examples.iter().map(with_start).collect();
        let decoder_input_ids = pad(decoder_inputs.iter().map(Vec::as_slice), rule.pad);

        let mut labels = Vec::with_capacity(decoder_input_ids.ids.len());
        for (b, prepared) in examples.iter().enumerate() {
            labels.extend(&prepared.answer);
            labels.push(rule.end);
            labels.resize((b + 1) * decoder_input_ids.width, IGNORE);
        }
        let size = self.image_rule.size;
        let pixels = examples.iter().flat_map(|p| p.pixels.iter().copied()).collect();
        Batch {
            pixel_values: Tensor::new(&[examples.len(), 3, size, size], pixels),
            input_ids: pad(examples.iter().map(|p| p.question.as_slice()), rule.pad),
            target_count: decoder_input_ids.lengths.iter().sum(),
            decoder_input_ids,
            labels,
            keys: examples.iter().map(|p| example_key(&p.example.id, epoch)).collect(),
        }
    }

    /// The tokens of an example's question and answer, for sorting; no picture is touched.
    pub fn length(&self, example: &Example) -> usize {
        self.question(&example.question).len() + self.tokenizer.encode(&example.answer).len() + 1
    }
}

/// The key of an example's random streams in an epoch: the same on every machine, in every batch.
fn example_key(id: &str, epoch: u64) -> u64 {
    let digest = Sha256::new().chain_update(epoch.to_le_bytes()).chain_update(id).finalize();
    let [a, b, c, d, e, f, g, h, ..] = digest.0;
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// Rows padded on the right to the longest.
fn pad<'a>(rows: impl Iterator<Item = &'a [u32]> + Clone, pad: u32) -> TokenRows {
    let lengths: Vec<usize> = rows.clone().map(<[u32]>::len).collect();
    let width = lengths.iter().copied().max().unwrap_or(0);
    let mut ids = Vec::with_capacity(lengths.len() * width);
    for (b, row) in rows.enumerate() {
        ids.extend_from_slice(row);
        ids.resize((b + 1) * width, pad);
    }
    TokenRows { ids, lengths, width }
}

/// Resized pictures by file. It keeps the first that fit and drops none: an epoch sees every
/// picture, so that dropping the oldest would drop each just before it is wanted again.
struct PictureCache {
    limit: usize,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    pictures: HashMap<PathBuf, Arc<Picture>>,
    bytes: usize,
}

impl PictureCache {
    fn get(&self, path: &Path, make: impl FnOnce() -> Result<Picture>) -> Result<Arc<Picture>> {
        // What is held is whole at any time, so that another thread's panic does not matter.
        let lock = || self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(picture) = lock().pictures.get(path) {
            return Ok(picture.clone());
        }
        let picture = Arc::new(make()?);
        let mut held = lock();
        if held.bytes + picture.rgb.len() <= self.limit
            && held.pictures.insert(path.to_owned(), picture.clone()).is_none()
        {
            held.bytes += picture.rgb.len();
        }
        Ok(picture)
    }
}
