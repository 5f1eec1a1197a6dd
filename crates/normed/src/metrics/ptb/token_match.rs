//! What a rule finds, and the text it looks at.

use super::characters::{is_alnum, is_apostrophe, is_hyphen, is_letter};

/// How a token is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Without changes.
    Unchanged,
    /// With straight apostrophes.
    StraightApostrophes,
    /// With round brackets as `-lrb-` and `-rrb-`, and with no-break spaces, which do not separate words.
    BracketsByName,
    /// As another text.
    Replaced(&'static str),
    /// Not at all.
    Omitted,
}

/// A token that a rule finds.
#[derive(Debug, Clone, Copy)]
pub(super) struct TokenMatch {
    /// The number of characters of the token.
    pub len: usize,
    /// The number of characters that the rule examined: the token, and what must follow it. Of several
    /// matches, the one with the longest reach wins.
    pub reach: usize,
    pub form: Form,
}

/// A match without changes; `None` if `len` is 0.
pub(super) fn plain(len: usize) -> Option<TokenMatch> {
    (len > 0).then_some(TokenMatch { len, reach: len, form: Form::Unchanged })
}

/// A match that is written in this form.
pub(super) fn matched(len: usize, form: Form) -> Option<TokenMatch> {
    Some(TokenMatch { len, reach: len, form })
}

/// The text from the current position on.
#[derive(Clone, Copy)]
pub(super) struct Remaining<'a> {
    pub chars: &'a [char],
}

impl Remaining<'_> {
    /// The character at `i`.
    pub fn at(self, i: usize) -> Option<char> {
        self.chars.get(i).copied()
    }

    /// Whether there is a character of `class` at `i`.
    pub fn is(self, i: usize, class: impl Fn(char) -> bool) -> bool {
        self.at(i).is_some_and(class)
    }

    /// The number of characters of `class` from `i` on.
    pub fn count(self, i: usize, class: impl Fn(char) -> bool) -> usize {
        self.chars.iter().skip(i).take_while(|&&c| class(c)).count()
    }

    /// The number of digits from `i` on.
    pub fn count_digits(self, i: usize) -> usize {
        self.count(i, |c| c.is_ascii_digit())
    }

    /// Whether `text` is at `i`, in upper or lower case.
    pub fn starts_at(self, i: usize, text: &str) -> bool {
        text.chars().enumerate().all(|(k, c)| self.is(i + k, |d| d.eq_ignore_ascii_case(&c)))
    }

    /// The characters from `from` to `to`.
    pub fn string(self, from: usize, to: usize) -> String {
        self.chars[from..to].iter().collect()
    }

    /// The end of an enclitic (`'s`, `'ll`) that starts at `i`.
    pub fn enclitic_end(self, i: usize) -> Option<usize> {
        if !self.is(i, is_apostrophe) {
            return None;
        }
        let len =
            ["ll", "re", "ve", "s", "d", "m"].iter().find(|e| self.starts_at(i + 1, e))?.len();
        let end = i + 1 + len;
        (!self.is(end, is_letter)).then_some(end)
    }

    /// The end of a compound at `i`: letters and digits, joined by single hyphens.
    pub fn compound_end(self, i: usize) -> usize {
        let mut end = i + self.count(i, is_alnum);
        while end > i && self.is(end, is_hyphen) && self.is(end + 1, is_alnum) {
            end += 1 + self.count(end + 1, is_alnum);
        }
        end
    }

    /// The end of initials at `i` with their full stops, such as `U.S.`.
    pub fn initials_end(self, i: usize) -> Option<usize> {
        let mut end = i;
        while self.is(end, |c| c.is_ascii_alphabetic()) && self.is(end + 1, |c| c == '.') {
            end += 2;
        }
        (end > i).then_some(end)
    }

    /// The end of a compound that continues with a hyphen at `end`; else `end`.
    pub fn hyphenated_end(self, end: usize) -> usize {
        if self.is(end, |c| c == '-') && self.is(end + 1, is_alnum) {
            self.compound_end(end + 1)
        } else {
            end
        }
    }
}
