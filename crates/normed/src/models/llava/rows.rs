//! How a batch's rows become a language model's: the prompt, each picture's states in the place of its
//! token, then what goes into the decoder, without padding between.

use super::config::LlavaConfig;
use crate::data::{Batch, IGNORE_INDEX, IMAGE_TOKEN, TokenRows};
use crate::ops::RowSource;
use crate::{Error, Result};

/// The rows of a batch.
pub(super) struct Rows {
    /// `[B * T]`, of what words and pictures make.
    pub places: Vec<RowSource>,
    /// `T`.
    pub width: usize,
    /// `[B]`: without padding.
    pub lengths: Vec<usize>,
    /// `[B * A]`: which of all rows the decoder's are.
    pub answers: Vec<usize>,
}

impl Rows {
    /// Those of `batch`, whose prompts go on for `answer` tokens more. Fails where the batch does not
    /// belong to the model: rows of the wrong form, unknown tokens, other pictures than there are, too long.
    pub fn new(config: &LlavaConfig, batch: &Batch, answer: Answer) -> Result<Self> {
        let examples = batch.keys.len();
        let (prompts, decoder) = (&batch.input_ids, &batch.decoder_input_ids);
        for (name, rows) in [("input_ids", prompts), ("decoder_input_ids", decoder)] {
            check_form(name, rows, examples)?;
        }
        if batch.labels.len() != decoder.ids.len() {
            return Err(Error::invalid("batch", "labels and decoder_input_ids differ in shape"));
        }
        let vocab_size = config.text.vocab_size;
        let labels = batch.labels.iter().filter(|&&id| id != IGNORE_INDEX);
        check_ids("labels", labels, vocab_size)?;
        let states = config.states();
        let (mut each, mut picture) = (Vec::with_capacity(examples), 0);
        for b in 0..examples {
            let (prompt, own) = (prompts.row(b), decoder.row(b));
            let pictures = prompt.iter().filter(|&&id| id == IMAGE_TOKEN).count();
            let views = batch.views[b];
            if pictures != views {
                let cause =
                    format!("example {b} has {pictures} pictures in its input_ids, not {views}");
                return Err(Error::invalid("batch", cause).with_remedy(
                    "the prompt must have room for the picture; none of it may be cut",
                ));
            }
            let words = prompt.iter().filter(|&&id| id != IMAGE_TOKEN);
            check_ids("input_ids", words, vocab_size)?;
            check_ids("decoder_input_ids", own.iter(), vocab_size)?;
            let own = match answer {
                Answer::Given => own,
                Answer::Generated(_) => &[],
            };
            let mut places = Vec::with_capacity(prompt.len() + views * states + own.len());
            for &id in prompt {
                match id {
                    IMAGE_TOKEN => {
                        places.extend((picture * states..).take(states).map(RowSource::Value));
                        picture += 1;
                    }
                    id => places.push(RowSource::Table(id)),
                }
            }
            let start = places.len();
            places.extend(own.iter().map(|&id| RowSource::Table(id)));
            let lengths = [prompt.len() - views, views * states, places.len() - start];
            check_length(config, lengths, answer)?;
            each.push((start, places));
        }
        let width = each.iter().map(|(_, places)| places.len()).max().unwrap_or(0);
        let lengths: Vec<_> = each.iter().map(|(_, places)| places.len()).collect();
        let mut answers = Vec::with_capacity(decoder.ids.len());
        let mut places = Vec::with_capacity(examples * width);
        for (b, (start, own)) in each.into_iter().enumerate() {
            // What stands for padding there is the last of the row: its label does not count.
            let last = own.len().saturating_sub(1);
            answers.extend((0..decoder.width).map(|a| b * width + (start + a).min(last)));
            places.extend(own);
            places.resize((b + 1) * width, RowSource::Padding);
        }
        Ok(Self { places, width, lengths, answers })
    }

    /// The same behind `before` rows more in every sequence, which come from elsewhere.
    pub fn behind(mut self, before: usize) -> Self {
        for answer in &mut self.answers {
            *answer += (*answer / self.width + 1) * before;
        }
        self.lengths.iter_mut().for_each(|length| *length += before);
        self
    }
}

/// What stands behind a prompt.
#[derive(Clone, Copy)]
pub(super) enum Answer {
    /// The decoder's rows.
    Given,
    /// Nothing yet; so many tokens at most.
    Generated(usize),
}

fn check_form(name: &str, rows: &TokenRows, examples: usize) -> Result<()> {
    let fits = rows.lengths.len() == examples
        && rows.ids.len() == examples * rows.width
        && rows.lengths.iter().all(|length| (1..=rows.width).contains(length));
    if fits {
        return Ok(());
    }
    let cause = format!("{name} does not hold one row of at least a token an example");
    Err(Error::invalid("batch", cause))
}

fn check_ids<'i>(
    name: &str,
    mut ids: impl Iterator<Item = &'i u32>,
    vocab_size: usize,
) -> Result<()> {
    match ids.find(|&&id| id as usize >= vocab_size) {
        None => Ok(()),
        Some(&IMAGE_TOKEN) => Err(Error::invalid("batch", format!("{name} has a picture in it"))
            .with_remedy("a prompt must not end with the picture")),
        Some(id) => {
            let cause = format!("{name} has token {id}, the model {vocab_size} tokens");
            Err(Error::invalid("batch", cause)
                .with_remedy("the tokenizer does not belong to this checkpoint"))
        }
    }
}

/// Of the prompt, its pictures, and the answer that is given.
fn check_length(
    config: &LlavaConfig,
    [words, states, given]: [usize; 3],
    answer: Answer,
) -> Result<()> {
    let positions = config.text.positions();
    let (place, tokens) = match answer {
        Answer::Given => ("batch", given),
        Answer::Generated(most) => ("max_new_tokens", most),
    };
    if words + states + tokens <= positions {
        return Ok(());
    }
    let cause = format!(
        "{words} tokens of the prompt, {states} of the picture and {tokens} of the answer are more \
         than the language model's {positions} positions"
    );
    let text = if tokens > words { "a shorter answer" } else { "a shorter question" };
    Err(Error::invalid(place, cause)
        .with_remedy(format!("what helps: {text}, or a smaller image_size")))
}
