//! How a model wants its text.

use std::sync::Arc;

use super::{AnswerType, Example, PromptRule, Tokenizer};
use crate::Result;

/// How questions and answers become a model's input.
#[derive(Debug, Clone, PartialEq)]
pub enum TextRule {
    /// A question for an encoder, an answer for a decoder.
    Question(QuestionRule),
    /// A prompt that a causal language model goes on with.
    Prompt(Arc<PromptRule>),
}

/// How a checkpoint's layout wants its text: which tokens open and close a question and an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuestionRule {
    /// Replaces the question's first token: `[CLS]` in Hugging Face's layout, `[ENC]` in the original.
    pub question_start: u32,
    /// Opens the decoder's input, `[DEC]`.
    pub decoder_start: u32,
    /// Closes questions and answers, `[SEP]`.
    pub end: u32,
    /// Fills short rows, `[PAD]`.
    pub pad: u32,
    /// The longest question, special tokens included; longer ones are cut.
    pub max_question_tokens: usize,
    /// The longest answer, start token included: as many positions as the decoder has. Longer ones
    /// are errors, since a cut answer would be learnt and scored as if it were whole.
    pub max_answer_tokens: usize,
}

/// Where a generated answer ends.
#[derive(Debug, Clone, Copy)]
pub struct StopRule<'a> {
    /// Behind any of these tokens.
    pub tokens: &'a [u32],
    /// With this text, as the tokenizer decodes what was generated.
    pub stop: Option<(&'a str, &'a Tokenizer)>,
}

impl StopRule<'_> {
    /// Whether an answer ends with `token`, which is no part of it.
    pub fn is_stop_token(&self, token: u32) -> bool {
        self.tokens.contains(&token)
    }

    /// Whether the text of what was generated so far ends the answer.
    pub fn has_stop_text(&self, generated: &[u32]) -> bool {
        self.stop.is_some_and(|(stop, tokenizer)| tokenizer.decode(generated).contains(stop))
    }
}

/// An example's text in a model's terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenizedExample {
    /// What is read before the answer, all but its last token where the model is one decoder.
    pub question: Vec<u32>,
    /// Opens the decoder's input: the start token, or the prompt's last one.
    pub start: u32,
    /// The answer, without what closes it.
    pub answer: Vec<u32>,
    /// How many tokens of it were left out at its end.
    pub cut: usize,
}

impl From<QuestionRule> for TextRule {
    fn from(rule: QuestionRule) -> Self {
        Self::Question(rule)
    }
}

impl From<PromptRule> for TextRule {
    fn from(rule: PromptRule) -> Self {
        Self::Prompt(Arc::new(rule))
    }
}

impl TextRule {
    /// Closes an answer that is learnt.
    pub fn end_token(&self) -> u32 {
        match self {
            Self::Question(rule) => rule.end,
            Self::Prompt(rule) => rule.end_token(),
        }
    }

    /// Where a generated answer ends.
    pub fn stop_rule<'a>(&'a self, tokenizer: &'a Tokenizer) -> StopRule<'a> {
        match self {
            Self::Question(rule) => {
                StopRule { tokens: std::slice::from_ref(&rule.end), stop: None }
            }
            Self::Prompt(rule) => StopRule {
                tokens: rule.end_tokens(),
                stop: rule.stop().map(|stop| (stop, tokenizer)),
            },
        }
    }

    /// What a generated answer says.
    pub fn answer_text(&self, tokenizer: &Tokenizer, generated: &[u32]) -> String {
        let decoded = tokenizer.decode(generated);
        match self {
            Self::Question(_) => decoded,
            Self::Prompt(rule) => rule.answer_text(&decoded),
        }
    }

    /// Fills short rows.
    pub fn pad_token(&self) -> u32 {
        match self {
            Self::Question(rule) => rule.pad,
            Self::Prompt(rule) => rule.pad_token(),
        }
    }

    /// The most tokens of a question, a picture's positions counted, and the most that go into the
    /// decoder. A prompt and its answer share the context; half of it each is taken.
    pub fn max_lengths(&self) -> (usize, usize) {
        match self {
            Self::Question(rule) => (rule.max_question_tokens, rule.max_answer_tokens),
            Self::Prompt(rule) => (rule.context() - rule.context() / 2, rule.context() / 2),
        }
    }

    /// An example's text in the model's terms; its images take `image_tokens` positions of a prompt. A question
    /// that is too long loses its last tokens but not the end token; a prompt that is too long is an error. A report loses what is beyond
    /// `longest_report` tokens, the closing one counted, or beyond the model's positions.
    pub fn tokenize(
        &self,
        tokenizer: &Tokenizer,
        example: &Example,
        image_tokens: usize,
        longest_report: usize,
    ) -> Result<TokenizedExample> {
        let Example { id, question, answer, images, .. } = example;
        let place = format!("example `{id}`");
        let (question, start, mut answer, room) = match self {
            Self::Question(rule) => {
                let question = rule.question(tokenizer, question);
                let room = rule.max_answer_tokens - 1;
                (question, rule.decoder_start, tokenizer.encode(answer), room)
            }
            Self::Prompt(rule) => {
                let mut question = rule.prompt(tokenizer, &place, question, images.len())?;
                let room = rule.room(question.len(), (images.len(), image_tokens)).unwrap_or(0);
                let start = question.pop().unwrap_or(rule.pad_token()); // a prompt holds the picture at least
                (question, start, rule.answer(tokenizer, &place, answer)?, room)
            }
        };
        let whole = answer.len();
        if example.answer_type == AnswerType::Report {
            answer.truncate(room.min(longest_report.saturating_sub(1)));
        }
        if let Self::Prompt(rule) = self {
            let pictures = (images.len(), image_tokens);
            rule.check_length(&place, question.len() + 1, pictures, answer.len())?;
        }
        let cut = whole - answer.len();
        Ok(TokenizedExample { question, start, answer, cut })
    }
}

impl TextRule {
    /// That of a model with an encoder for questions.
    pub fn as_question(&self) -> Option<&QuestionRule> {
        match self {
            Self::Question(rule) => Some(rule),
            Self::Prompt(_) => None,
        }
    }
}

impl QuestionRule {
    fn question(&self, tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
        let mut tokens = tokenizer.encode(text);
        tokens.truncate(self.max_question_tokens.saturating_sub(2));
        tokens.insert(0, self.question_start);
        tokens.push(self.end);
        tokens
    }
}
