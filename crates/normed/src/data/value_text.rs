//! The text of a field's value: one rule for every file format.
//!
//! - A text is itself.
//! - A number is its digits. One without a fraction is a whole number, `3.0` as `3`: pandas and Arrow turn a column of
//!   whole numbers into fractions as soon as one is missing.
//! - True and false are `yes` and `no`, as questions are answered.
//! - Null is missing.
//! - A list of answers is its most frequent one, the first of them where several are. VQA's `{"answer": ".."}` in a
//!   list is its answer.

use serde_json::{Number, Value};

/// Whole numbers up to this have a value of their own in a 64-bit float.
const MAX_WHOLE: f64 = 9_007_199_254_740_992.0;

/// The text of a value that is no list; `None` if it is null.
///
/// # Errors
///
/// If it is a list or an object, or a number with more digits than were kept; the cause says what it is.
pub(crate) fn text_of(value: &Value) -> Result<Option<String>, String> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.clone())),
        Value::Bool(truth) => Ok(Some(if *truth { "yes" } else { "no" }.to_owned())),
        Value::Number(number) => text_of_number(number).map(Some),
        other => Err(format!("is {}, not a text or a number", kind_of(other))),
    }
}

/// The text of an answer or a report: that of [`text_of`], or the most frequent one of a list.
///
/// # Errors
///
/// As [`text_of`]; if a list is empty or its elements have no text.
pub(super) fn answer_of(value: &Value) -> Result<Option<String>, String> {
    let Value::Array(list) = value else { return text_of(value) };
    let mut counts: Vec<(String, usize)> = Vec::new();
    for element in list {
        let element = element.get("answer").unwrap_or(element);
        let text =
            text_of(element).map_err(|cause| format!("is a list, one element of which {cause}"))?;
        let Some(text) = text.filter(|text| !text.trim().is_empty()) else { continue };
        match counts.iter_mut().find(|(other, _)| other.trim() == text.trim()) {
            Some((_, count)) => *count += 1,
            None => counts.push((text, 1)),
        }
    }
    let most = counts.iter().map(|(_, count)| *count).max();
    let first = counts.into_iter().find(|(_, count)| Some(*count) == most);
    first.map(|(text, _)| Some(text)).ok_or_else(|| "is a list without a text".to_owned())
}

fn text_of_number(number: &Number) -> Result<String, String> {
    match number.as_f64() {
        Some(float) if number.is_f64() && float.fract() == 0.0 => {
            if float.abs() > MAX_WHOLE {
                return Err(format!(
                    "is {number}, a whole number with more digits than a number keeps: write it as a text"
                ));
            }
            Ok((float as i64).to_string())
        }
        _ => Ok(number.to_string()),
    }
}

/// What kind of JSON value this is, for messages.
pub(super) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_value_has_one_text() {
        for (value, text) in [
            (json!("a "), "a "),
            (json!(3), "3"),
            (json!(-3), "-3"),
            (json!(u64::MAX), "18446744073709551615"),
            (json!(3.0), "3"),
            (json!(-0.0), "0"),
            (json!(3.5), "3.5"),
            (json!(0.1), "0.1"),
            (json!(true), "yes"),
            (json!(false), "no"),
        ] {
            assert_eq!(text_of(&value), Ok(Some(text.to_owned())), "{value}");
            assert_eq!(answer_of(&json!([value])), Ok(Some(text.to_owned())), "[{value}]");
        }
        assert_eq!((text_of(&Value::Null), answer_of(&Value::Null)), (Ok(None), Ok(None)));
        assert!(text_of(&json!([])).unwrap_err().starts_with("is a list, not"));
        assert!(text_of(&json!({})).unwrap_err().starts_with("is an object, not"));
        // Two such ids would be one.
        let large: Value = serde_json::from_str("123456789012345678901").unwrap();
        assert!(text_of(&large).unwrap_err().contains("write it as a text"));
    }

    #[test]
    fn of_several_answers_the_most_frequent_counts() {
        let answer = |list: Value| answer_of(&list);
        assert_eq!(answer(json!(["b", "a", "a ", "b", null])), Ok(Some("b".into())));
        assert_eq!(answer(json!(["c", "a", "a", 2])), Ok(Some("a".into())));
        let vqa = json!([{"answer": "no", "answer_id": 1}, {"answer": "yes"}, {"answer": "yes"}]);
        assert_eq!(answer(vqa), Ok(Some("yes".into())));
        for empty in [json!([]), json!([null]), json!([" "])] {
            assert_eq!(answer(empty).unwrap_err(), "is a list without a text");
        }
        assert!(answer(json!([["a"]])).unwrap_err().contains("one element of which is a list"));
    }
}
