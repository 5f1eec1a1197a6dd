//! The rules for everything but words: markup, addresses, numbers, and punctuation.

use super::characters::{is_alnum, is_kept, is_letter};
use super::token_match::{Form, Remaining, TokenMatch, matched, plain};

/// A tag of SGML or HTML, a comment, or a declaration.
pub(super) fn markup(t: Remaining<'_>) -> Option<TokenMatch> {
    if t.at(0)? != '<' {
        return None;
    }
    if t.is(1, |c| c == '!' || c == '?') && t.is(2, |c| c.is_ascii_alphabetic() || c == '-') {
        let end = 1 + t.count(1, |c| c != '>' && c != '\n');
        return t.is(end, |c| c == '>').then_some(TokenMatch {
            len: end + 1,
            reach: end + 1,
            form: Form::BracketsByName,
        });
    }
    let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '.' | '-' | '_');
    let blank = |c: char| c == ' ';
    let start = if t.is(1, |c| c == '/') { 2 } else { 1 };
    if !t.is(start, |c| c.is_ascii_alphabetic()) {
        return None;
    }
    let mut end = start + t.count(start, name);
    loop {
        let blanks = t.count(end, blank);
        let at = end + blanks;
        if blanks == 0 || !t.is(at, |c| c.is_ascii_alphabetic()) {
            end = at;
            break;
        }
        end = at + t.count(at, name);
        if t.is(end, |c| c == '=') {
            let mark = t.at(end + 1).filter(|c| matches!(c, '"' | '\''))?;
            end += 2 + t.count(end + 2, |c| c != mark && c != '\n');
            end += usize::from(t.is(end, |c| c == mark));
        }
    }
    end += usize::from(t.is(end, |c| c == '/'));
    t.is(end, |c| c == '>').then_some(())?;
    matched(end + 1, Form::BracketsByName)
}

/// An HTML entity, such as `&lt;`.
pub(super) fn entity(t: Remaining<'_>) -> Option<TokenMatch> {
    const ENTITIES: [(&str, &str); 10] = [
        ("&amp;", "&"),
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "''"),
        ("&apos;", "'"),
        ("&nbsp;", ""),
        ("&mdash;", "--"),
        ("&ndash;", "--"),
        ("&MD;", "--"),
        ("&#39;", "&#39;"),
    ];
    let (name, means) = ENTITIES.iter().find(|(name, _)| t.starts_at(0, name))?;
    matched(name.len(), if means.is_empty() { Form::Omitted } else { Form::Replaced(means) })
}

/// Capitals joined by `&` or `+`, such as `AT&T`; `C++` and `C#`.
pub(super) fn joined_capitals(t: Remaining<'_>) -> Option<TokenMatch> {
    if t.starts_at(0, "c++") || t.starts_at(0, "c#") {
        return plain(if t.starts_at(0, "c#") { 2 } else { 3 });
    }
    let capitals = |i: usize| t.count(i, |c| c.is_ascii_uppercase());
    let first = capitals(0);
    let mut end = first;
    while end > 0 && t.is(end, |c| matches!(c, '&' | '+')) {
        let sign = if t.starts_at(end, "&amp;") { 5 } else { 1 };
        let more = capitals(end + sign);
        if more == 0 {
            break;
        }
        end += sign + more;
    }
    let reach = t.enclitic_end(end).unwrap_or(end);
    (end > first).then_some(TokenMatch { len: end, reach, form: Form::Unchanged })
}

/// The dollars of a country, such as `US$`.
pub(super) fn dollar_code(t: Remaining<'_>) -> Option<TokenMatch> {
    let letters = t.count(0, |c| c.is_ascii_uppercase());
    if letters > 0 && t.is(letters, |c| c == '$') { plain(letters + 1) } else { None }
}

/// A web address.
pub(super) fn web_address(t: Remaining<'_>) -> Option<TokenMatch> {
    let start = ["http://", "https://", "www."].iter().find(|s| t.starts_at(0, s))?.len();
    let inside = |c: char| !c.is_whitespace() && !matches!(c, '<' | '>' | '"' | '(' | ')' | '|');
    let run = t.count(start, inside);
    let closing = |c: &&char| matches!(c, '.' | ',' | '!' | '?' | ';' | ':' | '\'' | '`');
    let outside = t.chars[start..start + run].iter().rev().take_while(closing).count();
    if run > outside { plain(start + run - outside) } else { None }
}

/// An email address, or what looks like one.
pub(super) fn email_address(t: Remaining<'_>) -> Option<TokenMatch> {
    let open = usize::from(t.at(0)? == '<');
    let inside = |c: char| !c.is_whitespace() && !"\"<>|()".contains(c);
    if !t.is(open, |c| c.is_ascii_alphanumeric()) {
        return None;
    }
    let run = t.count(open, inside);
    let host = open + 1 + t.chars[open..open + run].iter().rposition(|&c| c == '@')?;
    // Full stops at the end are not part of it.
    let outside = t.chars[host..open + run].iter().rev().take_while(|&&c| c == '.').count();
    let end = open + run - outside;
    if end <= host || t.is(host, |c| c == '.') {
        return None;
    }
    match (open, t.is(end, |c| c == '>')) {
        (1, true) => plain(end + 1),
        (1, false) => None,
        _ => plain(end),
    }
}

/// A user name with `@`, or a topic with `#`.
pub(super) fn handle(t: Remaining<'_>) -> Option<TokenMatch> {
    let name = match t.at(0)? {
        '@' if t.is(1, |c| c.is_ascii_alphabetic() || c == '_') => {
            t.count(1, |c| c.is_ascii_alphanumeric() || c == '_')
        }
        '#' => t.count(1, is_letter),
        _ => 0,
    };
    if name > 0 { plain(1 + name) } else { None }
}

/// A telephone number, or what looks like one: three numbers in a row, such as `512 512 256`.
pub(super) fn phone(t: Remaining<'_>) -> Option<TokenMatch> {
    let is_gap = |c: char| matches!(c, ' ' | '-' | '\u{a0}');
    // The possible ends of a group of digits at `i`, the longest first.
    let group = |i: usize, least: usize, most: usize| {
        (least..=t.count_digits(i).min(most)).rev().map(move |n| i + n)
    };
    let last_two = |i: usize| {
        group(i, 3, 4).find_map(|a| {
            let gap = usize::from(t.is(a, is_gap));
            group(a + gap, 3, 5).next()
        })
    };
    let three = |i: usize| {
        group(i, 2, 4).find_map(|a| if t.is(a, is_gap) { last_two(a + 1) } else { None })
    };
    let plus = t.count(0, |c| c == '+').min(2);
    let four = group(plus, 2, 4).find_map(|a| if t.is(a, is_gap) { three(a + 1) } else { None });
    let bracketed = || {
        let digits = t.count_digits(1);
        let closed = t.at(0)? == '(' && (2..=3).contains(&digits) && t.is(1 + digits, |c| c == ')');
        let gap = usize::from(t.is(2 + digits, is_gap));
        if closed { last_two(2 + digits + gap) } else { None }
    };
    let end = four.or_else(|| if plus == 0 { three(0) } else { None }).or_else(bracketed)?;
    matched(end, Form::BracketsByName)
}

/// A fraction, with the whole number before it.
pub(super) fn fraction(t: Remaining<'_>) -> Option<TokenMatch> {
    const SIGNS: [(char, &str); 5] =
        [('¼', "1/4"), ('½', "1/2"), ('¾', "3/4"), ('⅓', "1/3"), ('⅔', "2/3")];
    if let Some((_, means)) = SIGNS.iter().find(|(sign, _)| t.at(0) == Some(*sign)) {
        return matched(1, Form::Replaced(means));
    }
    let simple = |i: usize| {
        let above = t.count_digits(i);
        let below = t.count_digits(i + above + 1).min(4);
        let bar = t.is(i + above, |c| matches!(c, '/' | '\u{2044}'));
        ((1..=4).contains(&above) && bar && below > 0).then_some(i + above + 1 + below)
    };
    let whole = t.count_digits(0);
    let gap = t.is(whole, |c| matches!(c, ' ' | '-' | '\u{a0}'));
    let mixed = if (1..=4).contains(&whole) && gap { simple(whole + 1) } else { None };
    matched(mixed.or_else(|| simple(0))?, Form::BracketsByName)
}

/// A number with its sign and its separators.
pub(super) fn number(t: Remaining<'_>) -> Option<TokenMatch> {
    let sign = usize::from(t.is(0, |c| matches!(c, '+' | '-')));
    let mut end = sign + t.count_digits(sign);
    while t.is(end, |c| matches!(c, '.' | ',' | ':' | '\u{2044}')) && t.count_digits(end + 1) > 0 {
        end += 1 + t.count_digits(end + 1);
    }
    if end > sign { plain(end) } else { None }
}

/// A smiley.
pub(super) fn smiley(t: Remaining<'_>) -> Option<TokenMatch> {
    let eye = |c: char| matches!(c, '-' | '^' | 'x' | '=' | '~' | '<' | '>' | '\'');
    if t.is(0, eye) && t.is(1, |c| c == '_') && t.is(2, eye) {
        return plain(3);
    }
    let brow = usize::from(matches!(t.at(0)?, '<' | '>'));
    if !t.is(brow, |c| matches!(c, ':' | ';' | '=')) {
        return None;
    }
    let mouth = |c: char| {
        matches!(c, '(' | ')' | 'D' | 'd' | 'P' | 'p' | 'O' | '\\' | '{' | '@' | '|' | '[' | ']')
    };
    let nose = |c: char| matches!(c, '-' | 'o' | '*' | '\'');
    let at = if t.is(brow + 1, nose) && t.is(brow + 2, mouth) { brow + 2 } else { brow + 1 };
    let found = t.is(at, mouth) && !t.is(at + 1, is_alnum);
    found.then_some(TokenMatch { len: at + 1, reach: at + 1, form: Form::BracketsByName })
}

/// Three to five full stops, also with spaces between them.
pub(super) fn ellipsis(t: Remaining<'_>) -> Option<TokenMatch> {
    let close = t.count(0, |c| c == '.').min(5);
    let mut apart = usize::from(t.at(0)? == '.');
    while (1..9).contains(&apart) && t.is(apart, |c| c == ' ') && t.is(apart + 1, |c| c == '.') {
        apart += 2;
    }
    match close.max(apart) {
        len if close >= 3 || apart >= 5 => matched(len, Form::Replaced("...")),
        _ if t.at(0)? == '…' => matched(1, Form::Replaced("...")),
        _ => None,
    }
}

/// A repeated mark.
pub(super) fn repeated_marks(t: Remaining<'_>) -> Option<TokenMatch> {
    let of = |class: fn(char) -> bool| t.count(0, class);
    match t.at(0)? {
        '?' | '!' => plain(of(|c| matches!(c, '?' | '!'))),
        '*' => plain(of(|c| c == '*')),
        '_' => plain(of(|c| c == '_')),
        '#' => plain(of(|c| c == '#')),
        '@' => plain(of(|c| c == '@')),
        '-' if t.is(1, |c| c == '-') => matched(of(|c| c == '-'), Form::Replaced("--")),
        '-' => {
            let bracket = t.is(1, |c| matches!(c, 'l' | 'L' | 'r' | 'R'))
                && t.is(2, |c| matches!(c, 'r' | 'R' | 's' | 'S' | 'c' | 'C'))
                && t.starts_at(3, "b-");
            if bracket { plain(5) } else { None }
        }
        '\\' => {
            let stars = (0..3).take_while(|i| t.starts_at(2 * i, "\\*")).count();
            plain(2 * stars)
        }
        _ => None,
    }
}

/// A quotation mark, written as in LaTeX.
pub(super) fn quote(t: Remaining<'_>) -> Option<TokenMatch> {
    let form = |text| Some(Form::Replaced(text));
    let (len, form) = match t.at(0)? {
        '\'' if t.is(1, |c| c == '\'') => (2, form("''")),
        '`' if t.is(1, |c| c == '`') => (2, form("``")),
        '"' if t.is(1, |c| c.is_ascii_alphanumeric() || c == '$') => (1, form("``")),
        '"' => (1, form("''")),
        '\'' if t.is(1, |c| c.is_ascii_alphabetic()) && t.is(2, |c| !c.is_whitespace()) => {
            (1, form("`"))
        }
        '\'' | '\u{92}' | '\u{2019}' | '\u{203a}' => (1, form("'")),
        '\u{91}' | '\u{2018}' | '\u{201b}' | '\u{2039}' => (1, form("`")),
        '\u{93}' | '\u{201c}' | '\u{ab}' => (1, form("``")),
        '\u{94}' | '\u{201d}' | '\u{bb}' => (1, form("''")),
        _ => return None,
    };
    matched(len, form?)
}

/// Any other character that is a token of its own.
pub(super) fn symbol(t: Remaining<'_>) -> Option<TokenMatch> {
    let c = t.at(0)?;
    let form = match c {
        '(' => Form::Replaced("-lrb-"),
        ')' => Form::Replaced("-rrb-"),
        '[' => Form::Replaced("-lsb-"),
        ']' => Form::Replaced("-rsb-"),
        '{' => Form::Replaced("-lcb-"),
        '}' => Form::Replaced("-rcb-"),
        '\u{96}' | '\u{97}' | '\u{2013}' | '\u{2014}' | '\u{2015}' => Form::Replaced("--"),
        '\u{80}' | '\u{a4}' | '\u{20a0}' | '\u{20ac}' => Form::Replaced("$"),
        '\u{a3}' => Form::Replaced("#"),
        '\u{a2}' => Form::Replaced("cents"),
        c if is_kept(c) => Form::Unchanged,
        _ => return None,
    };
    matched(1, form)
}
