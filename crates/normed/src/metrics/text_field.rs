//! Fields that hold text, whatever kind of value it is written as: COCO's ids are whole numbers.

use serde::de::{Deserialize, Deserializer, Error};
use serde_json::Value;

use crate::data::text_of;

/// The text of a value that must be there.
pub(super) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    read(&Value::deserialize(deserializer)?)
}

/// The text of a value, if there is one.
pub(super) fn optional_text<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(None),
        value => read(&value).map(Some),
    }
}

/// The texts of a list; one text is a list of one.
pub(super) fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(Vec::new()),
        Value::Array(list) => list.iter().map(read).collect(),
        value => Ok(vec![read(&value)?]),
    }
}

fn read<E: Error>(value: &Value) -> Result<String, E> {
    let cause = match text_of(value) {
        Ok(Some(text)) => return Ok(text),
        Ok(None) => "is where a text or a number is expected".to_owned(),
        Err(cause) => cause,
    };
    Err(E::custom(format!("{value} {cause}")))
}
