//! A checkpoint's `chat_template`: a Jinja template, rendered as transformers does.

use std::path::Path;

use minijinja::Environment;
use minijinja::value::Value;

use super::jinja::{PROMPT_DATE, TEMPLATE, chat_environment, compile};
use super::placeholder::IMAGE_TEXT;
use crate::data::{Role, Turn};
use crate::files::{CONFIG_LIMIT, read_json, read_text};
use crate::{Error, Result};

/// The folder where transformers keeps templates besides the default one.
const TEMPLATES: &str = "additional_chat_templates";
/// A question and an answer for examining the template.
const QUESTION: &str = "Is there an abnormality?";
const ANSWER: &str = "Unremarkable";

/// A chat template, compiled.
#[derive(Debug, Clone)]
pub(super) struct ChatTemplate {
    /// The file of the template.
    place: String,
    source: String,
    environment: Environment<'static>,
    /// The special tokens that a template may use, such as `bos_token`.
    tokens: Vec<(String, String)>,
    content: Content,
}

/// The content of a message: a template supports one or the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    /// A list of parts: images and a text.
    Parts,
    /// Text with `<image>` in it.
    Text,
}

impl PartialEq for ChatTemplate {
    fn eq(&self, other: &Self) -> bool {
        (&self.source, &self.tokens) == (&other.source, &other.tokens)
    }
}

impl ChatTemplate {
    /// Reads the chat template of the checkpoint in `dir`, if it has one. `tokens` are the special tokens that it
    /// may use.
    pub(super) fn open(dir: &Path, tokens: &[(&str, String)]) -> Result<Option<Self>> {
        let found = find_chat_template(dir)?;
        found.map(|(place, source)| Self::new(&place, &source, tokens)).transpose()
    }

    /// Compiles `source`, and finds out which kind of content it supports.
    pub(super) fn new(place: &str, source: &str, tokens: &[(&str, String)]) -> Result<Self> {
        let mut environment = chat_environment();
        let wrong = |cause: String| Error::invalid(place, format!("chat_template: {cause}"));
        compile(&mut environment, without_generation_tags(source)).map_err(wrong)?;
        let token = |(key, token): &(&str, String)| ((*key).to_owned(), token.clone());
        let mut template = Self {
            place: place.to_owned(),
            source: source.to_owned(),
            environment,
            tokens: tokens.iter().map(token).collect(),
            content: Content::Parts,
        };
        // A template that supports only text prints a list of parts with its keys, and has no place for the image.
        let shows_both = |text: String| {
            let keys = ["'text': '", "\"text\": \""].map(|key| format!("{key}{QUESTION}"));
            let beside_keys = keys.iter().fold(text.clone(), |text, part| text.replace(part, ""));
            text.matches(IMAGE_TEXT).count() == 1 && beside_keys.contains(QUESTION)
        };
        let question = [Turn::user(QUESTION, 1)];
        if !template.prompt(&question).is_ok_and(shows_both) {
            template.content = Content::Text;
            let text = template.prompt(&question)?;
            if !shows_both(text) {
                let cause = "chat_template: its prompts lack the question or the image";
                return Err(Error::invalid(place, cause).with_remedy(
                    "choose another template: simple, vicuna_v1 or mistral_instruct",
                ));
            }
        }
        Ok(template)
    }

    /// The date that the template gets for today's; none if it asks for none.
    pub(super) fn date(&self) -> Option<&'static str> {
        self.source.contains("strftime_now").then_some(PROMPT_DATE)
    }

    /// Renders the turns of a conversation, the last of which is the question, and the start of the assistant's
    /// answer.
    pub(super) fn prompt(&self, turns: &[Turn]) -> Result<String> {
        self.render(turns, true)
    }

    /// The text between a prompt and an answer, and the text after the answer. If the template renders whole
    /// conversations otherwise than prompts, a space is put before the answer, and nothing after it.
    pub(super) fn around_answer(&self) -> (String, String) {
        let answer = Turn { role: Role::Assistant, text: ANSWER.into(), images: 0 };
        let turns = [Turn::user(QUESTION, 1), answer];
        let prompt = self.prompt(&turns[..1]).unwrap_or_default();
        let whole = self.render(&turns, false).unwrap_or_default();
        let around = whole.strip_prefix(&prompt).and_then(|rest| rest.split_once(ANSWER));
        match around {
            Some((before, behind)) => (before.to_owned(), behind.to_owned()),
            None if prompt.ends_with(char::is_whitespace) => Default::default(),
            None => (" ".to_owned(), String::new()),
        }
    }

    /// A turn as templates expect it: its images, then its text.
    fn message(&self, Turn { role, text, images }: &Turn) -> Value {
        let content = match self.content {
            Content::Parts => {
                let mut parts = vec![map(&[("type", Value::from("image"))]); *images];
                parts.push(text_part(text));
                Value::from(parts)
            }
            Content::Text => Value::from(format!("{IMAGE_TEXT}\n").repeat(*images) + text),
        };
        message(role.name(), content)
    }

    /// As transformers does: `tools` and `documents` are none, not undefined.
    fn render(&self, turns: &[Turn], add_generation_prompt: bool) -> Result<String> {
        let messages: Vec<_> = turns.iter().map(|turn| self.message(turn)).collect();
        let mut context = vec![
            ("messages", Value::from(messages)),
            ("tools", Value::from(())),
            ("documents", Value::from(())),
            ("add_generation_prompt", Value::from(add_generation_prompt)),
        ];
        context.extend(self.tokens.iter().map(|(key, token)| (key.as_str(), token.into())));
        let template = self.environment.get_template(TEMPLATE);
        let text = template.and_then(|template| template.render(map(&context)));
        text.map_err(|e| Error::invalid(&self.place, format!("chat_template: {e}")))
    }
}

/// A map whose keys keep their order, which a template can show.
fn map(entries: &[(&str, Value)]) -> Value {
    Value::from_pairs(entries.iter().cloned())
}

fn message(role: &str, content: Value) -> Value {
    map(&[("role", role.into()), ("content", content)])
}

fn text_part(text: &str) -> Value {
    map(&[("type", "text".into()), ("text", text.into())])
}

/// Finds the `chat_template` of the checkpoint in `dir`: in chat_template.jinja, `default.jinja` of
/// `additional_chat_templates`, chat_template.json, processor_config.json or tokenizer_config.json. Returns the file
/// and the template.
pub(in crate::data) fn find_chat_template(dir: &Path) -> Result<Option<(String, String)>> {
    for jinja in [dir.join("chat_template.jinja"), dir.join(TEMPLATES).join("default.jinja")] {
        if jinja.is_file() {
            let source = read_text(&jinja, CONFIG_LIMIT)?;
            return Ok(Some((jinja.display().to_string(), source)));
        }
    }
    for file in ["chat_template.json", "processor_config.json", "tokenizer_config.json"] {
        let path = dir.join(file);
        if !path.is_file() {
            continue;
        }
        use serde_json::Value;
        let json: Value = read_json(&path)?;
        let source = match &json["chat_template"] {
            Value::Null => continue,
            Value::String(source) => Some(source.as_str()),
            Value::Object(named) => named.get("default").and_then(Value::as_str),
            several => {
                let mut named = several.as_array().into_iter().flatten();
                let default = named.find(|template| template["name"] == "default");
                default.and_then(|template| template["template"].as_str())
            }
        };
        let cause = "chat_template is neither a text nor a list that contains `default`";
        let source = source.ok_or_else(|| {
            Error::invalid(path.display(), cause).with_remedy(
                "name one of its templates `default`, or write the template into chat_template.jinja",
            )
        })?;
        return Ok(Some((path.display().to_string(), source.to_owned())));
    }
    Ok(None)
}

/// Replaces the tags `{% generation %}`, which mark the assistant's text for transformers and do not change it, by a
/// block with a scope of its own, as theirs has.
fn without_generation_tags(source: &str) -> String {
    let mut plain = String::with_capacity(source.len());
    let mut rest = source;
    while let Some((before, tag)) = rest.split_once("{%") {
        let (inside, behind) = tag.split_once("%}").unwrap_or((tag, ""));
        let word = inside.trim_matches(['-', '+', ' ', '\n', '\t', '\r']);
        let other = match word {
            "generation" => inside.replace(word, "with"),
            "endgeneration" => inside.replace(word, "endwith"),
            _ => inside.to_owned(),
        };
        plain.push_str(before);
        plain.push_str("{%");
        plain.push_str(&other);
        if inside.len() < tag.len() {
            plain.push_str("%}");
        }
        rest = behind;
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn template(source: &str) -> Result<ChatTemplate> {
        ChatTemplate::new("t.jinja", source, &[("bos_token", "<s>".into())])
    }

    #[test]
    fn operators_without_end_do_not_overflow_the_stack() {
        for (before, repeated, behind) in [
            ("", "-", "1"),
            ("", "not ", "x"),
            ("1", "+1", ""),
            ("a", ".b", ""),
            ("x", "|f", ""),
            ("1", " if 1 else 1", ""),
            ("", "[", "]"),
            ("", "(", ")"),
        ] {
            let many = repeated.repeat(40_000 / repeated.len());
            // Compiled or not, there is an answer.
            assert!(template(&format!("{{{{ {before}{many}{behind} }}}}")).is_err(), "{repeated}");
        }
        let long = template(&" ".repeat(200_000)).unwrap_err();
        assert!(long.to_string().contains("200000 bytes, where 131072 are the most"), "{long}");
    }

    /// Popular templates, and what they may use, as transformers renders them
    /// (goldens by reference/make_chat_template_goldens.py).
    #[test]
    fn templates_are_rendered_as_by_transformers() {
        #[derive(serde::Deserialize)]
        struct Case {
            name: String,
            template: String,
            content: String,
            prompt: String,
            conversation: Option<String>,
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/chat_templates.json");
        let cases: Vec<Case> = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        assert!(cases.len() > 20);
        let tokens = [("bos_token", "<s>".to_owned()), ("eos_token", "</s>".to_owned())];
        let answer = Turn { role: Role::Assistant, text: ANSWER.into(), images: 0 };
        let turns = [Turn::user(QUESTION, 1), answer];
        for Case { name, template, content, prompt, conversation } in cases {
            let chat = ChatTemplate::new("t.jinja", &template, &tokens)
                .unwrap_or_else(|e| panic!("{name}: {e}"));
            let expected = if content == "text" { Content::Text } else { Content::Parts };
            assert_eq!(chat.content, expected, "{name}");
            assert_eq!(chat.prompt(&turns[..1]).unwrap(), prompt, "{name}");
            assert_eq!(chat.render(&turns, false).ok(), conversation, "{name}");
        }
    }

    #[test]
    fn the_date_of_a_prompt_is_fixed_and_known() {
        let source = "{{ messages[0].content }}{{ strftime_now('%d %b %Y, %-m/%-d, %A %%') }}";
        let chat = template(source).unwrap();
        let prompt = chat.prompt(&[Turn::user("?", 1)]).unwrap();
        assert_eq!(prompt, "<image>\n?26 Jul 2024, 7/26, Friday %");
        assert_eq!(chat.date(), Some("2024-07-26"));
        assert_eq!(template("{{ messages[0].content }}").unwrap().date(), None);
        let error = template("{{ messages[0].content }}{{ strftime_now('%Q') }}").unwrap_err();
        assert!(error.to_string().contains("`%Q`"), "{error}");
    }

    #[test]
    fn messages_are_what_the_template_takes() {
        let text = "{{ bos_token }}{% for m in messages %}[INST] {{ m['content'].strip() }} [/INST]\
            {% endfor %}";
        let text = template(text).unwrap();
        assert_eq!(
            text.prompt(&[Turn::user("Why?", 1)]).unwrap(),
            "<s>[INST] <image>\nWhy? [/INST]"
        );
        assert_eq!(text.content, Content::Text);
        let parts = "{% for m in messages %}{{ m.role.upper() }}: \
            {% for _ in m.content | selectattr('type', 'equalto', 'image') %}{{ '<image>\n' }}{% endfor %}\
            {% for c in m.content if c.type == 'text' %}{% generation %}{{ c['text'] }} {%- endgeneration %}\
            {% endfor %}{{ '|' }}{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}";
        let parts = template(parts).unwrap();
        assert_eq!(
            parts.prompt(&[Turn::user("Why?", 1)]).unwrap(),
            "USER: <image>\nWhy?|ASSISTANT:"
        );
        assert_eq!(
            (parts.content, parts.around_answer()),
            (Content::Parts, (" ".into(), "|".into()))
        );
    }

    #[test]
    fn the_text_around_an_answer_is_that_of_the_template() {
        let around = |assistant: &str, opening: &str| {
            let source = format!(
                "{{% for m in messages %}}{{% if m.role == 'user' %}}[{{{{ m.content }}}}]{{% else %}}\
                 {assistant}{{% endif %}}{{% endfor %}}{{% if add_generation_prompt %}}{opening}{{% endif %}}"
            );
            template(&source).unwrap().around_answer()
        };
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(around(" {{ m.content }}</s>", ""), pair(" ", "</s>"));
        assert_eq!(around("A:\n{{ m.content }}<end>\n", "A:\n"), pair("", "<end>\n"));
        assert_eq!(around("{{ m.content }}", "A:"), pair(" ", ""));
        assert_eq!(around("{{ m.content }}", "A:\n"), pair("", ""));
        assert_eq!(around("{{ raise_exception('no') }}", "A:"), pair(" ", ""));
    }

    #[test]
    fn broken_and_endless_templates_are_errors() {
        for (source, cause) in [
            ("{% if %}", "chat_template"),
            ("{{ raise_exception('only pairs') }}", "only pairs"),
            ("{{ messages | no_such_filter }}", "no_such_filter"),
            (
                "{% for a in range(9999) %}{% for b in range(9999) %}.{% endfor %}{% endfor %}",
                "fuel",
            ),
            ("{{ messages[0].role }}", "lack the question"),
            ("<image>{{ messages[0].content }}", "lack the question"),
        ] {
            let error = template(source).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            let text = error.to_string();
            assert!(text.contains("t.jinja") && text.contains(cause), "{text}");
        }
    }

    #[test]
    fn files_are_looked_at_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        let open = || ChatTemplate::open(dir.path(), &[]);
        let prompt = || open().unwrap().unwrap().prompt(&[Turn::user("?", 1)]).unwrap();
        assert_eq!(open().unwrap(), None);
        write(
            "tokenizer_config.json",
            r#"{"chat_template": [{"name": "tool", "template": ""},
            {"name": "default", "template": "1{{ messages[0].content }}"}]}"#,
        );
        assert_eq!(prompt(), "1<image>\n?");
        write("chat_template.json", r#"{"chat_template": "2{{ messages[0].content }}"}"#);
        assert_eq!(prompt(), "2<image>\n?");
        fs::create_dir(dir.path().join(TEMPLATES)).unwrap();
        write("additional_chat_templates/tool.jinja", "4");
        assert_eq!(prompt(), "2<image>\n?");
        write("additional_chat_templates/default.jinja", "5{{ messages[0].content }}");
        assert_eq!(prompt(), "5<image>\n?");
        write("chat_template.jinja", "3{{ messages[0].content }}\n");
        assert_eq!(prompt(), "3<image>\n?");
        write("chat_template.jinja", "{%");
        assert!(open().is_err());
    }
}
