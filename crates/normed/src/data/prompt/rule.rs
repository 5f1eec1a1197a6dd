//! From a question and an answer to the tokens of a causal language model.

use std::path::Path;

use super::chat::ChatTemplate;
use super::placeholder::{IM_START_END, IMAGE_TEXT, ImagePlaceholder};
use super::special_tokens::SpecialTokenGuard;
use super::template::{Template, TemplateName};
use crate::data::{IMAGE_TOKEN, Tokenizer};
use crate::{Error, Result};

/// The question of [`PromptRule::sample_prompt`].
const SAMPLE: &str = "Is there evidence of a pneumothorax?";

/// What a prompt is made by, as a checkpoint's config.json says it.
#[derive(Debug, Clone)]
pub struct PromptSpec {
    /// The template that is asked for.
    pub template: Option<TemplateName>,
    /// `model_type` of the language model, `llama` or `mistral`: decides where nothing else does.
    pub language_model: String,
    /// How the picture stands in the text.
    pub image: ImagePlaceholder,
    /// The positions that there are, `max_position_embeddings`.
    pub context: usize,
    /// What ends an answer, `eos_token_id`, one or several. The first closes answers that are learnt,
    /// unless a chat template closes them otherwise.
    pub eos_token_ids: Vec<u32>,
    /// Fills short rows, if the config has a say; the tokenizer's, or what ends an answer, if not.
    pub pad_token_id: Option<u32>,
}

/// How a causal language model is asked: a template, filled in and tokenised. Nothing is ever cut.
///
/// What a data set says cannot pass for what the template says. `<image>` in a question, where
/// conversations written for LLaVA put the picture, is left out, as LLaVA-Med's evaluation does; all
/// other special tokens, and all in an answer, are read as the characters that they are written in.
#[derive(Debug, Clone, PartialEq)]
pub struct PromptRule {
    template: Template,
    image: ImagePlaceholder,
    context: usize,
    bos: Option<u32>,
    end_tokens: Vec<u32>,
    pad: u32,
    guard: SpecialTokenGuard,
    /// What every prompt ends with, and its tokens: an answer is tokenised behind it.
    tail: (String, Vec<u32>),
    /// What stands between a prompt and an answer.
    lead: String,
    sample: SamplePrompt,
}

/// A prompt to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SamplePrompt {
    /// With `<image>` in the picture's place.
    pub text: String,
    /// With [`IMAGE_TOKEN`] in the picture's place.
    pub ids: Vec<u32>,
    /// How many of them are special.
    special: usize,
}

impl PromptRule {
    /// The rule of the checkpoint in `dir`, whose tokenizer is `tokenizer`.
    pub fn open(dir: &Path, tokenizer: &Tokenizer, spec: PromptSpec) -> Result<Self> {
        let chat = match spec.template {
            None | Some(TemplateName::Chat) => {
                ChatTemplate::open(dir, &tokenizer.special_token_texts())?
            }
            Some(_) => None,
        };
        let template = Template::choose(spec.template, chat, &spec.language_model)?;
        Self::new(template, tokenizer, spec)
    }

    fn new(template: Template, tokenizer: &Tokenizer, spec: PromptSpec) -> Result<Self> {
        let wrong = |cause: String| Error::invalid("tokenizer", cause);
        if let ImagePlaceholder::Token(id) = spec.image
            && tokenizer.id(IMAGE_TEXT) != Some(id)
        {
            let found =
                tokenizer.id(IMAGE_TEXT).map_or("no id".into(), |id| format!("the id {id}"));
            return Err(wrong(format!("`{IMAGE_TEXT}` has {found}; config.json says {id}")));
        }
        if spec.image == (ImagePlaceholder::Between { start_end: true })
            && let Some(token) = IM_START_END.into_iter().find(|t| tokenizer.id(t).is_none())
        {
            return Err(wrong(format!("lacks `{token}`, which mm_use_im_start_end asks for")));
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
            return Err(wrong("nothing says which token end_tokens an answer".into())
                .with_remedy("config.json's eos_token_id names it"));
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
        let text = rule.text(SAMPLE, 1)?;
        let tail = text.rsplit_once(SAMPLE).map_or(text.as_str(), |(_, tail)| tail);
        let tail = tail.rsplit_once(IMAGE_TEXT).map_or(tail, |(_, tail)| tail);
        rule.tail = (tail.to_owned(), tokenizer.encode(tail));
        let ids = rule.tokens(tokenizer, None, &text);
        if ids.iter().filter(|&&id| id == IMAGE_TOKEN).count() != 1 || ids.ends_with(&[IMAGE_TOKEN])
        {
            let cause = "a prompt must hold the picture once, and text behind it";
            return Err(Error::invalid("template", cause));
        }
        let special = rule.special(tokenizer, &ids);
        rule.sample = SamplePrompt { text, ids, special };
        Ok(rule)
    }

    /// The template's name.
    pub fn template(&self) -> TemplateName {
        self.template.name()
    }

    /// The positions that there are.
    pub fn context(&self) -> usize {
        self.context
    }

    /// Closes an answer that is learnt.
    pub fn end_token(&self) -> u32 {
        self.end_tokens[0]
    }

    /// What a generated answer ends with, any of them.
    pub fn end_tokens(&self) -> &[u32] {
        &self.end_tokens
    }

    /// Fills short rows.
    pub fn pad_token(&self) -> u32 {
        self.pad
    }

    /// What ends an answer besides a token: this text in it.
    pub fn stop(&self) -> Option<&'static str> {
        self.template.stop()
    }

    /// A prompt to look at.
    pub fn sample_prompt(&self) -> &SamplePrompt {
        &self.sample
    }

    /// The tokens of a prompt about so many images, with one [`IMAGE_TOKEN`] each. `place` names the
    /// question in errors.
    pub fn prompt(
        &self,
        tokenizer: &Tokenizer,
        place: &str,
        question: &str,
        images: usize,
    ) -> Result<Vec<u32>> {
        let question = question.replace(IMAGE_TEXT, "");
        let (question, mark) = self.guard.disarm(place, question.trim())?;
        let ids = self.tokens(tokenizer, mark, &self.text(&question, images)?);
        let special = match images {
            1 => self.sample.special,
            several => {
                let sample = self.tokens(tokenizer, None, &self.text(SAMPLE, several)?);
                self.special(tokenizer, &sample)
            }
        };
        if self.special(tokenizer, &ids) != special {
            return Err(self.guard.pierced(place, "question"));
        }
        let places = ids.iter().filter(|&&id| id == IMAGE_TOKEN).count();
        if places != images {
            let cause = format!("the template has {places} places for {images} images");
            return Err(Error::invalid(place, cause).with_remedy(
                "`template` names another one: simple, vicuna_v1 or mistral_instruct",
            ));
        }
        Ok(ids)
    }

    /// The tokens of an answer, as they follow those of a prompt; the end is not among them.
    pub fn answer(&self, tokenizer: &Tokenizer, place: &str, answer: &str) -> Result<Vec<u32>> {
        let answer = answer.trim();
        if answer.is_empty() {
            return Ok(Vec::new());
        }
        let (answer, mark) = self.guard.disarm(place, answer)?;
        let encode = |text: &str| encode(tokenizer, mark, text);
        let (Self { lead, .. }, (tail, before)) = (self, &self.tail);
        let joint = encode(&format!("{tail}{lead}{answer}"));
        let ids = match joint.strip_prefix(before.as_slice()) {
            Some(ids) => ids.to_vec(),
            None => encode(&format!("{lead}{answer}")),
        };
        if self.special(tokenizer, &ids) > 0 {
            return Err(self.guard.pierced(place, "answer"));
        }
        Ok(ids)
    }

    /// Checks that a prompt of this many tokens, one for each image among them, and an answer fit into the
    /// context. The pair is the number of images and the positions that they take.
    ///
    /// # Errors
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
            "the prompt takes {prompt} tokens ({image_tokens} of them the picture's) and the answer \
             {answer}; the model has {} positions",
            self.context,
        );
        Err(Error::invalid(place, cause).with_remedy(
            "shorten the question or the answer, or leave the example out: nothing is cut, since what \
             is cut would be missing from what is learnt",
        ))
    }

    /// The positions left after a prompt of this many tokens, one for each image among them; none if the prompt
    /// itself is too long. The pair is the number of images and the positions that they take.
    pub fn room(&self, prompt: usize, (images, image_tokens): (usize, usize)) -> Option<usize> {
        self.context.checked_sub(prompt - images + image_tokens)
    }

    /// What a generated answer says: up to the template's stop, without space around it.
    pub fn answer_text(&self, decoded: &str) -> String {
        let stop = self.stop().and_then(|stop| decoded.split_once(stop));
        stop.map_or(decoded, |(answer, _)| answer).trim().to_owned()
    }

    fn text(&self, question: &str, images: usize) -> Result<String> {
        let text = self.template.prompt(question, images)?;
        Ok(match self.image {
            ImagePlaceholder::Between { start_end: true } => {
                let [start, end] = IM_START_END;
                text.replace(IMAGE_TEXT, &format!("{start}{IMAGE_TEXT}{end}"))
            }
            _ => text,
        })
    }

    /// The tokens of a prompt's text, which holds `<image>` once a picture.
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

    /// How many of `ids` are special, the picture's place among them.
    fn special(&self, tokenizer: &Tokenizer, ids: &[u32]) -> usize {
        ids.iter().filter(|&&id| id == IMAGE_TOKEN || tokenizer.is_special(id)).count()
    }
}

/// The tokens of `text`, from which the mark, if there is one, is left out.
fn encode(tokenizer: &Tokenizer, mark: Option<char>, text: &str) -> Vec<u32> {
    match mark {
        Some(mark) => tokenizer.encode_without(mark, text),
        None => tokenizer.encode(text),
    }
}
