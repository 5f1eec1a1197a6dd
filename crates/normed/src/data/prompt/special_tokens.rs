//! What a data set says cannot pass for what a template says.

use crate::{Error, Result};

/// The names of tokens that text must not spell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SpecialTokenGuard {
    names: Vec<String>,
}

impl SpecialTokenGuard {
    pub(super) fn new<'a>(special: Vec<String>, more: impl Iterator<Item = &'a str>) -> Self {
        let mut names = special;
        names.extend(more.map(str::to_owned));
        // A name of one character cannot be broken; none that is read is so short.
        names.retain(|name| name.chars().nth(1).is_some());
        Self { names }
    }

    /// `text` with a mark behind the first character of every name in it, and the mark: a character
    /// for private use that is not in `text`. Without such a name, `text` and none.
    pub(super) fn disarm(&self, place: &str, text: &str) -> Result<(String, Option<char>)> {
        if !self.names.iter().any(|name| text.contains(name)) {
            return Ok((text.to_owned(), None));
        }
        let mark = ('\u{e000}'..='\u{f8ff}').find(|&mark| !text.contains(mark));
        let mark = mark.ok_or_else(|| self.pierced(place, "text"))?;
        let mut disarmed = text.to_owned();
        for name in &self.names {
            let first = name.chars().next().map_or(0, char::len_utf8);
            let (head, rest) = name.split_at(first);
            disarmed = disarmed.replace(name, &format!("{head}{mark}{rest}"));
        }
        Ok((disarmed, Some(mark)))
    }

    /// For a text that spells a special token after all.
    pub(super) fn pierced(&self, place: &str, what: &str) -> Error {
        let cause = format!("the {what} spells a special token of the tokenizer");
        Error::invalid(place, cause).with_remedy(format!("they are {}", self.names.join(" ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_broken_and_nothing_else() {
        let names = ["<s>", "</s>", "▁"].map(str::to_owned).to_vec();
        let guard = SpecialTokenGuard::new(names, ["<image>"].into_iter());
        let disarm = |text: &str| guard.disarm("here", text).unwrap();
        assert_eq!(disarm("< s> ▁ is normal"), ("< s> ▁ is normal".into(), None));
        assert_eq!(disarm("a<s><s>"), ("a<\u{e000}s><\u{e000}s>".into(), Some('\u{e000}')));
        let marked = "\u{e000}<\u{e001}/s><\u{e001}image>";
        assert_eq!(disarm("\u{e000}</s><image>"), (marked.into(), Some('\u{e001}')));
        let all: String = ('\u{e000}'..='\u{f8ff}').chain("<s>".chars()).collect();
        assert!(guard.disarm("here", &all).unwrap_err().to_string().contains("here"));
    }
}
