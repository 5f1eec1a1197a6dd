//! The rows that a decoder-only model reads of a batch: the prompt, the states of each image in place of its
//! token, then the decoder's tokens, with no padding in between.

use super::vision_language::{check_rows_and_labels, check_token_ids};
use crate::data::{Batch, IMAGE_TOKEN};
use crate::ops::RowSource;
use crate::{Error, Result};

/// The limits of a language model.
#[derive(Debug, Clone, Copy)]
pub(super) struct LanguageLimits {
    /// Tokens of the vocabulary.
    pub vocab_size: usize,
    /// Positions of the longest sequence.
    pub positions: usize,
}

/// The rows of a batch, padded on the right to the longest.
pub(super) struct PromptRows {
    /// `[B * T]`: where each row's embedding comes from, a token or an image's state.
    pub sources: Vec<RowSource>,
    /// Rows of a sequence, `T`.
    pub width: usize,
    /// `[B]`: rows of each sequence without padding.
    pub lengths: Vec<usize>,
    /// `[B * A]`: the indices of the decoder's positions among all rows.
    pub answers: Vec<usize>,
}

/// What follows a prompt.
#[derive(Debug, Clone, Copy)]
pub(super) enum AnswerRows {
    /// The decoder's tokens.
    Given,
    /// Tokens that are yet to be generated.
    Generated {
        /// The most there can be.
        max_new_tokens: usize,
    },
}

impl PromptRows {
    /// The rows of `batch`, whose image `p` takes `image_tokens[p]` positions.
    ///
    /// # Errors
    /// If the batch was not made for the model: rows or labels of the wrong form, token ids outside the
    /// vocabulary, another number of images in a prompt than the example has, or more rows than positions.
    pub fn new(
        limits: LanguageLimits,
        batch: &Batch,
        image_tokens: &[usize],
        answers: AnswerRows,
    ) -> Result<Self> {
        check_rows_and_labels(batch, limits.vocab_size)?;
        let mut images = ImageStates { image_tokens, first: 0 };
        let each: Result<Vec<_>> = (0..batch.keys.len())
            .map(|b| Sequence::new(limits, batch, b, &mut images, answers))
            .collect();
        Ok(Self::pad(each?, batch.decoder_input_ids.width))
    }

    fn pad(sequences: Vec<Sequence>, answer_width: usize) -> Self {
        let lengths: Vec<_> = sequences.iter().map(|sequence| sequence.sources.len()).collect();
        let width = lengths.iter().copied().max().unwrap_or(0);
        let mut answers = Vec::with_capacity(sequences.len() * answer_width);
        let mut sources = Vec::with_capacity(sequences.len() * width);
        for (b, sequence) in sequences.into_iter().enumerate() {
            // A padded decoder position reads the sequence's last row: its label does not count.
            let last = sequence.sources.len().saturating_sub(1);
            let position = |a: usize| b * width + (sequence.answer_start + a).min(last);
            answers.extend((0..answer_width).map(position));
            sources.extend(sequence.sources);
            sources.resize((b + 1) * width, RowSource::Padding);
        }
        Self { sources, width, lengths, answers }
    }

    /// The same rows after `before` virtual tokens at the start of every sequence.
    pub fn after_prompt(mut self, before: usize) -> Self {
        for answer in &mut self.answers {
            *answer += (*answer / self.width + 1) * before;
        }
        self.lengths.iter_mut().for_each(|length| *length += before);
        self
    }
}

/// The states of a batch's images, taken in order.
struct ImageStates<'a> {
    /// The number of states of each image that is left.
    image_tokens: &'a [usize],
    /// The index of the next state.
    first: usize,
}

impl ImageStates<'_> {
    /// The indices of the next image's states.
    fn next(&mut self) -> std::ops::Range<usize> {
        let (count, rest) = self.image_tokens.split_first().unwrap_or((&0, &[]));
        self.image_tokens = rest;
        self.first += count;
        self.first - count..self.first
    }
}

/// The rows of one example.
struct Sequence {
    sources: Vec<RowSource>,
    /// The row of the decoder's first token.
    answer_start: usize,
}

impl Sequence {
    fn new(
        limits: LanguageLimits,
        batch: &Batch,
        b: usize,
        images: &mut ImageStates<'_>,
        answers: AnswerRows,
    ) -> Result<Self> {
        let (prompt, decoder) = (batch.input_ids.row(b), batch.decoder_input_ids.row(b));
        let (found, expected) =
            (prompt.iter().filter(|&&id| id == IMAGE_TOKEN).count(), batch.views[b]);
        if found != expected {
            let cause = format!("example {b} has {found} images in its input_ids, not {expected}");
            return Err(Error::invalid("batch", cause)
                .with_remedy("the prompt must hold every image, and must not be cut"));
        }
        let text = prompt.iter().filter(|&&id| id != IMAGE_TOKEN);
        check_token_ids("input_ids", text, limits.vocab_size)?;
        check_token_ids("decoder_input_ids", decoder.iter(), limits.vocab_size)?;
        let mut sources = Vec::new();
        for &id in prompt {
            match id {
                IMAGE_TOKEN => sources.extend(images.next().map(RowSource::Value)),
                id => sources.push(RowSource::Table(id)),
            }
        }
        let (answer_start, text) = (sources.len(), prompt.len() - found);
        let (place, answer) = match answers {
            AnswerRows::Given => ("batch", decoder.len()),
            AnswerRows::Generated { max_new_tokens } => ("max_new_tokens", max_new_tokens),
        };
        if answer_start + answer > limits.positions {
            let states = answer_start - text;
            let cause = format!(
                "{text} tokens of the prompt's text, {states} of its images and {answer} of the answer \
                 are more than the language model's {} positions",
                limits.positions
            );
            let shorten = if answer > text { "answer" } else { "question" };
            return Err(Error::invalid(place, cause)
                .with_remedy(format!("use a shorter {shorten}, or a smaller image_size")));
        }
        if matches!(answers, AnswerRows::Given) {
            sources.extend(decoder.iter().map(|&id| RowSource::Table(id)));
        }
        Ok(Self { sources, answer_start })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{ImageSize, Images, TokenRows};
    use crate::tensor::Tensor;

    /// Images of different sizes take different numbers of positions, each its own states.
    #[test]
    fn images_take_as_many_rows_as_they_have_tokens() {
        let row = |ids: &[u32]| TokenRows {
            ids: ids.to_vec(),
            lengths: vec![ids.len()],
            width: ids.len(),
        };
        let image = Images::from_pixels(Tensor::zeros(&[2, 3, 1, 1]));
        assert_eq!(image.sizes, [ImageSize::square(1); 2]);
        let batch = Batch {
            images: image,
            views: vec![2],
            input_ids: row(&[1, IMAGE_TOKEN, 4, IMAGE_TOKEN]),
            decoder_input_ids: row(&[5, 6]),
            labels: vec![6, 2],
            target_count: 2,
            keys: vec![0],
        };
        let limits = |positions| LanguageLimits { vocab_size: 8, positions };
        let rows = PromptRows::new(limits(9), &batch, &[3, 2], AnswerRows::Given).unwrap();
        use RowSource::{Table, Value};
        let expected = [
            Table(1),
            Value(0),
            Value(1),
            Value(2),
            Table(4),
            Value(3),
            Value(4),
            Table(5),
            Table(6),
        ];
        assert_eq!(format!("{:?}", rows.sources), format!("{expected:?}"));
        assert_eq!((rows.lengths, rows.answers), (vec![9], vec![7, 8]));
        assert!(PromptRows::new(limits(8), &batch, &[3, 2], AnswerRows::Given).is_err());
    }
}
