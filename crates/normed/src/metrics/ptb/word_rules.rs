//! The rules for words: contractions, abbreviations, initials and compounds.

use super::characters::{is_alnum, is_apostrophe, is_letter};
use super::token_match::{Form, Remaining, TokenMatch, matched, plain};
use super::words::{Abbreviation, abbreviation, opens_sentence, split_point};

/// The first of two words that are written as one, such as `can` in `cannot`.
pub(super) fn contracted_pair(t: Remaining<'_>) -> Option<TokenMatch> {
    let word = t.count(0, is_letter).min(16);
    if t.starts_at(0, "'tis") || t.starts_at(0, "'twas") {
        let len = if t.starts_at(0, "'tis") { 4 } else { 5 };
        return Some(TokenMatch { len: 2, reach: len, form: Form::Unchanged });
    }
    let len = split_point(&t.string(0, word))?;
    (!t.is(word, is_alnum)).then_some(TokenMatch { len, reach: word, form: Form::Unchanged })
}

/// A word before `n't`, or `n't` itself.
pub(super) fn negation(t: Remaining<'_>) -> Option<TokenMatch> {
    let is_not = |i: usize| {
        t.is(i, |c| matches!(c, 'n' | 'N'))
            && t.is(i + 1, |c| is_apostrophe(c) || c == '`')
            && t.is(i + 2, |c| matches!(c, 't' | 'T'))
    };
    if is_not(0) {
        return matched(3, Form::StraightApostrophes);
    }
    let letters = t.count(0, |c| c.is_ascii_alphabetic());
    let len = letters.checked_sub(1)?;
    let own = len > 0 && !matches!(t.at(len - 1), Some('n' | 'N'));
    (own && is_not(len)).then_some(TokenMatch { len, reach: len + 3, form: Form::Unchanged })
}

/// A word that starts with an apostrophe in place of letters or digits.
pub(super) fn leading_apostrophe(t: Remaining<'_>) -> Option<TokenMatch> {
    if t.is(0, is_apostrophe) && t.count_digits(1) == 2 {
        let ends = t.chars.get(3).is_none_or(|c| c.is_whitespace());
        return if ends { plain(3) } else { decade(t) };
    }
    if t.at(0)? != '\'' {
        return None;
    }
    if t.starts_at(1, "n'") {
        return plain(3);
    }
    let word = ["till", "til", "cause", "em", "n"]
        .iter()
        .find(|w| t.starts_at(1, w) && !t.is(1 + w.len(), is_alnum));
    plain(1 + word?.len())
}

/// A decade from the twenties on, such as `'90s`.
fn decade(t: Remaining<'_>) -> Option<TokenMatch> {
    let found = t.is(1, |c| c >= '2') && t.starts_at(2, "0s") && !t.is(4, is_alnum);
    if found { plain(4) } else { None }
}

/// An enclitic: `'s`, `'ll`, `'ve` and others.
pub(super) fn enclitic(t: Remaining<'_>) -> Option<TokenMatch> {
    matched(t.enclitic_end(0)?, Form::StraightApostrophes)
}

/// A word with an apostrophe inside, such as `O'Brien`, or an elided French word, such as `l'`.
pub(super) fn inner_apostrophe(t: Remaining<'_>) -> Option<TokenMatch> {
    let whole = ["c'est", "ma'am", "e'er", "ne'er", "o'er", "o'clock"];
    let matches = |word: &str| {
        let same = |(i, c): (usize, char)| {
            t.is(i, |d| if c == '\'' { is_apostrophe(d) } else { d.eq_ignore_ascii_case(&c) })
        };
        word.chars().enumerate().all(same) && !t.is(word.len(), is_letter)
    };
    if let Some(word) = whole.iter().find(|word| matches(word)) {
        return plain(word.len());
    }
    if t.starts_at(0, "ol") && t.is(2, is_apostrophe) && !t.is(3, is_letter) {
        return matched(3, Form::StraightApostrophes);
    }
    if t.starts_at(0, "qu") && t.is(2, is_apostrophe) && t.is(3, is_letter) {
        return plain(3 + t.count(3, is_letter));
    }
    if !t.is(1, is_apostrophe) {
        return None;
    }
    let first = t.at(0)?.to_ascii_lowercase();
    let letters = t.count(2, is_letter);
    match first {
        'd' | 'l' | 'o' | 'n' if letters >= 2 => plain(t.compound_end(2)),
        'd' | 'l' | 'j' => matched(2, Form::StraightApostrophes),
        'y' if letters > 0 => matched(2, Form::StraightApostrophes),
        _ => None,
    }
}

/// Whether white space and a word that opens a sentence follow at `i`.
fn sentence_follows(t: Remaining<'_>, i: usize) -> bool {
    let blanks = t.count(i, char::is_whitespace);
    let (from, letters) = (i + blanks, t.count(i + blanks, is_alnum));
    blanks > 0
        && letters <= 8
        && t.is(from + letters, char::is_whitespace)
        && opens_sentence(&t.string(from, from + letters))
}

/// A single letter at the end of a sentence: the full stop is not part of it.
pub(super) fn sentence_final_letter(t: Remaining<'_>) -> Option<TokenMatch> {
    let found = t.initials_end(0)? == 2 && sentence_follows(t, 2);
    found.then_some(TokenMatch { len: 1, reach: 4, form: Form::Unchanged })
}

/// An abbreviation with its full stop.
pub(super) fn abbreviation_with_stop(t: Remaining<'_>) -> Option<TokenMatch> {
    let mut word = t.count(0, |c| c.is_ascii_alphabetic());
    if t.starts_at(0, "ph.d.") {
        word = 4;
    }
    if !(2..=8).contains(&word) || !t.is(word, |c| c == '.') {
        return None;
    }
    let text = t.string(0, word);
    let len = word + 1;
    let joined = t.hyphenated_end(len);
    match abbreviation(&text)? {
        Abbreviation::Joining => plain(joined),
        Abbreviation::Plain => plain(len),
        Abbreviation::Numbered if joined > len => plain(joined),
        Abbreviation::Numbered => {
            let blank = usize::from(t.is(len, char::is_whitespace));
            let found = t.is(len + blank, |c| c.is_ascii_digit());
            found.then_some(TokenMatch { len, reach: len + blank + 1, form: Form::Unchanged })
        }
    }
}

/// Initials, also inside a compound.
pub(super) fn initials(t: Remaining<'_>) -> Option<TokenMatch> {
    let mut i = 0;
    loop {
        if let Some(end) = t.initials_end(i) {
            // A single letter with its full stop is initials only at the start.
            let open = end + usize::from(t.is(end, |c| c.is_ascii_alphabetic()));
            let joined = t.hyphenated_end(open);
            let len = if joined > open { joined } else { end };
            return if i == 0 || len > i + 2 { plain(len) } else { None };
        }
        let part = t.count(i, is_alnum);
        if part == 0 || !t.is(i + part, |c| c == '-') {
            return None;
        }
        i += part + 1;
    }
}

/// A word or compound with a full stop before a comma, a colon or a semicolon: an unknown abbreviation.
pub(super) fn stop_before_punctuation(t: Remaining<'_>) -> Option<TokenMatch> {
    let len = t.compound_end(0) + 1;
    let found = len > 1 && t.is(len - 1, |c| c == '.') && t.is(len, |c| ",;:".contains(c));
    found.then_some(TokenMatch { len, reach: len + 1, form: Form::Unchanged })
}

/// A compound that starts with a decimal number, such as `1.5-T`.
pub(super) fn decimal_compound(t: Remaining<'_>) -> Option<TokenMatch> {
    let mut end = t.count_digits(0);
    while end > 0 {
        let more = if t.is(end, |c| matches!(c, '.' | ',')) && t.count_digits(end + 1) > 0 {
            1 + t.count(end + 1, is_alnum)
        } else {
            t.count(end, is_alnum)
        };
        if more == 0 {
            break;
        }
        end += more;
    }
    let joined = if end > 0 { t.hyphenated_end(end) } else { 0 };
    if joined > end { plain(joined) } else { None }
}

/// A word, also with full stops, question marks or exclamation marks between letters, such as a host name.
pub(super) fn word(t: Remaining<'_>) -> Option<TokenMatch> {
    if !t.is(0, is_letter) {
        return None;
    }
    let mut len = t.count(0, is_alnum);
    while t.is(len, |c| matches!(c, '.' | '!' | '?')) && t.is(len + 1, is_letter) {
        len += 1 + t.count(len + 1, is_alnum);
    }
    Some(TokenMatch { len, reach: t.enclitic_end(len).unwrap_or(len), form: Form::Unchanged })
}

/// Letters and digits, also joined by hyphens.
pub(super) fn compound(t: Remaining<'_>) -> Option<TokenMatch> {
    let len = t.compound_end(0);
    let reach = t.enclitic_end(len).unwrap_or(len);
    (len > 0).then_some(TokenMatch { len, reach, form: Form::Unchanged })
}

/// Two or three words joined by slashes, each of at most three hyphenated parts.
pub(super) fn slashed_words(t: Remaining<'_>) -> Option<TokenMatch> {
    let part = |i: usize| {
        let mut end = i + t.count(i, is_alnum);
        for _ in 0..2 {
            let letters = t.count(end + 1, is_letter);
            if end > i && t.is(end, |c| c == '-') && letters > 0 {
                end += 1 + letters;
            }
        }
        (end > i).then_some(end)
    };
    let mut end = part(0)?;
    let mut slashes = 0;
    while slashes < 2 {
        let at = end + usize::from(t.is(end, |c| c == '\\'));
        if !t.is(at, |c| c == '/') {
            break;
        }
        let Some(next) = part(at + 1) else { break };
        (end, slashes) = (next, slashes + 1);
    }
    let reach = t.enclitic_end(end).unwrap_or(end);
    (slashes > 0).then_some(TokenMatch { len: end, reach, form: Form::Unchanged })
}
