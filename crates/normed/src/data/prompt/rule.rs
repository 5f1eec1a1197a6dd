//! From a question and an answer to the tokens of a causal language model.

use std::path::Path;

use super::chat::ChatTemplate;
use super::placeholder::{IM_START_END, IMAGE_TEXT, ImagePlaceholder};
use super::special_tokens::SpecialTokenGuard;
use super::template::{Template, TemplateName};
use crate::data::{IMAGE_TOKEN, Tokenizer, Turn};
use crate::{Error, Result};

/// The question in [`PromptRule::sample_prompt`].
const SAMPLE: &str = "Is there evidence of a pneumothorax?";

/// What a checkpoint's config.json says about prompts.
#[derive(Debug, Clone)]
pub struct PromptSpec {
    /// The template that the user chose, if any.
    pub template: Option<TemplateName>,
    /// The `model_type` of the language model, `llama` or `mistral`: the last resort for choosing a template.
    pub language_model: String,
    /// What stands for an image in the text.
    pub image: ImagePlaceholder,
    /// The number of positions of the model, `max_position_embeddings`.
    pub context: usize,
    /// The tokens that end an answer, `eos_token_id` of generation_config.json or config.json. The first ends training answers, unless a chat template
    /// ends them otherwise.
    pub eos_token_ids: Vec<u32>,
    /// The token that pads short rows; if absent, the tokenizer's, or else the first end token.
    pub pad_token_id: Option<u32>,
}

/// How a decoder-only language model is prompted: a template is filled in and tokenized. Nothing is truncated.
///
/// Text of a data set cannot be mistaken for text of the template. `<image>` in a question, where conversations
/// written for LLaVA put the image, is removed, as in LLaVA-Med's evaluation. All other special tokens in a
/// question or an answer are tokenized as plain characters.
#[derive(Debug, Clone, PartialEq)]
pub struct PromptRule {
    template: Template,
    image: ImagePlaceholder,
    context: usize,
    bos: Option<u32>,
    end_tokens: Vec<u32>,
    pad: u32,
    guard: SpecialTokenGuard,
    /// The end of every prompt, and its tokens: an answer is tokenized after it.
    tail: (String, Vec<u32>),
    /// The text between a prompt and an answer.
    lead: String,
    sample: SamplePrompt,
}

/// A sample prompt, for the user to check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SamplePrompt {
    /// The text, with `<image>` where the image belongs.
    pub text: String,
    /// The token ids, with [`IMAGE_TOKEN`] where the image belongs.
    pub ids: Vec<u32>,
    /// How many of the tokens are special.
    special: usize,
}

impl PromptRule {
    /// Reads the prompt rule of the checkpoint in `dir`.
    ///
    /// # Errors
    ///
    /// If the checkpoint has no suitable template, or if tokenizer and config.json do not fit each other.
    pub fn open(dir: &Path, tokenizer: &Tokenizer, spec: PromptSpec) -> Result<Self> {
        let chat = match spec.template {
            None | Some(TemplateName::Chat) => {
                ChatTemplate::open(dir, &tokenizer.special_token_texts())?
            }
            Some(_) => None,
        };
        let texts = tokenizer.special_token_texts();
        let eos = texts.into_iter().find_map(|(key, text)| (key == "eos_token").then_some(text));
        let eos = eos.unwrap_or_else(|| "</s>".to_owned());
        let template = Template::choose(spec.template, chat, &spec.language_model, eos)?;
        Self::new(template, tokenizer, spec)
    }

    fn new(template: Template, tokenizer: &Tokenizer, spec: PromptSpec) -> Result<Self> {
        let wrong = |cause: String| Error::invalid("tokenizer", cause);
        if let ImagePlaceholder::Token(id) = spec.image
            && tokenizer.id(IMAGE_TEXT) != Some(id)
        {
            let found =
                tokenizer.id(IMAGE_TEXT).map_or("no id".into(), |id| format!("the id {id}"));
            return Err(wrong(format!("`{IMAGE_TEXT}` has {found}, but config.json says {id}")));
        }
        if spec.image == (ImagePlaceholder::Between { start_end: true })
            && let Some(token) = IM_START_END.into_iter().find(|t| tokenizer.id(t).is_none())
        {
            return Err(wrong(format!("it lacks `{token}`, which mm_use_im_start_end requires")));
        }
        let (lead, close) = template.around_answer();
        let closing = tokenizer.encode(&close).first().copied();
        let mut end_tokens = spec.eos_token_ids;
        end_tokens.extend(tokenizer.special_token_ids().eos.filter(|_| end_tokens.is_empty()));
        if let Some(closing) = closing.filter(|&id| tokenizer.is_special(id)) {
            end_tokens.retain(|&end| end != closing);
            end_tokens.insert(0, closing);
        }
        let Some(&end) = end_tokens.first() else {
            return Err(wrong("the token that ends an answer is not known".into())
                .with_remedy("set eos_token_id in config.json"));
        };
        let mut rule = Self {
            template,
            image: spec.image,
            context: spec.context,
            bos: tokenizer.special_token_ids().bos,
            pad: spec.pad_token_id.or(tokenizer.special_token_ids().pad).unwrap_or(end),
            end_tokens,
            guard: SpecialTokenGuard::new(
                tokenizer.special_tokens(),
                [IMAGE_TEXT].into_iter().chain(IM_START_END),
            ),
            tail: Default::default(),
            lead,
            sample: SamplePrompt { text: String::new(), ids: Vec::new(), special: 0 },
        };
        let text = rule.text(&[Turn::user(SAMPLE, 1)])?;
        let tail = text.rsplit_once(SAMPLE).map_or(text.as_str(), |(_, tail)| tail);
        let tail = tail.rsplit_once(IMAGE_TEXT).map_or(tail, |(_, tail)| tail);
        rule.tail = (tail.to_owned(), tokenizer.encode(tail));
        let ids = rule.tokens(tokenizer, None, &text);
        if ids.iter().filter(|&&id| id == IMAGE_TOKEN).count() != 1 || ids.ends_with(&[IMAGE_TOKEN])
        {
            let cause = "a prompt must contain the image once, and text after it";
            return Err(Error::invalid("template", cause));
        }
        let special = rule.count_special(tokenizer, &ids);
        rule.sample = SamplePrompt { text, ids, special };
        Ok(rule)
    }

    /// The name of the template.
    pub fn template(&self) -> TemplateName {
        self.template.name()
    }

    /// The date, as year, month and day, that the chat template gets for today's; none if it asks for none. It is
    /// the same on every day, so that prompts are.
    pub fn date(&self) -> Option<&'static str> {
        self.template.date()
    }

    /// The number of positions of the model.
    pub fn context(&self) -> usize {
        self.context
    }

    /// The token that ends a training answer.
    pub fn end_token(&self) -> u32 {
        self.end_tokens[0]
    }

    /// The tokens that end a generated answer.
    pub fn end_tokens(&self) -> &[u32] {
        &self.end_tokens
    }

    /// The token that pads short rows.
    pub fn pad_token(&self) -> u32 {
        self.pad
    }

    /// The text that ends an answer, besides the end tokens.
    pub fn stop(&self) -> Option<&'static str> {
        self.template.stop()
    }

    /// A sample prompt, for the user to check.
    pub fn sample_prompt(&self) -> &SamplePrompt {
        &self.sample
    }

    /// Tokenizes a prompt: the turns of a conversation, the last of which is the question. Each image becomes one
    /// [`IMAGE_TOKEN`] before the text of its turn, or behind it if the template has images there. `place` names the
    /// question in errors.
    ///
    /// # Errors
    ///
    /// If the template cannot be rendered or does not hold all turns and images; if a turn spells a special token
    /// even when it is escaped.
    pub fn prompt(&self, tokenizer: &Tokenizer, place: &str, turns: &[Turn]) -> Result<Vec<u32>> {
        let plain = |turn: &Turn| turn.text.replace(IMAGE_TEXT, "").trim().to_owned();
        let (texts, mark) = self.guard.escape(place, turns.iter().map(plain).collect())?;
        let with_text = |(turn, text): (&Turn, String)| Turn { text, ..*turn };
        let escaped: Vec<Turn> = turns.iter().zip(texts).map(with_text).collect();
        let text = self.conversation(place, &escaped)?;
        let ids = self.tokens(tokenizer, mark, &text);
        let special = match turns {
            [Turn { images: 1, .. }] => self.sample.special,
            turns => {
                let sample = |turn: &Turn| Turn { text: SAMPLE.to_owned(), ..*turn };
                let sample = self.text(&turns.iter().map(sample).collect::<Vec<_>>())?;
                self.count_special(tokenizer, &self.tokens(tokenizer, None, &sample))
            }
        };
        let images: usize = turns.iter().map(|turn| turn.images).sum();
        if self.count_special(tokenizer, &ids) != special {
            let what = if turns.len() > 1 { "conversation" } else { "question" };
            return Err(self.guard.error(place, what));
        }
        let places = ids.iter().filter(|&&id| id == IMAGE_TOKEN).count();
        if places != images {
            let cause = format!(
                "the template has places for {places} images, and the example has {images}"
            );
            return Err(Error::invalid(place, cause)
                .with_remedy("choose another template: simple, vicuna_v1 or mistral_instruct"));
        }
        Ok(ids)
    }

    /// Tokenizes an answer as it follows a prompt, without the end token. `place` names the answer in errors.
    ///
    /// # Errors
    ///
    /// If the answer spells a special token even when it is escaped.
    pub fn answer(&self, tokenizer: &Tokenizer, place: &str, answer: &str) -> Result<Vec<u32>> {
        let answer = answer.trim();
        if answer.is_empty() {
            return Ok(Vec::new());
        }
        let (answer, mark) = self.guard.escape(place, vec![answer.to_owned()])?;
        let answer = answer.concat();
        let encode = |text: &str| encode(tokenizer, mark, text);
        let (Self { lead, .. }, (tail, before)) = (self, &self.tail);
        let joint = encode(&format!("{tail}{lead}{answer}"));
        let ids = match joint.strip_prefix(before.as_slice()) {
            Some(ids) => ids.to_vec(),
            None => encode(&format!("{lead}{answer}")),
        };
        if self.count_special(tokenizer, &ids) > 0 {
            return Err(self.guard.error(place, "answer"));
        }
        Ok(ids)
    }

    /// Checks that a prompt of this many tokens, one for each image among them, and an answer fit into the
    /// context. The pair is the number of images and the positions that they take.
    ///
    /// # Errors
    ///
    /// If they do not fit.
    pub fn check_length(
        &self,
        place: &str,
        prompt: usize,
        (images, image_tokens): (usize, usize),
        answer: usize,
    ) -> Result<()> {
        // The end token is predicted, never fed.
        if self.room(prompt, (images, image_tokens)).is_some_and(|room| answer <= room) {
            return Ok(());
        }
        let prompt = prompt - images + image_tokens;
        let cause = format!(
            "the prompt takes {prompt} tokens ({image_tokens} of them for images) and the answer \
             {answer}; the model has {} positions",
            self.context,
        );
        Err(Error::invalid(place, cause).with_remedy(
            "shorten the question or the answer, or remove the example: normed truncates neither",
        ))
    }

    /// The positions left after a prompt of this many tokens, one for each image among them; none if the prompt
    /// itself is too long. The pair is the number of images and the positions that they take.
    pub fn room(&self, prompt: usize, (images, image_tokens): (usize, usize)) -> Option<usize> {
        self.context.checked_sub(prompt - images + image_tokens)
    }

    /// The text of a generated answer: up to the template's stop text, without surrounding blanks.
    pub fn answer_text(&self, decoded: &str) -> String {
        let stop = self.stop().and_then(|stop| decoded.split_once(stop));
        stop.map_or(decoded, |(answer, _)| answer).trim().to_owned()
    }

    /// The text of a prompt. A template need not support conversations, or instructions, or may leave turns out.
    fn conversation(&self, place: &str, turns: &[Turn]) -> Result<String> {
        if turns.len() == 1 {
            return self.text(turns);
        }
        let refused = |cause: String| {
            Error::invalid(place, format!("the template `{}` {cause}", self.template().name()))
                .with_remedy(
                    "remove those turns, or choose another template: simple, vicuna_v1 or mistral_instruct",
                )
        };
        let text =
            self.text(turns).map_err(|e| refused(format!("refuses its turns: {}", e.cause())))?;
        let mut rest = text.as_str();
        for (i, turn) in turns.iter().enumerate() {
            let found = rest.split_once(&turn.text).map(|(_, rest)| rest);
            rest = found.ok_or_else(|| refused(format!("leaves turn {} out", i + 1)))?;
        }
        Ok(text)
    }

    fn text(&self, turns: &[Turn]) -> Result<String> {
        let text = self.template.prompt(turns)?;
        Ok(match self.image {
            ImagePlaceholder::Between { start_end: true } => {
                let [start, end] = IM_START_END;
                text.replace(IMAGE_TEXT, &format!("{start}{IMAGE_TEXT}{end}"))
            }
            _ => text,
        })
    }

    /// Tokenizes a prompt's text, which contains `<image>` once per image.
    fn tokens(&self, tokenizer: &Tokenizer, mark: Option<char>, text: &str) -> Vec<u32> {
        let mut ids = match self.image {
            ImagePlaceholder::Between { .. } => {
                let parts: Vec<_> =
                    text.split(IMAGE_TEXT).map(|part| encode(tokenizer, mark, part)).collect();
                parts.join(&IMAGE_TOKEN)
            }
            ImagePlaceholder::Token(image) => {
                let mut ids = encode(tokenizer, mark, text);
                ids.iter_mut().filter(|id| **id == image).for_each(|id| *id = IMAGE_TOKEN);
                ids
            }
        };
        if let Some(bos) = self.bos.filter(|bos| ids.first() != Some(bos)) {
            ids.insert(0, bos);
        }
        ids
    }

    /// How many of `ids` are special tokens or image placeholders.
    fn count_special(&self, tokenizer: &Tokenizer, ids: &[u32]) -> usize {
        ids.iter().filter(|&&id| id == IMAGE_TOKEN || tokenizer.is_special(id)).count()
    }
}

/// Tokenizes `text`; an escape mark in it splits tokens and is left out.
fn encode(tokenizer: &Tokenizer, mark: Option<char>, text: &str) -> Vec<u32> {
    match mark {
        Some(mark) => tokenizer.encode_without(mark, text),
        None => tokenizer.encode(text),
    }
}
