//! MISS (Chen et al. 2024, arXiv 2401.05163), which is BLIP's model for visual question answering
//! (Li et al. 2022, arXiv 2201.12086): image -> vision transformer; question -> BERT that
//! cross-attends to the image; answer -> BERT decoder that cross-attends to the question's states.

use std::sync::Arc;

use super::bert::{Bert, Head};
use super::config::MissConfig;
use super::vit::Vit;
use super::{Decoding, Model};
use crate::data::{Batch, IGNORE, TokenRows};
use crate::nn::{BlockCache, Drops, Mode, Seen};
use crate::tensor::{Graph, Parameters, Tensor, Tower, Var};
use crate::{Error, Result};

/// The model; its parameters live in [`Parameters`].
#[derive(Debug, Clone)]
pub struct Miss {
    config: MissConfig,
    vision: Vit,
    text: Bert,
    decoder: Bert,
    head: Head,
}

impl Miss {
    /// Declares every parameter under the name that `BlipForQuestionAnswering` gives it, in its
    /// order. `config` must have passed [`MissConfig::check`], as those that were read have.
    pub fn declare(config: &MissConfig, params: &mut Parameters) -> Self {
        let vision = Vit::declare(&mut params.scope(Tower::Vision, "vision_model"), &config.vision);
        let (text_config, width) = (&config.text, config.vision.hidden_size);
        let scope = &mut params.scope(Tower::Text, "text_encoder");
        let text = Bert::declare(scope, text_config, width);
        let scope = &mut params.scope(Tower::Decoder, "text_decoder");
        let decoder = Bert::declare(&mut scope.sub("bert"), text_config, text_config.hidden_size);
        let head = Head::declare(&mut scope.sub("cls.predictions"), text_config, decoder.words());
        Self { config: config.clone(), vision, text, decoder, head }
    }

    /// The sizes it was declared with.
    pub fn config(&self) -> &MissConfig {
        &self.config
    }

    /// The question's states `[B, T, C]`.
    fn encode(&self, g: &mut Graph<'_>, batch: &Batch, mode: Mode) -> Var {
        let drop_path = match mode {
            Mode::Evaluate => 0.0,
            Mode::Train(noise) => noise.drop_path,
        };
        let drops = self.drops(batch, mode, Tower::Vision);
        let image = self.vision.forward(g, &batch.pixel_values, &drops, drop_path);
        let drops = self.drops(batch, mode, Tower::Text);
        let own = Seen { causal: false, lengths: lengths(&batch.input_ids) };
        self.text.forward(g, &batch.input_ids, &own, &image, &Seen::default(), &drops)
    }

    fn drops<'b>(&self, batch: &'b Batch, mode: Mode, tower: Tower) -> Drops<'b> {
        let Mode::Train(noise) = mode else { return Drops::none() };
        let (hidden, probabilities) = match (tower, noise.dropout) {
            (Tower::Vision, _) => (0.0, self.config.vision.attention_dropout as f32),
            (_, Some(rate)) => (rate, rate),
            (_, None) => {
                let text = &self.config.text;
                (text.hidden_dropout_prob as f32, text.attention_probs_dropout_prob as f32)
            }
        };
        Drops::new(noise.seed, &batch.keys, tower, hidden, probabilities)
    }

    /// What of a batch this model cannot take: the wrong image size, tokens outside the vocabulary,
    /// rows longer than the positions go.
    fn check(&self, batch: &Batch) -> Result<()> {
        let (vision, size) = (&batch.pixel_values, self.config.vision.image_size);
        let examples = batch.keys.len();
        if vision.shape() != [examples, 3, size, size] {
            let shape = vision.shape();
            let cause = format!("pixel_values are {shape:?}, not [{examples}, 3, {size}, {size}]");
            return Err(Error::invalid("batch", cause)
                .hint("pictures must be prepared by this model's image rule"));
        }
        self.check_rows("input_ids", &batch.input_ids, examples)?;
        self.check_rows("decoder_input_ids", &batch.decoder_input_ids, examples)?;
        if batch.labels.len() != batch.decoder_input_ids.ids.len() {
            return Err(Error::invalid("batch", "labels and decoder_input_ids differ in shape"));
        }
        self.check_ids("labels", batch.labels.iter().filter(|&&id| id != IGNORE))
    }

    fn check_rows(&self, name: &str, rows: &TokenRows, examples: usize) -> Result<()> {
        let positions = self.config.text.max_position_embeddings;
        if rows.width > positions {
            let cause =
                format!("{name} has {} tokens, the model {positions} positions", rows.width);
            return Err(Error::invalid("batch", cause).hint("shorten the text"));
        }
        let fits = rows.lengths.len() == examples
            && rows.ids.len() == examples * rows.width
            && rows.lengths.iter().all(|length| (1..=rows.width).contains(length));
        if !fits {
            let cause = format!("{name} does not hold one row of at least a token an example");
            return Err(Error::invalid("batch", cause));
        }
        self.check_ids(name, rows.ids.iter())
    }

    fn check_ids<'i>(&self, name: &str, mut ids: impl Iterator<Item = &'i u32>) -> Result<()> {
        let vocab_size = self.config.text.vocab_size;
        match ids.find(|&&id| id as usize >= vocab_size) {
            None => Ok(()),
            Some(id) => {
                let cause = format!("{name} has token {id}, the model {vocab_size} tokens");
                Err(Error::invalid("batch", cause)
                    .hint("the tokenizer does not belong to this checkpoint"))
            }
        }
    }
}

/// The number of tokens in each row, if some are padded.
fn lengths(rows: &TokenRows) -> Option<Arc<[usize]>> {
    rows.lengths.iter().any(|&n| n < rows.width).then(|| rows.lengths.as_slice().into())
}

impl Model for Miss {
    fn forward(&self, g: &mut Graph<'_>, batch: &Batch, mode: Mode) -> Result<Var> {
        self.check(batch)?;
        let states = self.encode(g, batch, mode);
        let drops = self.drops(batch, mode, Tower::Decoder);
        // Padding stands on the right, so that no real position sees any of it.
        let own = Seen { causal: true, lengths: None };
        let cross = Seen { causal: false, lengths: lengths(&batch.input_ids) };
        let x = self.decoder.forward(g, &batch.decoder_input_ids, &own, &states, &cross, &drops);
        Ok(self.head.forward(g, &x))
    }

    fn start<'m>(
        &'m self,
        params: &'m Parameters,
        batch: &Batch,
        max_new_tokens: usize,
    ) -> Result<Box<dyn Decoding + 'm>> {
        self.check(batch)?;
        let positions = self.config.text.max_position_embeddings;
        if max_new_tokens > positions {
            let cause = format!("{max_new_tokens} tokens, but the model has {positions} positions");
            return Err(Error::invalid("max_new_tokens", cause));
        }
        let mut g = Graph::inference(params);
        let states = self.encode(&mut g, batch, Mode::Evaluate);
        let caches = self.decoder.caches(&mut g, &states, max_new_tokens);
        let examples = batch.keys.len();
        Ok(Box::new(MissDecoding {
            model: self,
            params,
            caches,
            lengths: batch.input_ids.lengths.clone(),
            examples: (0..examples).collect(),
            position: 0,
        }))
    }
}

/// Answers being decoded.
struct MissDecoding<'m> {
    model: &'m Miss,
    params: &'m Parameters,
    caches: Vec<BlockCache>,
    /// Of the question of each row.
    lengths: Vec<usize>,
    /// The example of each row.
    examples: Vec<usize>,
    /// Of the next token.
    position: usize,
}

impl Decoding for MissDecoding<'_> {
    fn step(&mut self, tokens: &[u32]) -> Tensor {
        let g = &mut Graph::inference(self.params);
        let cross = Seen { causal: false, lengths: Some(self.lengths.as_slice().into()) };
        let x = self.model.decoder.step(g, tokens, self.position, &mut self.caches, &cross);
        self.position += 1;
        let logits = self.model.head.forward(g, &x).value;
        let vocab_size = logits.width();
        logits.reshaped(&[tokens.len(), vocab_size])
    }

    fn reorder(&mut self, from: &[usize]) {
        if from.iter().copied().eq(0..self.examples.len()) {
            return;
        }
        let examples: Vec<_> = from.iter().map(|&row| self.examples[row]).collect();
        // Beams of one example share its question: as long as they stay in their places, its keys
        // and values need not move.
        let moved = examples != self.examples;
        for cache in &mut self.caches {
            cache.own.reorder(from);
            if moved {
                cache.cross.reorder(from);
            }
        }
        self.lengths = from.iter().map(|&row| self.lengths[row]).collect();
        self.examples = examples;
    }
}
