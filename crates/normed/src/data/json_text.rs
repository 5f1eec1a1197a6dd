//! The parts of a JSON text, found by brackets and quotes alone: one value that is not JSON costs that value, not
//! the text around it.

/// Why a text cannot be divided into values: the offset in bytes, and the cause.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Flaw {
    pub at: usize,
    pub cause: String,
}

/// A value of a text: its offset in bytes, and its own text, which may not be JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RawItem<'a> {
    pub at: usize,
    pub text: &'a str,
}

/// Divides a text that is one list into the list's values.
pub(super) fn split_list(text: &str) -> Result<Vec<RawItem<'_>>, Flaw> {
    let mut cursor = Cursor { text, at: 0 };
    let items = cursor.list()?;
    cursor.expect_end()?;
    Ok(items)
}

/// Divides a text that is one object into its keys, quotes included, and values.
pub(super) fn split_object(text: &str) -> Result<Vec<(&str, RawItem<'_>)>, Flaw> {
    let mut cursor = Cursor { text, at: 0 };
    let mut items = Vec::new();
    cursor.open(b'{')?;
    while !cursor.closes(b'}', !items.is_empty())? {
        let key = cursor.value()?;
        if !key.text.starts_with('"') || cursor.next() != Some(b':') {
            return Err(Flaw { at: key.at, cause: "a key and a colon are expected".into() });
        }
        cursor.at += 1;
        items.push((key.text, cursor.value()?));
    }
    cursor.expect_end()?;
    Ok(items)
}

/// Divides a text into the values that follow one another in it, without commas between them.
pub(super) fn split_sequence(text: &str) -> Result<Vec<RawItem<'_>>, Flaw> {
    let mut cursor = Cursor { text, at: 0 };
    let mut items = Vec::new();
    while cursor.next().is_some() {
        items.push(cursor.value()?);
    }
    Ok(items)
}

/// A position in a text.
struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    /// The next byte that is not blank, which becomes the position.
    fn next(&mut self) -> Option<u8> {
        let rest = &self.text.as_bytes()[self.at..];
        self.at += rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        self.text.as_bytes().get(self.at).copied()
    }

    fn flaw<T>(&self, cause: &str) -> Result<T, Flaw> {
        Err(Flaw { at: self.at, cause: cause.into() })
    }

    fn open(&mut self, bracket: u8) -> Result<(), Flaw> {
        if self.next() != Some(bracket) {
            return self.flaw(&format!("`{}` is expected", char::from(bracket)));
        }
        self.at += 1;
        Ok(())
    }

    /// Passes the closing `bracket`, if it is next, or else the comma between two items.
    fn closes(&mut self, bracket: u8, has_items: bool) -> Result<bool, Flaw> {
        let (mut next, mut comma) = (self.next(), false);
        if has_items && next == Some(b',') {
            self.at += 1;
            (next, comma) = (self.next(), true);
        }
        match next {
            None => self.flaw("the text ends too early: it is cut short, or a bracket is missing"),
            Some(byte) if byte == bracket && !comma => {
                self.at += 1;
                Ok(true)
            }
            Some(byte) if byte == bracket || byte == b',' => self.flaw("a comma too many"),
            Some(_) if has_items && !comma => self.flaw("a comma is missing"),
            Some(_) => Ok(false),
        }
    }

    fn list(&mut self) -> Result<Vec<RawItem<'a>>, Flaw> {
        let mut items = Vec::new();
        self.open(b'[')?;
        while !self.closes(b']', !items.is_empty())? {
            items.push(self.value()?);
        }
        Ok(items)
    }

    fn expect_end(&mut self) -> Result<(), Flaw> {
        match self.next() {
            None => Ok(()),
            Some(_) => self.flaw("text after the end"),
        }
    }

    /// Passes the next value: a text, everything inside matching brackets, or a word.
    fn value(&mut self) -> Result<RawItem<'a>, Flaw> {
        self.next();
        let start = self.at;
        let mut open = Vec::new();
        while let Some(&byte) = self.text.as_bytes().get(self.at) {
            match byte {
                b'"' => self.string()?,
                b'{' => open.push(b'}'),
                b'[' => open.push(b']'),
                b'}' | b']' if open.pop() != Some(byte) => {
                    return self.flaw(&format!("`{}` where none is open", char::from(byte)));
                }
                b'}' | b']' => {}
                _ => {
                    let ends = |byte: &u8| b"\"{}[],:".contains(byte) || byte.is_ascii_whitespace();
                    let rest = &self.text.as_bytes()[self.at + 1..];
                    self.at += rest.iter().take_while(|byte| !ends(byte)).count();
                }
            }
            self.at += 1;
            if open.is_empty() {
                return Ok(RawItem { at: start, text: &self.text[start..self.at] });
            }
        }
        self.flaw("the text ends too early: it is cut short, or a bracket is missing")
    }

    /// Moves to the closing quote of a text.
    fn string(&mut self) -> Result<(), Flaw> {
        let start = self.at;
        loop {
            self.at += 1;
            match self.text.as_bytes().get(self.at) {
                Some(b'"') => return Ok(()),
                Some(b'\\') => self.at += 1,
                None | Some(b'\n') => {
                    return Err(Flaw { at: start, cause: "a quote is missing".into() });
                }
                Some(_) => {}
            }
        }
    }
}

/// What a value that is not JSON has in it that other programs write and JSON does not have.
pub(super) fn find_foreign(json: &str) -> Option<String> {
    let bytes = json.as_bytes();
    let (mut at, mut key, mut comma) = (0, "", false);
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => {
                let mut cursor = Cursor { text: json, at };
                cursor.string().ok()?;
                // Other texts are values, such as the elements of a list.
                if json[cursor.at + 1..].trim_start().starts_with(':') {
                    key = &json[at + 1..cursor.at];
                }
                at = cursor.at;
            }
            b'\'' => return Some("has texts in single quotes, as Python prints them".into()),
            b'#' => return Some("has a comment, which JSON does not allow".into()),
            b'/' if matches!(bytes.get(at + 1), Some(b'/' | b'*')) => {
                return Some("has a comment, which JSON does not allow".into());
            }
            b'}' | b']' if comma => {
                return Some(format!("has a comma before `{}`", char::from(byte)));
            }
            _ if byte.is_ascii_alphabetic() => {
                let is_word = |byte: &&u8| byte.is_ascii_alphanumeric();
                let length = bytes[at..].iter().take_while(is_word).count();
                let word = &json[at..at + length];
                if let Some(meaning) = foreign_word(word) {
                    let minus = if json[..at].ends_with('-') { "-" } else { "" };
                    return Some(format!(
                        "`{key}` is {minus}{word}, which JSON does not have: {meaning}"
                    ));
                }
                at += word.len() - 1;
            }
            _ => {}
        }
        comma = byte == b',' || comma && byte.is_ascii_whitespace();
        at += 1;
    }
    None
}

/// What to write in place of a word that Python or JavaScript writes.
fn foreign_word(word: &str) -> Option<&'static str> {
    match word {
        "NaN" | "nan" | "NAN" | "Infinity" | "Inf" | "inf" | "undefined" => {
            Some("write null where a value is missing")
        }
        "None" => Some("write null"),
        "True" => Some("write true"),
        "False" => Some("write false"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts<'a>(items: &[RawItem<'a>]) -> Vec<&'a str> {
        items.iter().map(|item| item.text).collect()
    }

    #[test]
    fn a_list_is_divided_whatever_its_values_are() {
        let text = " [ {\"a\": \"]}\\\"\", \"b\": [NaN, {}]},\n7 ,\"x\", NaN , []] \n";
        let items = split_list(text).unwrap();
        let want = ["{\"a\": \"]}\\\"\", \"b\": [NaN, {}]}", "7", "\"x\"", "NaN", "[]"];
        assert_eq!(texts(&items), want);
        assert!(items.iter().all(|item| text[item.at..].starts_with(item.text)));
        assert!(split_list(" []").unwrap().is_empty());
    }

    #[test]
    fn an_object_and_a_sequence_are_divided() {
        let items = split_object("{\"a\": [1, 2], \"b\" : NaN}").unwrap();
        assert_eq!(items.iter().map(|(key, _)| *key).collect::<Vec<_>>(), ["\"a\"", "\"b\""]);
        assert_eq!((items[0].1.text, items[1].1.text), ("[1, 2]", "NaN"));
        assert!(split_object("{}").unwrap().is_empty());
        assert_eq!(texts(&split_sequence("{\n}\n{\"a\": 1}").unwrap()), ["{\n}", "{\"a\": 1}"]);
    }

    #[test]
    fn flaws_are_where_they_are() {
        for (text, at, cause) in [
            ("[1,\n{]", 5, "`]` where none is open"),
            ("[1, 2", 5, "ends too early"),
            ("[{\"a\": 1}", 9, "ends too early"),
            ("[1,]", 3, "a comma too many"),
            ("[1,,2]", 3, "a comma too many"),
            ("[1 2]", 3, "a comma is missing"),
            ("[1] 2", 4, "after the end"),
            ("[\"a\n\"]", 1, "a quote is missing"),
            ("7", 0, "`[` is expected"),
        ] {
            let flaw = split_list(text).unwrap_err();
            assert!(flaw.at == at && flaw.cause.contains(cause), "{text}: {flaw:?}");
        }
        let deep = "[".repeat(1_000_000);
        assert_eq!(split_list(&deep).unwrap_err().at, deep.len());
        assert!(split_object("{1: 2}").is_err() && split_object("{\"a\" 2}").is_err());
    }

    #[test]
    fn what_other_programs_write_is_named() {
        for (json, found) in [
            (r#"{"a": "NaN", "answer": NaN}"#, "`answer` is NaN"),
            (r#"{"a": -Infinity}"#, "`a` is -Infinity"),
            (r#"{"a": [1, nan]}"#, "`a` is nan"),
            (r#"{"a": None}"#, "`a` is None, which JSON does not have: write null"),
            (r#"{"a": True}"#, "write true"),
            (r#"{'a': 1}"#, "single quotes"),
            ("{\"a\": 1, // one\n}", "a comment"),
            ("{\"a\": 1 , }", "a comma before `}`"),
        ] {
            assert!(find_foreign(json).is_some_and(|cause| cause.contains(found)), "{json}");
        }
        assert_eq!(find_foreign(r#"{"a": tru, "b": "None // ,]"}"#), None);
    }
}
