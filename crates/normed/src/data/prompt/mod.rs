//! Prompts: from a question and an answer to the tokens of a causal language model.

pub(super) mod chat;
mod jinja;
mod placeholder;
mod rule;
mod special_tokens;
mod template;

pub use placeholder::ImagePlaceholder;
pub use rule::{PromptRule, PromptSpec, SamplePrompt};
pub use template::TemplateName;
