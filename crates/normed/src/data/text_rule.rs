//! How a model's text input is arranged: from a question and an answer to token ids.

use std::sync::Arc;

use super::{Answer, AnswerType, Example, PromptRule, Tokenizer};
use crate::{Error, Result};

/// How questions and answers become a model's input.
#[derive(Debug, Clone, PartialEq)]
pub enum TextRule {
    /// For an encoder-decoder model: the question goes to the encoder, the answer to the decoder.
    Question(QuestionRule),
    /// For a decoder-only language model: a prompt, which the answer continues.
    Prompt(Arc<PromptRule>),
}

/// The special tokens and lengths of an encoder-decoder model's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuestionRule {
    /// First token of a question: `[CLS]` in Hugging Face's layout, `[ENC]` in the original one.
    pub question_start: u32,
    /// First token of the decoder's input, `[DEC]`.
    pub decoder_start: u32,
    /// Last token of questions and answers, `[SEP]`.
    pub end: u32,
    /// Pads short rows, `[PAD]`.
    pub pad: u32,
    /// Maximum length of a question, special tokens included; longer ones are truncated.
    pub max_question_tokens: usize,
    /// Maximum length of an answer, start token included: the number of positions of the decoder. Longer
    /// ones are errors, since a truncated answer would be learned and scored as if it were whole.
    pub max_answer_tokens: usize,
}

/// When the generation of an answer stops.
#[derive(Debug, Clone, Copy)]
pub struct StopRule<'a> {
    /// Any of these tokens ends the answer, and is no part of it.
    pub tokens: &'a [u32],
    /// This text ends the answer, in the text that the tokenizer decodes.
    pub stop: Option<(&'a str, &'a Tokenizer)>,
}

impl StopRule<'_> {
    /// Whether `token` ends the answer.
    pub fn is_stop_token(&self, token: u32) -> bool {
        self.tokens.contains(&token)
    }

    /// Whether the text of the tokens `generated` so far holds the stop text.
    pub fn has_stop_text(&self, generated: &[u32]) -> bool {
        self.stop.is_some_and(|(stop, tokenizer)| tokenizer.decode(generated).contains(stop))
    }
}

/// The token ids of an example's question and answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenizedExample {
    /// The question with its special tokens; for a decoder-only model the prompt without its last token.
    pub question: Vec<u32>,
    /// First token of the decoder's input: the start token, or the last token of the prompt.
    pub start: u32,
    /// The answer, without its end token; `None` if it is not known.
    pub answer: Option<Vec<u32>>,
    /// How many tokens were truncated from the end of the question.
    pub question_cut: usize,
    /// How many tokens were truncated from the end of the answer.
    pub answer_cut: usize,
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
    /// The token that ends a training answer.
    pub fn end_token(&self) -> u32 {
        match self {
            Self::Question(rule) => rule.end,
            Self::Prompt(rule) => rule.end_token(),
        }
    }

    /// When the generation of an answer stops.
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

    /// The text of a generated answer.
    pub fn answer_text(&self, tokenizer: &Tokenizer, generated: &[u32]) -> String {
        let decoded = tokenizer.decode(generated);
        match self {
            Self::Question(_) => decoded,
            Self::Prompt(rule) => rule.answer_text(&decoded),
        }
    }

    /// The token that pads short rows.
    pub fn pad_token(&self) -> u32 {
        match self {
            Self::Question(rule) => rule.pad,
            Self::Prompt(rule) => rule.pad_token(),
        }
    }

    /// Maximum numbers of tokens: of a question, image positions included, and of the decoder's input.
    ///
    /// A prompt and its answer share the context: each is given half of it.
    pub fn max_lengths(&self) -> (usize, usize) {
        match self {
            Self::Question(rule) => (rule.max_question_tokens, rule.max_answer_tokens),
            Self::Prompt(rule) => (rule.context() - rule.context() / 2, rule.context() / 2),
        }
    }

    /// Tokenizes the question and the answer of an example, whose images take `image_tokens` positions of
    /// a prompt.
    ///
    /// A question that is too long loses its last tokens, but not its end token. A report is truncated to
    /// `max_report_tokens`, end token included, and to the model's positions.
    ///
    /// # Errors
    ///
    /// If a prompt and its answer are longer than the model's context, or an answer longer than the decoder's
    /// positions; if an example has no image and the model needs one; if a question or an answer spells a
    /// special token in a way that cannot be escaped.
    ///
    /// # Examples
    ///
    /// ```
    /// use normed::data::{QuestionRule, TextRule, Tokenizer};
    ///
    /// let words = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[DEC]\nis\nit\nnormal\n?\nno\n";
    /// let tokenizer = Tokenizer::from_words("vocab.txt".as_ref(), words)?;
    /// let rule = TextRule::from(QuestionRule {
    ///     question_start: 2,
    ///     decoder_start: 4,
    ///     end: 3,
    ///     pad: 0,
    ///     max_question_tokens: 32,
    ///     max_answer_tokens: 8,
    /// });
    /// # use normed::data::{Answer, AnswerType, Example, ImageSource, Split};
    /// let example = Example {
    ///     id: "1".into(),
    ///     images: vec![ImageSource::File("scan.png".into())],
    ///     image_name: "scan.png".into(),
    ///     question: "Is it normal?".into(),
    ///     answer: Some(Answer::new("no", AnswerType::Closed)),
    ///     split: Split::Test,
    ///     group: None,
    ///     history: Vec::new(),
    ///     place: String::new(),
    ///     attributes: Default::default(),
    /// };
    /// let tokens = rule.tokenize(&tokenizer, &example, 0, usize::MAX)?;
    /// assert_eq!(tokens.question, [2, 5, 6, 7, 8, 3]); // [CLS] is it normal ? [SEP]
    /// assert_eq!((tokens.start, tokens.answer), (4, Some(vec![9]))); // [DEC] no
    /// # Ok::<(), normed::Error>(())
    /// ```
    pub fn tokenize(
        &self,
        tokenizer: &Tokenizer,
        example: &Example,
        image_tokens: usize,
        max_report_tokens: usize,
    ) -> Result<TokenizedExample> {
        let Example { answer, images, .. } = example;
        let place = example.name();
        let mut question_cut = 0;
        let (question, start, mut answer, room) = match self {
            Self::Question(rule) => {
                if images.is_empty() {
                    let cause = "it has no image, which this model needs";
                    return Err(Error::invalid(place, cause).with_remedy(
                        "remove the row, or skip such rows: on_bad_example = \"skip\"",
                    ));
                }
                let question;
                (question, question_cut) = rule.question(tokenizer, &example.question);
                let room = rule.max_answer_tokens - 1;
                let answer = answer.as_ref().map(|answer| tokenizer.encode(&answer.text));
                (question, rule.decoder_start, answer, room)
            }
            Self::Prompt(rule) => {
                let mut question = rule.prompt(tokenizer, &place, &example.turns())?;
                let room = rule.room(question.len(), (images.len(), image_tokens)).unwrap_or(0);
                let start = question.pop().unwrap_or(rule.pad_token()); // a prompt holds the image at least
                let answer = answer.as_ref();
                let answer = answer.map(|answer| rule.answer(tokenizer, &place, &answer.text));
                (question, start, answer.transpose()?, room)
            }
        };
        let whole = answer.as_ref().map_or(0, Vec::len);
        let is_report = |answer: &Answer| answer.answer_type == AnswerType::Report;
        if let Some(tokens) = &mut answer
            && example.answer.as_ref().is_some_and(is_report)
        {
            tokens.truncate(room.min(max_report_tokens.saturating_sub(1)));
        }
        let read = answer.as_ref().map_or(0, Vec::len);
        match self {
            Self::Question(rule) => rule.check_answer(&place, read)?,
            Self::Prompt(rule) => {
                let images = (images.len(), image_tokens);
                rule.check_length(&place, question.len() + 1, images, read)?;
            }
        }
        let answer_cut = whole - read;
        Ok(TokenizedExample { question, start, answer, question_cut, answer_cut })
    }

    /// The model's positions for a generated text, which a language model's prompt shares.
    pub fn positions(&self) -> usize {
        match self {
            Self::Question(rule) => rule.max_answer_tokens,
            Self::Prompt(rule) => rule.context(),
        }
    }

    /// The rule of an encoder-decoder model, if this is one.
    pub fn as_question(&self) -> Option<&QuestionRule> {
        match self {
            Self::Question(rule) => Some(rule),
            Self::Prompt(_) => None,
        }
    }

    /// The date that a chat template gets for today's; none if it asks for none.
    pub fn prompt_date(&self) -> Option<&'static str> {
        match self {
            Self::Question(_) => None,
            Self::Prompt(rule) => rule.date(),
        }
    }
}

impl QuestionRule {
    /// Checks that an answer of this many tokens, its end token not counted, fits the decoder.
    fn check_answer(&self, place: &str, tokens: usize) -> Result<()> {
        if tokens < self.max_answer_tokens {
            return Ok(());
        }
        let (has, longest) = (tokens + 1, self.max_answer_tokens);
        let cause = format!("the answer has {has} tokens, and the decoder has {longest} positions");
        Err(Error::invalid(place, cause).with_remedy("shorten the answer, or remove the row"))
    }

    /// The tokens of a question, and how many were truncated from its end.
    fn question(&self, tokenizer: &Tokenizer, text: &str) -> (Vec<u32>, usize) {
        let mut tokens = tokenizer.encode(text);
        let room = self.max_question_tokens.saturating_sub(2);
        let cut = tokens.len().saturating_sub(room);
        tokens.truncate(room);
        tokens.insert(0, self.question_start);
        tokens.push(self.end);
        (tokens, cut)
    }
}
