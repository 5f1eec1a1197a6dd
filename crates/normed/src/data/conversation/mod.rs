//! Conversations in rows: LLaVA's `conversations` of `from` and `value`, and `messages` of `role` and `content`.
//!
//! Every turn of the assistant is an example: its question is the turn before it, and earlier turns are its history.

mod content;
mod examples;
mod turns;

pub(super) use examples::{
    CONVERSATION_KEYS, ConversationRow, has_conversation, image_names, own_images,
};
