//! One row of an annotation file, and its fields.

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::json_text::find_foreign;
use super::value_text::{answer_of, kind_of, text_of};
use super::{Answer, AnswerType, Attributes, Example, Split};
use crate::{Error, Result};

/// One row of a file, whose fields are not checked yet.
pub(super) struct Row {
    /// File and line of the row.
    pub place: String,
    /// Prefix of each cause: the number of the row, where a line can hold several rows.
    pub prefix: String,
    /// The fields, or why the row has none.
    fields: Result<Map<String, Value>, String>,
}

/// A checked row: an example, or the cause why it is broken.
pub(super) struct CheckedRow {
    pub place: String,
    pub example: Result<Example, String>,
    /// Whether the row states no `answer_type`, so that the type of an answer is derived.
    pub is_untyped: bool,
}

impl Row {
    /// A row with these fields.
    pub fn new(place: String, fields: Map<String, Value>) -> Self {
        Self { place, prefix: String::new(), fields: Ok(fields) }
    }

    /// A row whose fields are in `json`, the text of a JSON object.
    pub fn parse(place: String, prefix: String, json: &str) -> Self {
        Self { place, prefix, fields: parse_fields(json) }
    }

    /// Makes an example of the row by `make`, whose error is the cause why the row is broken.
    pub fn check(self, make: impl FnOnce(&Fields<'_>) -> Result<Example, String>) -> CheckedRow {
        let (is_untyped, example) = self.make(make);
        CheckedRow { place: self.place, example, is_untyped }
    }

    /// Makes the examples of a row that can have several; as [`Row::check`].
    pub fn check_all(
        self,
        make: impl FnOnce(&Fields<'_>) -> Result<Vec<Example>, String>,
    ) -> Vec<CheckedRow> {
        let (is_untyped, examples) = self.make(make);
        let row = |example| CheckedRow { place: self.place.clone(), example, is_untyped };
        match examples {
            Ok(examples) => examples.into_iter().map(|example| row(Ok(example))).collect(),
            Err(cause) => vec![row(Err(cause))],
        }
    }

    /// Whether the row states no answer type, and what `make` makes of its fields.
    fn make<T>(
        &self,
        make: impl FnOnce(&Fields<'_>) -> Result<T, String>,
    ) -> (bool, Result<T, String>) {
        let is_untyped = self.fields().is_some_and(|fields| fields.value("answer_type").is_none());
        let made = match &self.fields {
            Ok(fields) => make(&Fields(fields)),
            Err(cause) => Err(cause.clone()),
        };
        (is_untyped, made.map_err(|cause| format!("{}{cause}", self.prefix)))
    }

    /// The fields of the row, or an error that names its place.
    pub fn into_object(self) -> Result<Map<String, Value>> {
        let Self { place, prefix, fields } = self;
        fields.map_err(|cause| Error::invalid(place, format!("{prefix}{cause}")))
    }

    /// The fields of the row, if it has any.
    pub fn fields(&self) -> Option<Fields<'_>> {
        self.fields.as_ref().ok().map(Fields)
    }
}

/// The fields of one row. Each error names the field and what is wrong with it.
pub(super) struct Fields<'a>(pub &'a Map<String, Value>);

impl<'a> Fields<'a> {
    /// The value under `key`; `None` if it is absent or null.
    pub fn value(&self, key: &str) -> Option<&'a Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    /// Checks that each key has a value. An entry with several keys, separated by `|`, needs one of them.
    ///
    /// All that are missing are named at once, each by its first key.
    pub fn require(&self, keys: &[&str]) -> Result<(), String> {
        let is_missing = |keys: &&&str| keys.split('|').all(|key| self.value(key).is_none());
        let name = |keys: &&str| format!("`{}`", keys.split('|').next().unwrap_or(keys));
        let absent: Vec<&&str> = keys.iter().filter(is_missing).collect();
        let missing: Vec<_> = absent.iter().map(|keys| name(keys)).collect();
        let cause = match missing.as_slice() {
            [] => return Ok(()),
            [one] => format!("{one} is missing"),
            [most @ .., last] => format!("{} and {last} are missing", most.join(", ")),
        };
        let written: Vec<_> = absent.iter().filter_map(|keys| self.other_spelling(keys)).collect();
        match written.is_empty() {
            true => Err(cause),
            false => Err(format!("{cause}; the row has {}", written.join(" and "))),
        }
    }

    /// The key that differs from one of `keys` in case, blanks or punctuation alone.
    fn other_spelling(&self, keys: &str) -> Option<String> {
        let plain = |key: &str| -> String {
            key.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
        };
        let is_same = |other: &&String| keys.split('|').any(|key| plain(key) == plain(other));
        let found = self.0.iter().filter(|(_, value)| !value.is_null()).map(|(key, _)| key);
        found.into_iter().find(is_same).map(|key| format!("`{key}`"))
    }

    /// The text under `key`, which must not be empty.
    pub fn text(&self, key: &str) -> Result<String, String> {
        not_empty(key, self.read(key, text_of)?)
    }

    /// The answer or the report under `key` ([`answer_of`]). It may be empty.
    pub fn answer_or_empty(&self, key: &str) -> Result<String, String> {
        self.read(key, answer_of)
    }

    /// The answer or the report under `key`, which must not be empty.
    pub fn answer(&self, key: &str) -> Result<String, String> {
        not_empty(key, self.read(key, answer_of)?)
    }

    fn read(
        &self,
        key: &str,
        text: impl Fn(&Value) -> Result<Option<String>, String>,
    ) -> Result<String, String> {
        let text = text(self.0.get(key).unwrap_or(&Value::Null));
        let missing = || format!("`{key}` is missing");
        text.map_err(|cause| format!("`{key}` {cause}"))?.ok_or_else(missing)
    }

    /// The list of texts under `key`, at least one, none of them empty.
    pub fn texts(&self, key: &str) -> Result<Vec<String>, String> {
        match self.0.get(key) {
            None | Some(Value::Null) => Err(format!("`{key}` is missing")),
            Some(Value::Array(list)) if !list.is_empty() => {
                let text =
                    |value: &Value| match value.as_str().filter(|text| !text.trim().is_empty()) {
                        Some(text) => Ok(text.to_owned()),
                        None => Err(format!("`{key}` holds {value}, where a text is expected")),
                    };
                list.iter().map(text).collect()
            }
            Some(Value::Array(_)) => Err(format!("`{key}` is empty")),
            Some(other) => Err(format!("`{key}` is {}, not a list of texts", kind_of(other))),
        }
    }

    /// The names of an example's images, under `image` or `images`: one, or a list of at least one.
    pub fn views(&self) -> Result<Vec<String>, String> {
        let (image, images) = (self.value("image"), self.value("images"));
        let (key, value) = match (image, images) {
            (Some(image), None) => ("image", image),
            (None, Some(images)) => ("images", images),
            (None, None) => return Err("`image` is missing".to_owned()),
            (Some(_), Some(_)) => return Err("`image` and `images` are both there".to_owned()),
        };
        // A path by itself, or as the `datasets` library writes images: `{"bytes": null, "path": ".."}`.
        let path = |value: &Value| {
            let path = value.as_str().or_else(|| value.get("path")?.as_str());
            path.filter(|path| !path.trim().is_empty()).map(str::to_owned)
        };
        match value {
            Value::Array(list) if list.is_empty() => Err(format!("`{key}` is empty")),
            Value::Array(list) => {
                let wrong = |value| format!("`{key}` holds {value}, where a path is expected");
                list.iter().map(|value| path(value).ok_or_else(|| wrong(value))).collect()
            }
            Value::Object(_) => {
                let cause = || format!("`{key}` is an object without the `path` of a file");
                Ok(vec![path(value).ok_or_else(cause)?])
            }
            _ => Ok(vec![self.text(key)?]),
        }
    }

    /// As [`Fields::text`]; `None` if the key is absent or null.
    pub fn optional_text(&self, key: &str) -> Result<Option<String>, String> {
        match self.0.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(_) => self.text(key).map(Some),
        }
    }

    /// The group under `group`, without blanks around it; `None` if the key is absent or null.
    pub fn group(&self) -> Result<Option<String>, String> {
        Ok(self.optional_text("group")?.map(|group| group.trim().to_owned()))
    }

    /// Attributes, each given as `(name, key)`; those whose key is absent are left out.
    pub fn attributes<const N: usize>(&self, keys: [(&str, &str); N]) -> Attributes {
        let read = |(name, key): (&str, &str)| Some((name.to_owned(), self.text(key).ok()?));
        keys.into_iter().filter_map(read).collect()
    }

    /// All texts and numbers under other keys than these, as attributes.
    pub fn other_attributes(&self, keys: &[&str]) -> Attributes {
        let others = self.0.keys().filter(|key| !keys.contains(&key.as_str()));
        others.filter_map(|key| Some((key.clone(), self.text(key).ok()?))).collect()
    }

    /// The split under `split`; the test split if the key is absent.
    pub fn split(&self) -> Result<Split, String> {
        match self.optional_text("split")? {
            None => Ok(Split::Test),
            Some(name) => Split::from_name(name.trim())
                .ok_or_else(|| format!("`split` is `{name}`, not train, validate or test")),
        }
    }

    /// The answer with this text: of the type that the row states, or that is derived.
    pub fn typed(&self, text: String) -> Result<Answer, String> {
        let answer_type = self.answer_type(&text)?;
        Ok(Answer::new(text, answer_type))
    }

    /// The answer type under `answer_type`; case and surrounding blanks do not matter. Where the key is absent or
    /// null, it is derived from `answer`.
    fn answer_type(&self, answer: &str) -> Result<AnswerType, String> {
        let Some(text) = self.optional_text("answer_type")? else {
            return Ok(AnswerType::derived(answer));
        };
        match text.trim().to_uppercase().as_str() {
            "OPEN" => Ok(AnswerType::Open),
            "CLOSED" => Ok(AnswerType::Closed),
            _ => Err(format!("`answer_type` is `{text}`, not OPEN or CLOSED")),
        }
    }
}

fn not_empty(key: &str, text: String) -> Result<String, String> {
    if text.trim().is_empty() { Err(format!("`{key}` is empty")) } else { Ok(text) }
}

/// Parses the fields of a row; the error is the cause why there are none.
fn parse_fields(json: &str) -> Result<Map<String, Value>, String> {
    let not_an_object = |value: &Value| format!("the row is {}, not an object", kind_of(value));
    let error = match serde_json::from_str(json) {
        Ok(UniqueFields(Ok(fields))) => return Ok(fields),
        Ok(UniqueFields(Err(twice))) => return Err(format!("`{twice}` is there twice")),
        Err(error) => error,
    };
    if let Ok(value) = serde_json::from_str::<Value>(json) {
        return Err(not_an_object(&value));
    }
    if let Some(row) = json.trim_end().strip_suffix(',')
        && serde_json::from_str::<Value>(row).is_ok()
    {
        return Err("the row ends with a comma. Remove it, or write all rows as one list".into());
    }
    if let Some(cause) = find_foreign(json) {
        return Err(cause);
    }
    let cause = error.to_string();
    // Its own line number is that within the row.
    let cause = cause.split(" at line ").next().unwrap_or(&cause);
    let cause = match cause {
        "recursion limit exceeded" => "it is nested more than 127 levels deep",
        "unexpected end of hex escape" | "lone leading surrogate in hex escape" => {
            "a text has half of a surrogate pair, such as `\\ud800`, which is no character"
        }
        cause => cause,
    };
    let place = match error.line() {
        ..=1 => format!("column {}", error.column()),
        line => format!("line {line} of the row, column {}", error.column()),
    };
    Err(format!("the row is not JSON: {place}: {cause}"))
}

/// The fields of an object, or the first key that it has twice: `serde_json` would keep the last value silently.
struct UniqueFields(Result<Map<String, Value>, String>);

impl<'de> Deserialize<'de> for UniqueFields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = UniqueFields;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<UniqueFields, A::Error> {
                let mut fields = Ok(Map::new());
                while let Some((key, value)) = map.next_entry::<String, Value>()? {
                    if let Ok(known) = &mut fields
                        && known.insert(key.clone(), value).is_some()
                    {
                        fields = Err(key);
                    }
                }
                Ok(UniqueFields(fields))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_name_their_errors() {
        let json = r#"{"i": 4, "t": "x", "e": " ", "l": [], "n": null, "b": true, "f": 3.0,
            "answer_type": "CLOSED "}"#;
        let row = Row::parse("f:1".into(), String::new(), json);
        let fields = row.fields().unwrap();
        assert_eq!(fields.text("i").unwrap(), "4");
        assert_eq!(fields.text("b").unwrap(), "yes");
        assert_eq!(fields.text("f").unwrap(), "3");
        assert_eq!(fields.answer_or_empty("e").unwrap(), " ");
        assert_eq!(fields.text("e").unwrap_err(), "`e` is empty");
        assert_eq!(fields.text("l").unwrap_err(), "`l` is a list, not a text or a number");
        assert_eq!(fields.text("n").unwrap_err(), "`n` is missing");
        assert_eq!(fields.optional_text("n").unwrap(), None);
        assert!(fields.optional_text("l").is_err());
        assert_eq!(fields.answer_type("left"), Ok(AnswerType::Closed));
        let row = Row::parse("f:1".into(), String::new(), r#"{"answer_type": null}"#);
        let derived = |answer| row.fields().unwrap().answer_type(answer);
        assert_eq!(derived("Nein."), Ok(AnswerType::Closed));
        assert_eq!(derived("left"), Ok(AnswerType::Open));
    }

    #[test]
    fn images_are_one_or_a_list() {
        let views = |json: &str| {
            let row = Row::parse(String::new(), String::new(), json);
            row.fields().unwrap().views().map(|views| views.join(" "))
        };
        for (json, want) in [
            (r#"{"image": "a"}"#, "a"),
            (r#"{"image": 7}"#, "7"),
            (r#"{"image": ["a", "b"], "images": null}"#, "a b"),
            (r#"{"images": "a"}"#, "a"),
            (r#"{"images": [{"bytes": null, "path": "a"}, "b"]}"#, "a b"),
            (r#"{"image": {"path": "a"}}"#, "a"),
        ] {
            assert_eq!(views(json).unwrap(), want, "{json}");
        }
        for (json, cause) in [
            ("{}", "`image` is missing"),
            (r#"{"image": "a", "images": ["a"]}"#, "both there"),
            (r#"{"images": []}"#, "`images` is empty"),
            (r#"{"images": ["a", 3]}"#, "`images` holds 3"),
            (r#"{"image": " "}"#, "`image` is empty"),
            (r#"{"image": {"bytes": "x"}}"#, "without the `path`"),
        ] {
            assert!(views(json).unwrap_err().contains(cause), "{json}");
        }
    }

    #[test]
    fn all_missing_fields_are_named_together() {
        let row = Row::parse("f:1".into(), String::new(), r#"{"a": 1, "b": null, "d": "x"}"#);
        let fields = row.fields().unwrap();
        assert_eq!(fields.require(&["a", "c|d"]), Ok(()));
        let missing = |keys: &[&str]| fields.require(keys).unwrap_err();
        assert_eq!(missing(&["a", "b"]), "`b` is missing");
        assert_eq!(missing(&["b", "c|e"]), "`b` and `c` are missing");
        assert_eq!(missing(&["b", "c", "e"]), "`b`, `c` and `e` are missing");
        let row = Row::parse("f:1".into(), String::new(), r#"{"Question ": 1, "answerType": "x"}"#);
        let missing = row.fields().unwrap().require(&["id", "question", "answer_type"]);
        let want = "`id`, `question` and `answer_type` are missing; the row has `Question ` and `answerType`";
        assert_eq!(missing, Err(want.to_owned()));
    }
}
