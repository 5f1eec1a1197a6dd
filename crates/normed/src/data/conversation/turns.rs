//! The turns of a conversation as a row has them: who speaks, and what is said and shown.

use serde_json::{Map, Value};

use super::content::Content;
use crate::data::Role;
use crate::data::read_options::Answers;
use crate::data::value_text::kind_of;

/// A turn as a row has it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct WrittenTurn {
    pub role: Role,
    pub content: Content,
}

/// Reads the list of turns under `key`, and checks their order: instructions if there are any, then questions and
/// answers in turn. An answer without a question at the start, a greeting, is left out, as by LLaVA's code.
///
/// # Errors
///
/// If a turn cannot be read, or is not in its place; the cause has its number. If there is no answer and one is required,
/// or no question.
pub(super) fn read_turns(
    key: &str,
    list: &Value,
    answers: Answers,
) -> Result<Vec<WrittenTurn>, String> {
    let Value::Array(list) = list else {
        return Err(format!("`{key}` is {}, not a list of turns", kind_of(list)));
    };
    let mut turns = Vec::with_capacity(list.len());
    for (i, turn) in list.iter().enumerate() {
        let turn = read_turn(turn).map_err(|cause| format!("turn {} of `{key}` {cause}", i + 1))?;
        turns.push((i + 1, turn));
    }
    let start = usize::from(turns.first().is_some_and(|(_, turn)| turn.role == Role::System));
    if turns.get(start).is_some_and(|(_, turn)| turn.role == Role::Assistant) {
        turns.remove(start);
    }
    let expected = [Role::User, Role::Assistant].into_iter().cycle();
    for ((number, turn), expected) in turns.iter().skip(start).zip(expected) {
        if turn.role != expected {
            return Err(format!(
                "turn {number} of `{key}` is the {}'s, where the {}'s is expected",
                turn.role.name(),
                expected.name()
            ));
        }
    }
    let has = |role| turns.iter().any(|(_, turn)| turn.role == role);
    match answers {
        Answers::Required if !has(Role::Assistant) => {
            Err(format!("`{key}` has no answer of the assistant"))
        }
        Answers::Optional if !has(Role::User) => {
            Err(format!("`{key}` has no question of the user"))
        }
        _ => Ok(turns.into_iter().map(|(_, turn)| turn).collect()),
    }
}

fn read_turn(turn: &Value) -> Result<WrittenTurn, String> {
    let Value::Object(turn) = turn else {
        return Err(format!("is {}, not an object", kind_of(turn)));
    };
    let (_, role) = field(turn, &["from", "role"])?;
    let role = match role.as_str().unwrap_or_default().trim().to_lowercase().as_str() {
        "human" | "user" => Role::User,
        "gpt" | "assistant" | "model" | "bot" | "chatgpt" => Role::Assistant,
        "system" | "developer" => Role::System,
        _ => return Err(format!("is of {role}, who is no user, assistant or system")),
    };
    let (key, content) = field(turn, &["value", "content"])?;
    let content =
        Content::read(content).map_err(|cause| format!("cannot be read: `{key}` {cause}"))?;
    let is_empty = content.text.is_empty();
    match role {
        Role::User if is_empty && content.images.is_empty() => Err("is empty".into()),
        Role::Assistant if is_empty => Err("is empty".into()),
        Role::System | Role::Assistant if !content.images.is_empty() => {
            Err(format!("is the {}'s and has an image; only the user shows images", role.name()))
        }
        role => Ok(WrittenTurn { role, content }),
    }
}

/// The value of the first of `keys` that the turn has, and the key.
fn field<'t>(
    turn: &'t Map<String, Value>,
    keys: &[&'static str],
) -> Result<(&'static str, &'t Value), String> {
    let found = keys.iter().find_map(|key| turn.get(*key).map(|value| (*key, value)));
    found.ok_or_else(|| format!("has no `{}`", keys.join("` or `")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn roles(list: &Value) -> Result<String, String> {
        let turns = read_turns("messages", list, Answers::Required)?;
        let roles: Vec<_> = turns.iter().map(|turn| turn.role.name()).collect();
        Ok(roles.join(" "))
    }

    #[test]
    fn speakers_have_many_names() {
        let llava = json!([{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]);
        assert_eq!(roles(&llava).unwrap(), "user assistant");
        let share = json!([{"from": "system", "value": "a"}, {"from": "User", "value": "b"},
            {"from": "assistant", "value": "c"}, {"from": "user", "value": "d"}]);
        assert_eq!(roles(&share).unwrap(), "system user assistant user");
        let messages = json!([{"role": "assistant", "content": "Hi!"},
            {"role": "user", "content": [{"type": "text", "text": "a"}]},
            {"role": "assistant", "content": [{"type": "text", "text": "b"}]}]);
        assert_eq!(roles(&messages).unwrap(), "user assistant");
    }

    #[test]
    fn what_is_not_in_its_place_is_named() {
        let (user, model) =
            (json!({"role": "user", "content": "a"}), json!({"role": "assistant", "content": "b"}));
        for (list, cause) in [
            (json!("a"), "`messages` is a text, not a list"),
            (json!([]), "has no answer"),
            (json!([user]), "has no answer"),
            (
                json!([user, user, model]),
                "turn 2 of `messages` is the user's, where the assistant's",
            ),
            (json!([user, model, model]), "turn 3 of `messages` is the assistant's"),
            (
                json!([user, model, {"role": "system", "content": "c"}]),
                "turn 3 of `messages` is the system's",
            ),
            (
                json!([user, {"role": "tool", "content": "c"}]),
                "turn 2 of `messages` is of \"tool\"",
            ),
            (
                json!([user, {"role": "assistant"}]),
                "turn 2 of `messages` has no `value` or `content`",
            ),
            (json!([user, {"content": "b"}]), "turn 2 of `messages` has no `from` or `role`"),
            (json!([user, {"role": "assistant", "content": null}]), "`content` is null"),
            (json!([user, {"role": "assistant", "content": " "}]), "turn 2 of `messages` is empty"),
            (
                json!([user, {"role": "assistant", "content": "<image>b"}]),
                "only the user shows images",
            ),
            (json!([user, 3]), "turn 2 of `messages` is a number"),
        ] {
            let error = roles(&list).unwrap_err();
            assert!(error.contains(cause), "{list}: {error}");
        }
    }
}
