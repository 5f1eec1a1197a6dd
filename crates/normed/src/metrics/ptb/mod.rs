//! Tokens as Stanford's PTBTokenizer 3.4.1 makes them, the one that the COCO caption tools call, in
//! lower case: words parted from punctuation as in the Penn Treebank.
//!
//! Written from what that program does, string by string, not from its source. At each place the
//! rule that reaches furthest wins. What a rule must see may lie on the next line: captions of one
//! call are one text, and at the end of one `A.` is a letter and a full stop if the next starts with
//! `The`.

mod characters;
mod rules;
mod words;

use rules::{Form, longest};

/// What the COCO caption tools drop after tokenisation. Brackets are not among them: the tools look
/// for `-LRB-`, and the tokenizer writes `-lrb-`.
const PUNCTUATION: [&str; 13] =
    ["''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"];

/// The tokens of each of some captions of one call, without punctuation.
///
/// A token may hold a no-break space, as `1 1/2` does: of the tools' metrics some take it for one
/// word and some for two.
pub(super) fn tokenize<'a>(captions: impl IntoIterator<Item = &'a str>) -> Vec<Vec<String>> {
    let mut text: Vec<char> = Vec::new();
    for caption in captions {
        // Whatever else would end a line is a blank: one caption is one line.
        text.extend(caption.chars().map(|c| if breaks_line(c) { ' ' } else { c }));
        text.push('\n');
    }
    let mut lines = Vec::new();
    let (mut line, mut at) = (Vec::new(), 0);
    // The last line has no end in the tools' file.
    let all = &text[..text.len().saturating_sub(1)];
    while at < text.len() {
        match text[at] {
            '\n' => {
                lines.push(std::mem::take(&mut line));
                at += 1;
            }
            c if c.is_whitespace() => at += 1,
            _ => {
                let found = longest(&all[at..]);
                push(&mut line, &all[at..at + found.len], found.form);
                at += found.len;
            }
        }
    }
    lines
}

fn breaks_line(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

fn push(line: &mut Vec<String>, found: &[char], form: Form) {
    let mut text = String::with_capacity(found.len());
    match form {
        Form::LeftOut => return,
        Form::As(means) => text.push_str(means),
        Form::Plain => text.extend(found),
        Form::Straight => {
            text.extend(found.iter().map(|&c| if characters::is_apostrophe(c) { '\'' } else { c }));
        }
        Form::Named => {
            for &c in found {
                match c {
                    '(' => text.push_str("-lrb-"),
                    ')' => text.push_str("-rrb-"),
                    c if c.is_whitespace() => text.push('\u{a0}'),
                    c => text.push(c),
                }
            }
        }
    }
    text.retain(|c| c != '\u{ad}');
    let text = text.to_lowercase().replace("&amp;", "&");
    if !text.is_empty() && !PUNCTUATION.contains(&text.as_str()) {
        line.push(text);
    }
}
