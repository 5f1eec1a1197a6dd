//! Prompt templates: the text around an image and a question.

use serde::{Deserialize, Serialize};

use super::chat::ChatTemplate;
use super::placeholder::IMAGE_TEXT;
use crate::{Error, Result};

/// The name of a prompt template, as in a recipe's `template`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TemplateName {
    /// The checkpoint's own `chat_template`.
    Chat,
    /// LLaVA-Med 1.0's, for LLaMA.
    Simple,
    /// Vicuna's, as in LLaVA 1.5.
    VicunaV1,
    /// Mistral's, as in LLaVA-Med 1.5 and LLaVA 1.6.
    MistralInstruct,
}

impl TemplateName {
    /// All templates.
    pub const ALL: [Self; 4] = [Self::Chat, Self::Simple, Self::VicunaV1, Self::MistralInstruct];

    /// The name in recipes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Simple => "simple",
            Self::VicunaV1 => "vicuna_v1",
            Self::MistralInstruct => "mistral_instruct",
        }
    }
}

/// A template: the checkpoint's own, or one of LLaVA's conversation modes.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Template {
    Chat(Box<ChatTemplate>),
    Conversation(&'static ConversationMode),
}

/// A conversation mode of LLaVA: `before image \n question after`, or the image last.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ConversationMode {
    name: TemplateName,
    before: &'static str,
    after: &'static str,
    image_first: bool,
    /// Text that ends an answer, besides the end token.
    stop: Option<&'static str>,
}

/// As in LLaVA-Med 1.0's evaluation, up to and including the name of the assistant.
static SIMPLE: ConversationMode = ConversationMode {
    name: TemplateName::Simple,
    before: "A chat between a curious human and an artificial intelligence assistant. The assistant \
             gives helpful, detailed, and polite answers to the human's questions.###Human: Hi!\
             ###Assistant: Hi there!  How can I help you today?\n###Human: ",
    after: "###Assistant:",
    image_first: false,
    stop: Some("###"),
};

static VICUNA_V1: ConversationMode = ConversationMode {
    name: TemplateName::VicunaV1,
    before: "A chat between a curious user and an artificial intelligence assistant. The assistant \
             gives helpful, detailed, and polite answers to the user's questions. USER: ",
    after: " ASSISTANT:",
    image_first: true,
    stop: None,
};

static MISTRAL_INSTRUCT: ConversationMode = ConversationMode {
    name: TemplateName::MistralInstruct,
    before: "[INST] ",
    after: " [/INST]",
    image_first: true,
    stop: None,
};

impl Template {
    /// Chooses the template: the one that is `requested`, or else the checkpoint's own, or else the usual one of
    /// the language model (config.json's `model_type`).
    pub(super) fn choose(
        requested: Option<TemplateName>,
        chat: Option<ChatTemplate>,
        language_model: &str,
    ) -> Result<Self> {
        let mode = match (requested, chat) {
            (None | Some(TemplateName::Chat), Some(chat)) => return Ok(Self::Chat(Box::new(chat))),
            (Some(TemplateName::Chat), None) => {
                return Err(Error::invalid("template", "the checkpoint has no chat_template")
                    .with_remedy(
                        "choose another template: simple, vicuna_v1 or mistral_instruct",
                    ));
            }
            (Some(TemplateName::Simple), _) => &SIMPLE,
            (Some(TemplateName::VicunaV1), _) => &VICUNA_V1,
            (Some(TemplateName::MistralInstruct), _) => &MISTRAL_INSTRUCT,
            (None, None) => match language_model {
                "llama" => &VICUNA_V1,
                "mistral" => &MISTRAL_INSTRUCT,
                other => {
                    let cause = format!(
                        "the checkpoint has no chat_template, and no template is known for `{other}`"
                    );
                    return Err(Error::invalid("template", cause)
                        .with_remedy("choose one: simple, vicuna_v1 or mistral_instruct"));
                }
            },
        };
        Ok(Self::Conversation(mode))
    }

    pub(super) fn name(&self) -> TemplateName {
        match self {
            Self::Chat(_) => TemplateName::Chat,
            Self::Conversation(mode) => mode.name,
        }
    }

    /// The text of a prompt about `images` images, each of which is `<image>` in it.
    pub(super) fn prompt(&self, question: &str, images: usize) -> Result<String> {
        match self {
            Self::Chat(chat) => chat.prompt(question, images),
            Self::Conversation(ConversationMode { before, after, image_first: true, .. }) => {
                let places = format!("{IMAGE_TEXT}\n").repeat(images);
                Ok(format!("{before}{places}{question}{after}"))
            }
            Self::Conversation(ConversationMode { before, after, .. }) => {
                let places = format!("\n{IMAGE_TEXT}").repeat(images);
                Ok(format!("{before}{question}{places}{after}"))
            }
        }
    }

    /// The text between a prompt and an answer, and the text after the answer.
    pub(super) fn around_answer(&self) -> (String, String) {
        match self {
            Self::Chat(chat) => chat.around_answer(),
            Self::Conversation(_) => (" ".to_owned(), String::new()),
        }
    }

    /// The date that the template gets for today's; none if it asks for none.
    pub(super) fn date(&self) -> Option<&'static str> {
        match self {
            Self::Chat(chat) => chat.date(),
            Self::Conversation(_) => None,
        }
    }

    /// Text that ends an answer, besides the end token.
    pub(super) fn stop(&self) -> Option<&'static str> {
        match self {
            Self::Chat(_) => None,
            Self::Conversation(mode) => mode.stop,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(asked: Option<TemplateName>, chat: bool, model: &str) -> Result<TemplateName> {
        let chat = chat.then(|| ChatTemplate::new("t", "{{ messages[0].content }}", &[]).unwrap());
        Template::choose(asked, chat, model).map(|template| template.name())
    }

    #[test]
    fn the_requested_template_comes_first_and_the_kind_of_model_last() {
        use TemplateName::*;
        assert_eq!(chosen(Some(Simple), true, "mistral").unwrap(), Simple);
        assert_eq!(chosen(Some(VicunaV1), true, "mistral").unwrap(), VicunaV1);
        assert_eq!(chosen(None, true, "mistral").unwrap(), Chat);
        assert_eq!(chosen(None, false, "mistral").unwrap(), MistralInstruct);
        assert_eq!(chosen(None, false, "llama").unwrap(), VicunaV1);
        assert!(chosen(Some(Chat), false, "llama").is_err());
        let error = chosen(None, false, "opt").unwrap_err().to_string();
        assert!(error.contains("`opt`") && error.contains("vicuna_v1"), "{error}");
    }
}
