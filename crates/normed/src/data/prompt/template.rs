//! What stands around a picture and a question.

use serde::{Deserialize, Serialize};

use super::chat::ChatTemplate;
use super::placeholder::IMAGE_TEXT;
use crate::{Error, Result};

/// The name of a template: what a recipe's `template` may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TemplateName {
    /// The checkpoint's own `chat_template`.
    Chat,
    /// LLaVA-Med 1.0's, over LLaMA.
    Simple,
    /// Vicuna's, of LLaVA 1.5.
    VicunaV1,
    /// Mistral's, of LLaVA-Med 1.5 and LLaVA 1.6.
    MistralInstruct,
}

impl TemplateName {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Chat, Self::Simple, Self::VicunaV1, Self::MistralInstruct];

    /// What a recipe calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Simple => "simple",
            Self::VicunaV1 => "vicuna_v1",
            Self::MistralInstruct => "mistral_instruct",
        }
    }
}

/// Where a template comes from.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Template {
    Chat(Box<ChatTemplate>),
    ConversationMode(&'static ConversationMode),
}

/// A conversation mode of LLaVA's: `before picture \n question after`, or the picture last.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ConversationMode {
    name: TemplateName,
    before: &'static str,
    after: &'static str,
    picture_first: bool,
    /// What ends an answer besides the end token, in its text.
    stop: Option<&'static str>,
}

/// As LLaVA-Med 1.0's evaluation writes it, up to and with the name of whom it wants to speak.
static SIMPLE: ConversationMode = ConversationMode {
    name: TemplateName::Simple,
    before: "A chat between a curious human and an artificial intelligence assistant. The assistant \
             gives helpful, detailed, and polite answers to the human's questions.###Human: Hi!\
             ###Assistant: Hi there!  How can I help you today?\n###Human: ",
    after: "###Assistant:",
    picture_first: false,
    stop: Some("###"),
};

static VICUNA_V1: ConversationMode = ConversationMode {
    name: TemplateName::VicunaV1,
    before: "A chat between a curious user and an artificial intelligence assistant. The assistant \
             gives helpful, detailed, and polite answers to the user's questions. USER: ",
    after: " ASSISTANT:",
    picture_first: true,
    stop: None,
};

static MISTRAL_INSTRUCT: ConversationMode = ConversationMode {
    name: TemplateName::MistralInstruct,
    before: "[INST] ",
    after: " [/INST]",
    picture_first: true,
    stop: None,
};

impl Template {
    /// The one that is asked for, else the checkpoint's own, else that of its kind of language model
    /// (config.json's `model_type`).
    pub(super) fn choose(
        asked: Option<TemplateName>,
        chat: Option<ChatTemplate>,
        language_model: &str,
    ) -> Result<Self> {
        let mode = match (asked, chat) {
            (None | Some(TemplateName::Chat), Some(chat)) => return Ok(Self::Chat(Box::new(chat))),
            (Some(TemplateName::Chat), None) => {
                return Err(Error::invalid("template", "the checkpoint has no chat_template")
                    .with_remedy(
                        "name a conversation mode: simple, vicuna_v1 or mistral_instruct",
                    ));
            }
            (Some(TemplateName::Simple), _) => &SIMPLE,
            (Some(TemplateName::VicunaV1), _) => &VICUNA_V1,
            (Some(TemplateName::MistralInstruct), _) => &MISTRAL_INSTRUCT,
            (None, None) => match language_model {
                "llama" => &VICUNA_V1,
                "mistral" => &MISTRAL_INSTRUCT,
                other => {
                    let cause =
                        format!("the checkpoint has no chat_template, and `{other}` no usual one");
                    return Err(Error::invalid("template", cause)
                        .with_remedy("name one: simple, vicuna_v1 or mistral_instruct"));
                }
            },
        };
        Ok(Self::ConversationMode(mode))
    }

    pub(super) fn name(&self) -> TemplateName {
        match self {
            Self::Chat(_) => TemplateName::Chat,
            Self::ConversationMode(mode) => mode.name,
        }
    }

    /// The text of a prompt about so many pictures, the place of each in it as `<image>`.
    pub(super) fn prompt(&self, question: &str, pictures: usize) -> Result<String> {
        match self {
            Self::Chat(chat) => chat.prompt(question, pictures),
            Self::ConversationMode(ConversationMode {
                before, after, picture_first: true, ..
            }) => {
                let places = format!("{IMAGE_TEXT}\n").repeat(pictures);
                Ok(format!("{before}{places}{question}{after}"))
            }
            Self::ConversationMode(ConversationMode { before, after, .. }) => {
                let places = format!("\n{IMAGE_TEXT}").repeat(pictures);
                Ok(format!("{before}{question}{places}{after}"))
            }
        }
    }

    /// What stands between a prompt and an answer, and what behind the answer closes it.
    pub(super) fn around_answer(&self) -> (String, String) {
        match self {
            Self::Chat(chat) => chat.around_answer(),
            Self::ConversationMode(_) => (" ".to_owned(), String::new()),
        }
    }

    /// What ends an answer besides the end token, in its text.
    pub(super) fn stop(&self) -> Option<&'static str> {
        match self {
            Self::Chat(_) => None,
            Self::ConversationMode(mode) => mode.stop,
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
    fn what_is_asked_for_comes_first_and_the_kind_of_model_last() {
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
