//! Escapes special tokens in the text of a data set, so that it cannot be mistaken for text of the template.

use crate::{Error, Result};

/// The special tokens that text must not spell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SpecialTokenGuard {
    names: Vec<String>,
}

impl SpecialTokenGuard {
    pub(super) fn new<'a>(special: Vec<String>, more: impl Iterator<Item = &'a str>) -> Self {
        let mut names = special;
        names.extend(more.map(str::to_owned));
        // A name of one character cannot be split; no known tokenizer has one.
        names.retain(|name| name.chars().nth(1).is_some());
        Self { names }
    }

    /// Escapes `texts`: puts a mark after the first character of each special token in them. The mark is a
    /// private-use character that is in none of them; `None` if there is nothing to escape.
    pub(super) fn escape(
        &self,
        place: &str,
        mut texts: Vec<String>,
    ) -> Result<(Vec<String>, Option<char>)> {
        let spells = |text: &String| self.names.iter().any(|name| text.contains(name));
        if !texts.iter().any(spells) {
            return Ok((texts, None));
        }
        let is_free = |mark: &char| !texts.iter().any(|text| text.contains(*mark));
        let mark = ('\u{e000}'..='\u{f8ff}').find(is_free);
        let mark = mark.ok_or_else(|| self.error(place, "text"))?;
        for text in &mut texts {
            for name in &self.names {
                let first = name.chars().next().map_or(0, char::len_utf8);
                let (head, rest) = name.split_at(first);
                *text = text.replace(name, &format!("{head}{mark}{rest}"));
            }
        }
        Ok((texts, Some(mark)))
    }

    /// The error for a text that spells a special token even when it is escaped.
    pub(super) fn error(&self, place: &str, what: &str) -> Error {
        let cause = format!("the {what} spells a special token of the tokenizer");
        Error::invalid(place, cause).with_remedy(format!(
            "remove it from the text; the special tokens are {}",
            self.names.join(" ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_tokens_are_escaped_and_nothing_else() {
        let names = ["<s>", "</s>", "▁"].map(str::to_owned).to_vec();
        let guard = SpecialTokenGuard::new(names, ["<image>"].into_iter());
        let escape = |text: &str| {
            let (texts, mark) = guard.escape("here", vec!["a".into(), text.into()]).unwrap();
            (texts[1].clone(), mark)
        };
        assert_eq!(escape("< s> ▁ is normal"), ("< s> ▁ is normal".into(), None));
        assert_eq!(escape("a<s><s>"), ("a<\u{e000}s><\u{e000}s>".into(), Some('\u{e000}')));
        let marked = "\u{e000}<\u{e001}/s><\u{e001}image>";
        assert_eq!(escape("\u{e000}</s><image>"), (marked.into(), Some('\u{e001}')));
        let all: String = ('\u{e000}'..='\u{f8ff}').chain("<s>".chars()).collect();
        assert!(guard.escape("here", vec![all]).unwrap_err().to_string().contains("here"));
    }
}
