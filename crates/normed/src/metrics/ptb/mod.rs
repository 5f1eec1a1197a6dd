//! Tokenizes text like Stanford's PTBTokenizer 3.4.1, which the COCO caption tools call, in lower case.
//! Words are separated from punctuation as in the Penn Treebank.
//!
//! It was written from that program's output, not from its source. At each position the match with the
//! longest reach wins. A rule may examine the next line: all captions of one call form one text. At the end
//! of a caption, `A.` is a letter and a full stop if the next caption starts with `The`.

mod characters;
mod rules;
mod symbol_rules;
mod token_match;
mod word_rules;
mod words;

use rules::longest_match;
use token_match::Form;

/// The tokens that the COCO caption tools remove. Brackets are not removed: the tools look for `-LRB-`, but
/// the tokenizer writes `-lrb-`.
const PUNCTUATION: [&str; 13] =
    ["''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"];

/// Tokenizes the captions of one call, without punctuation; one list of tokens per caption.
///
/// A token may contain a no-break space, such as `1 1/2`. Some of the tools' metrics count it as one word and
/// some as two.
pub(super) fn tokenize<'a>(captions: impl IntoIterator<Item = &'a str>) -> Vec<Vec<String>> {
    let mut text: Vec<char> = Vec::new();
    for caption in captions {
        // Every caption is one line: line breaks inside become spaces.
        text.extend(caption.chars().map(|c| if is_line_break(c) { ' ' } else { c }));
        text.push('\n');
    }
    let mut lines = Vec::new();
    let (mut line, mut at) = (Vec::new(), 0);
    // The tools' file has no line break after the last line.
    let all = &text[..text.len().saturating_sub(1)];
    while at < text.len() {
        match text[at] {
            '\n' => {
                lines.push(std::mem::take(&mut line));
                at += 1;
            }
            c if c.is_whitespace() => at += 1,
            _ => {
                let found = longest_match(&all[at..]);
                push_token(&mut line, &all[at..at + found.len], found.form);
                at += found.len;
            }
        }
    }
    lines
}

fn is_line_break(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

fn push_token(line: &mut Vec<String>, found: &[char], form: Form) {
    let mut text = String::with_capacity(found.len());
    match form {
        Form::Omitted => return,
        Form::Replaced(by) => text.push_str(by),
        Form::Unchanged => text.extend(found),
        Form::StraightApostrophes => {
            text.extend(found.iter().map(|&c| if characters::is_apostrophe(c) { '\'' } else { c }));
        }
        Form::BracketsByName => {
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
