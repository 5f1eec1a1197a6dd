//! Prompt templates: the text around an image and a question.

use serde::{Deserialize, Serialize};

use super::chat::ChatTemplate;
use super::placeholder::IMAGE_TEXT;
use crate::data::{Role, Turn};
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
    Conversation {
        mode: &'static ConversationMode,
        /// The text of the token that ends an answer.
        eos: String,
    },
}

/// A conversation mode of LLaVA: how turns are written one after the other.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ConversationMode {
    name: TemplateName,
    /// The instructions, unless a conversation has its own.
    system: &'static str,
    /// The text around the instructions.
    around_system: [&'static str; 2],
    /// Whether the instructions stand inside the first question, and only where there are any.
    system_in_question: bool,
    /// The text around a question. The last of these ends the prompt.
    around_question: [&'static str; 2],
    /// The text around the answer of an earlier turn; an end token follows unless the mode has a stop text.
    around_answer: [&'static str; 2],
    /// Whether an image stands before its question, `<image>\n`, not behind it, `\n<image>`.
    image_first: bool,
    /// Text that ends an answer, besides the end token.
    stop: Option<&'static str>,
}

/// As in LLaVA-Med 1.0's evaluation, up to and including the name of the assistant.
static SIMPLE: ConversationMode = ConversationMode {
    name: TemplateName::Simple,
    system: "A chat between a curious human and an artificial intelligence assistant. The assistant \
             gives helpful, detailed, and polite answers to the human's questions.",
    around_system: ["", "###Human: Hi!###Assistant: Hi there!  How can I help you today?\n###"],
    system_in_question: false,
    around_question: ["Human: ", "###Assistant:"],
    around_answer: [" ", "###"],
    image_first: false,
    stop: Some("###"),
};

static VICUNA_V1: ConversationMode = ConversationMode {
    name: TemplateName::VicunaV1,
    system: "A chat between a curious user and an artificial intelligence assistant. The assistant \
             gives helpful, detailed, and polite answers to the user's questions.",
    around_system: ["", " "],
    system_in_question: false,
    around_question: ["USER: ", " ASSISTANT:"],
    around_answer: [" ", ""],
    image_first: true,
    stop: None,
};

static MISTRAL_INSTRUCT: ConversationMode = ConversationMode {
    name: TemplateName::MistralInstruct,
    system: "",
    around_system: ["<<SYS>>\n", "\n<</SYS>>\n\n"],
    system_in_question: true,
    around_question: ["[INST] ", " [/INST]"],
    around_answer: [" ", " "],
    image_first: true,
    stop: None,
};

impl ConversationMode {
    /// As `Conversation.get_prompt` in LLaVA's code.
    fn prompt(&self, turns: &[Turn], eos: &str) -> String {
        let [own, others]: [Vec<&Turn>; 2] = [true, false]
            .map(|own| turns.iter().filter(|t| (t.role == Role::System) == own).collect());
        let system = own.first().map_or(self.system, |turn| turn.text.as_str());
        let [before, after] = self.around_system;
        let mut system = format!("{before}{system}{after}");
        let mut prompt = String::new();
        match self.system_in_question {
            false => prompt.push_str(&std::mem::take(&mut system)),
            true if own.is_empty() => system.clear(),
            true => {}
        }
        for Turn { role, text, images } in others {
            if *role == Role::Assistant {
                let [before, after] = self.around_answer;
                let end = if self.stop.is_some() { "" } else { eos };
                prompt.push_str(&format!("{before}{text}{after}{end}"));
                continue;
            }
            let [before, after] = self.around_question;
            let [first, last] = match self.image_first {
                true => [format!("{IMAGE_TEXT}\n").repeat(*images), String::new()],
                false => [String::new(), format!("\n{IMAGE_TEXT}").repeat(*images)],
            };
            let system = std::mem::take(&mut system);
            prompt.push_str(&format!("{before}{system}{first}{text}{last}{after}"));
        }
        prompt
    }
}

impl Template {
    /// Chooses the template: the one that is `requested`, or else the checkpoint's own, or else the usual one of
    /// the language model (config.json's `model_type`). `eos` is the text that ends an answer.
    pub(super) fn choose(
        requested: Option<TemplateName>,
        chat: Option<ChatTemplate>,
        language_model: &str,
        eos: String,
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
        Ok(Self::Conversation { mode, eos })
    }

    pub(super) fn name(&self) -> TemplateName {
        match self {
            Self::Chat(_) => TemplateName::Chat,
            Self::Conversation { mode, .. } => mode.name,
        }
    }

    /// The text of a prompt, in which each image is `<image>`: the turns of a conversation, the last of which is the
    /// question, up to where the answer begins.
    pub(super) fn prompt(&self, turns: &[Turn]) -> Result<String> {
        match self {
            Self::Chat(chat) => chat.prompt(turns),
            Self::Conversation { mode, eos } => Ok(mode.prompt(turns, eos)),
        }
    }

    /// The text between a prompt and an answer, and the text after the answer.
    pub(super) fn around_answer(&self) -> (String, String) {
        match self {
            Self::Chat(chat) => chat.around_answer(),
            Self::Conversation { .. } => (" ".to_owned(), String::new()),
        }
    }

    /// The date that the template gets for today's; none if it asks for none.
    pub(super) fn date(&self) -> Option<&'static str> {
        match self {
            Self::Chat(chat) => chat.date(),
            Self::Conversation { .. } => None,
        }
    }

    /// Text that ends an answer, besides the end token.
    pub(super) fn stop(&self) -> Option<&'static str> {
        match self {
            Self::Chat(_) => None,
            Self::Conversation { mode, .. } => mode.stop,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(asked: Option<TemplateName>, chat: bool, model: &str) -> Result<TemplateName> {
        let chat = chat.then(|| ChatTemplate::new("t", "{{ messages[0].content }}", &[]).unwrap());
        Template::choose(asked, chat, model, "</s>".into()).map(|template| template.name())
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
