//! The words of a tokenized text as METEOR 1.5 splits them with `-norm`, for English in lower case.
//!
//! It reproduces that program's output, quirks included. Where a mark is split from the characters on both
//! sides, the character after it is consumed, so that `x-r-y` becomes `x r-y`.

/// Abbreviations in lower case that always keep their full stop.
const WITH_STOP: [&str; 3] = ["v", "vs", "rev"];
/// Abbreviations that keep their full stop before a number.
const WITH_STOP_BEFORE_NUMBERS: [&str; 1] = ["pp"];

/// Stands for a full stop in a run of them. Texts are in lower case, so no other `D` occurs.
const STOP_OF_RUN: char = 'D';

/// Splits a text of these tokens into words.
pub(super) fn split_words(tokens: &[String]) -> Vec<String> {
    let mut text = String::from(" ");
    for c in tokens.join(" ").chars() {
        let is_kept = is_alnum(c) || is_ascii_space(c) || ".'`,-‘’".contains(c);
        if is_kept { text.push(c) } else { text.extend([' ', c, ' ']) }
    }
    text.push(' ');
    let text = separate_stop_runs(&text);
    let text = replace_between(&text, ',', not(is_digit), not(is_digit), " , ");
    let text = replace_between(&text, ',', is_digit, not(is_digit), " , ");
    let text = replace_between(&text, ',', not(is_digit), is_digit, " , ");
    let text = text.replace(['`', '‘', '’'], "'");
    let text = text.replace(['“', '”'], " \" ").replace("''", " \" ");
    let text = text.replace('–', "-").replace("--", "-");
    let text = replace_between(&text, '-', |c| is_alnum(c) || c == '.', is_alnum, " ");
    let text = replace_between(&text, '\'', not(is_alpha), not(is_alpha), " ' ");
    let text = replace_between(&text, '\'', |c| !is_alpha(c) && !is_digit(c), is_alpha, " ' ");
    let text = replace_between(&text, '\'', is_alpha, not(is_alpha), " ' ");
    let text = replace_between(&text, '\'', is_alpha, is_alpha, " '");
    let text = replace_between(&text, '\'', is_digit, |c| c == 's', " '");
    let mut words = Vec::new();
    let parts: Vec<&str> = text.split(is_ascii_space).filter(|part| !part.is_empty()).collect();
    for (i, part) in parts.iter().enumerate() {
        push_word(part, parts.get(i + 1).copied(), &mut words);
    }
    // White space outside ASCII was a word until here.
    words.retain(|word| !word.chars().all(is_unicode_space));
    for word in &mut words {
        *word = word.replace(STOP_OF_RUN, ".");
    }
    words
}

/// Adds `part` to `words`. A full stop at its end becomes a word unless it belongs to an abbreviation.
fn push_word(part: &str, next: Option<&str>, words: &mut Vec<String>) {
    let Some(before) = part.strip_suffix('.').filter(|before| !before.is_empty()) else {
        return words.push(part.to_owned());
    };
    let next_is = |is: fn(char) -> bool| next.is_some_and(|next| next.starts_with(is));
    if before.contains('.') && before.contains(is_alpha) {
        words.push(part.replace('.', ""));
    } else if WITH_STOP.contains(&before)
        || next_is(|c| c.is_ascii_lowercase())
        || WITH_STOP_BEFORE_NUMBERS.contains(&before) && next_is(is_digit)
    {
        words.push(part.to_owned());
    } else {
        words.extend([before.to_owned(), ".".to_owned()]);
    }
}

/// Writes each run of full stops as a word of its own.
fn separate_stop_runs(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("..") {
        let (before, run) = rest.split_at(at);
        let len = run.len() - run.trim_start_matches('.').len();
        written.push_str(before);
        written.push(' ');
        written.extend(std::iter::repeat_n(STOP_OF_RUN, len));
        written.push(' ');
        rest = &run[len..];
    }
    written + rest
}

/// Replaces every `mark` between two characters of these kinds with `replacement`.
fn replace_between(
    text: &str,
    mark: char,
    before: impl Fn(char) -> bool,
    after: impl Fn(char) -> bool,
    replacement: &str,
) -> String {
    let mut written = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        written.push(c);
        let mut ahead = chars.clone();
        if let (true, Some(m), Some(next)) = (before(c), ahead.next(), ahead.next())
            && m == mark
            && after(next)
        {
            written.push_str(replacement);
            written.push(next);
            chars = ahead;
        }
    }
    written
}

fn not(is: fn(char) -> bool) -> impl Fn(char) -> bool {
    move |c| !is(c)
}

fn is_digit(c: char) -> bool {
    c.is_ascii_digit()
}

/// The letters the program knows: Latin without mathematical letters, and Cyrillic.
fn is_alpha(c: char) -> bool {
    c.is_ascii_alphabetic()
        || matches!(c, 'À'..='Ö' | 'Ø'..='ö' | 'ø'..='ž' | '\u{400}'..='\u{527}'
            | '\u{a640}'..='\u{a66e}' | '\u{a67e}'..='\u{a697}' | '\u{1d00}'..='\u{1d7f}')
}

fn is_alnum(c: char) -> bool {
    is_alpha(c) || is_digit(c)
}

fn is_ascii_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\u{b}' | '\u{c}' | '\r')
}

fn is_unicode_space(c: char) -> bool {
    matches!(c, '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_equal_those_of_the_program() {
        for (tokens, want) in [
            (vec!["the", "patient", "'s", "is", "n't"], "the patient ' s is n 't"),
            (vec!["x-r-y", "t2-flair"], "x r-y t2 flair"),
            (vec!["5.5", "3,000", "1\u{a0}1/2", "50", "%"], "5.5 3,000 1 1 / 2 50 %"),
            (
                vec!["e.g.", "vs.", "dr.", "no.", "5", "fig.", "a", "cm."],
                "eg vs. dr. no . 5 fig. a cm .",
            ),
            (vec!["pp.", "5-6", "-lrb-", "(", "a...b"], "pp. 5 6 -lrb- ( a ... b"),
        ] {
            let tokens: Vec<String> = tokens.into_iter().map(str::to_owned).collect();
            assert_eq!(split_words(&tokens).join(" "), want, "{tokens:?}");
        }
    }
}
