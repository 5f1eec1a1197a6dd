//! The rules: what may start at a place in a text, and how far it reaches.

use super::characters::{is_alnum, is_apostrophe, is_hyphen, is_kept, is_letter};
use super::words::{Abbreviation, abbreviation, opens_sentence, parts_at};

/// How a match is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As it stands, apostrophes and backquotes aside.
    Plain,
    /// As it stands, apostrophes straight.
    Straight,
    /// Round brackets by name, blanks such as do not part words.
    Named,
    /// In another way.
    As(&'static str),
    /// Not at all.
    LeftOut,
}

/// What a rule found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Match {
    /// Characters of the token.
    pub len: usize,
    /// Characters that had to be there: the token's, and what follows it. The longest reach wins.
    pub reach: usize,
    pub form: Form,
}

/// A text from some place on.
#[derive(Clone, Copy)]
pub(super) struct Rest<'a>(pub &'a [char]);

const RULES: [fn(Rest<'_>) -> Option<Match>; 28] = [
    tag,
    entity,
    pair,
    negated,
    leading_apostrophe,
    enclitic,
    foreign_apostrophe,
    letter_end,
    abbreviated,
    initials,
    clipped,
    measured,
    word,
    compound,
    slashed,
    ampersand,
    currency_code,
    address,
    mail,
    handle,
    phone,
    fraction,
    number,
    smiley,
    ellipsis,
    runs,
    quote,
    symbol,
];

/// What stands at the start of `text`, which is not empty and does not start with a blank: of all
/// that match, the one that reaches furthest; among equals, the first.
pub(super) fn longest(text: &[char]) -> Match {
    let mut best = Match { len: 1, reach: 0, form: Form::LeftOut };
    for found in RULES.iter().filter_map(|rule| rule(Rest(text))) {
        if found.reach > best.reach {
            best = found;
        }
    }
    best
}

fn plain(len: usize) -> Option<Match> {
    (len > 0).then_some(Match { len, reach: len, form: Form::Plain })
}

fn written(len: usize, form: Form) -> Option<Match> {
    Some(Match { len, reach: len, form })
}

impl Rest<'_> {
    fn at(self, i: usize) -> Option<char> {
        self.0.get(i).copied()
    }

    fn is(self, i: usize, class: impl Fn(char) -> bool) -> bool {
        self.at(i).is_some_and(class)
    }

    /// How many characters from `i` on are of `class`.
    fn run(self, i: usize, class: impl Fn(char) -> bool) -> usize {
        self.0.iter().skip(i).take_while(|&&c| class(c)).count()
    }

    fn digits(self, i: usize) -> usize {
        self.run(i, |c| c.is_ascii_digit())
    }

    /// Whether `what` stands at `i`, in either case.
    fn says(self, i: usize, what: &str) -> bool {
        what.chars().enumerate().all(|(k, c)| self.is(i + k, |d| d.eq_ignore_ascii_case(&c)))
    }

    fn text(self, from: usize, to: usize) -> String {
        self.0[from..to].iter().collect()
    }

    /// The end of an enclitic (`'s`, `'ll`) that starts at `i`.
    fn enclitic(self, i: usize) -> Option<usize> {
        if !self.is(i, is_apostrophe) {
            return None;
        }
        let len = ["ll", "re", "ve", "s", "d", "m"].iter().find(|e| self.says(i + 1, e))?.len();
        let end = i + 1 + len;
        (!self.is(end, is_letter)).then_some(end)
    }

    /// The end of letters and digits in parts, each joined to the one before it by one hyphen.
    fn compound(self, i: usize) -> usize {
        let mut end = i + self.run(i, is_alnum);
        while end > i && self.is(end, is_hyphen) && self.is(end + 1, is_alnum) {
            end += 1 + self.run(end + 1, is_alnum);
        }
        end
    }

    /// The end of initials with their full stops, as in `U.S.`.
    fn initials(self, i: usize) -> Option<usize> {
        let mut end = i;
        while self.is(end, |c| c.is_ascii_alphabetic()) && self.is(end + 1, |c| c == '.') {
            end += 2;
        }
        (end > i).then_some(end)
    }

    /// `end`, or the end of what is joined to it by hyphens.
    fn hyphened(self, end: usize) -> usize {
        if self.is(end, |c| c == '-') && self.is(end + 1, is_alnum) {
            self.compound(end + 1)
        } else {
            end
        }
    }
}

/// A tag of SGML or HTML, a comment, a declaration.
fn tag(t: Rest<'_>) -> Option<Match> {
    if t.at(0)? != '<' {
        return None;
    }
    if t.is(1, |c| c == '!' || c == '?') && t.is(2, |c| c.is_ascii_alphabetic() || c == '-') {
        let end = 1 + t.run(1, |c| c != '>' && c != '\n');
        return t.is(end, |c| c == '>').then_some(Match {
            len: end + 1,
            reach: end + 1,
            form: Form::Named,
        });
    }
    let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '.' | '-' | '_');
    let blank = |c: char| c == ' ';
    let start = if t.is(1, |c| c == '/') { 2 } else { 1 };
    if !t.is(start, |c| c.is_ascii_alphabetic()) {
        return None;
    }
    let mut end = start + t.run(start, name);
    loop {
        let blanks = t.run(end, blank);
        let at = end + blanks;
        if blanks == 0 || !t.is(at, |c| c.is_ascii_alphabetic()) {
            end = at;
            break;
        }
        end = at + t.run(at, name);
        if t.is(end, |c| c == '=') {
            let mark = t.at(end + 1).filter(|c| matches!(c, '"' | '\''))?;
            end += 2 + t.run(end + 2, |c| c != mark && c != '\n');
            end += usize::from(t.is(end, |c| c == mark));
        }
    }
    end += usize::from(t.is(end, |c| c == '/'));
    t.is(end, |c| c == '>').then_some(())?;
    written(end + 1, Form::Named)
}

/// A character that HTML writes as a word.
fn entity(t: Rest<'_>) -> Option<Match> {
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
    let (name, means) = ENTITIES.iter().find(|(name, _)| t.says(0, name))?;
    written(name.len(), if means.is_empty() { Form::LeftOut } else { Form::As(means) })
}

/// The first of two words that are written as one.
fn pair(t: Rest<'_>) -> Option<Match> {
    let word = t.run(0, is_letter).min(16);
    if t.says(0, "'tis") || t.says(0, "'twas") {
        let len = if t.says(0, "'tis") { 4 } else { 5 };
        return Some(Match { len: 2, reach: len, form: Form::Plain });
    }
    let len = parts_at(&t.text(0, word))?;
    (!t.is(word, is_alnum)).then_some(Match { len, reach: word, form: Form::Plain })
}

/// A word in front of `n't`, and `n't` itself.
fn negated(t: Rest<'_>) -> Option<Match> {
    let is_not = |i: usize| {
        t.is(i, |c| matches!(c, 'n' | 'N'))
            && t.is(i + 1, |c| is_apostrophe(c) || c == '`')
            && t.is(i + 2, |c| matches!(c, 't' | 'T'))
    };
    if is_not(0) {
        return written(3, Form::Straight);
    }
    let letters = t.run(0, |c| c.is_ascii_alphabetic());
    let len = letters.checked_sub(1)?;
    let own = len > 0 && !matches!(t.at(len - 1), Some('n' | 'N'));
    (own && is_not(len)).then_some(Match { len, reach: len + 3, form: Form::Plain })
}

/// What starts with an apostrophe that stands for letters or digits.
fn leading_apostrophe(t: Rest<'_>) -> Option<Match> {
    if t.is(0, is_apostrophe) && t.digits(1) == 2 {
        let ends = t.0.get(3).is_none_or(|c| c.is_whitespace());
        return if ends { plain(3) } else { decade(t) };
    }
    if t.at(0)? != '\'' {
        return None;
    }
    if t.says(1, "n'") {
        return plain(3);
    }
    let word = ["till", "til", "cause", "em", "n"]
        .iter()
        .find(|w| t.says(1, w) && !t.is(1 + w.len(), is_alnum));
    plain(1 + word?.len())
}

/// A decade from the twenties on, as `'90s`.
fn decade(t: Rest<'_>) -> Option<Match> {
    let found = t.is(1, |c| c >= '2') && t.says(2, "0s") && !t.is(4, is_alnum);
    if found { plain(4) } else { None }
}

/// `'s`, `'ll`, `'ve` and their like.
fn enclitic(t: Rest<'_>) -> Option<Match> {
    written(t.enclitic(0)?, Form::Straight)
}

/// Words with an apostrophe inside, as O'Brien, and French words cut short, as l'.
fn foreign_apostrophe(t: Rest<'_>) -> Option<Match> {
    let whole = ["c'est", "ma'am", "e'er", "ne'er", "o'er", "o'clock"];
    let says = |word: &str| {
        let same = |(i, c): (usize, char)| {
            t.is(i, |d| if c == '\'' { is_apostrophe(d) } else { d.eq_ignore_ascii_case(&c) })
        };
        word.chars().enumerate().all(same) && !t.is(word.len(), is_letter)
    };
    if let Some(word) = whole.iter().find(|word| says(word)) {
        return plain(word.len());
    }
    if t.says(0, "ol") && t.is(2, is_apostrophe) && !t.is(3, is_letter) {
        return written(3, Form::Straight);
    }
    if t.says(0, "qu") && t.is(2, is_apostrophe) && t.is(3, is_letter) {
        return plain(3 + t.run(3, is_letter));
    }
    if !t.is(1, is_apostrophe) {
        return None;
    }
    let first = t.at(0)?.to_ascii_lowercase();
    let letters = t.run(2, is_letter);
    match first {
        'd' | 'l' | 'o' | 'n' if letters >= 2 => plain(t.compound(2)),
        'd' | 'l' | 'j' => written(2, Form::Straight),
        'y' if letters > 0 => written(2, Form::Straight),
        _ => None,
    }
}

/// Whether blanks and a word that opens a sentence follow at `i`.
fn sentence_follows(t: Rest<'_>, i: usize) -> bool {
    let blanks = t.run(i, char::is_whitespace);
    let (from, letters) = (i + blanks, t.run(i + blanks, is_alnum));
    blanks > 0
        && letters <= 8
        && t.is(from + letters, char::is_whitespace)
        && opens_sentence(&t.text(from, from + letters))
}

/// A single letter at the end of a sentence: a word, and the full stop no part of it.
fn letter_end(t: Rest<'_>) -> Option<Match> {
    let found = t.initials(0)? == 2 && sentence_follows(t, 2);
    found.then_some(Match { len: 1, reach: 4, form: Form::Plain })
}

/// An abbreviation with its full stop.
fn abbreviated(t: Rest<'_>) -> Option<Match> {
    let mut word = t.run(0, |c| c.is_ascii_alphabetic());
    if t.says(0, "ph.d.") {
        word = 4;
    }
    if !(2..=8).contains(&word) || !t.is(word, |c| c == '.') {
        return None;
    }
    let text = t.text(0, word);
    let len = word + 1;
    let joined = t.hyphened(len);
    match abbreviation(&text)? {
        Abbreviation::Joining => plain(joined),
        Abbreviation::Plain => plain(len),
        Abbreviation::Numbered if joined > len => plain(joined),
        Abbreviation::Numbered => {
            let blank = usize::from(t.is(len, char::is_whitespace));
            let found = t.is(len + blank, |c| c.is_ascii_digit());
            found.then_some(Match { len, reach: len + blank + 1, form: Form::Plain })
        }
    }
}

/// Initials, also inside a compound.
fn initials(t: Rest<'_>) -> Option<Match> {
    let mut i = 0;
    loop {
        if let Some(end) = t.initials(i) {
            // A letter with its full stop is initials only by itself.
            let open = end + usize::from(t.is(end, |c| c.is_ascii_alphabetic()));
            let joined = t.hyphened(open);
            let len = if joined > open { joined } else { end };
            return if i == 0 || len > i + 2 { plain(len) } else { None };
        }
        let part = t.run(i, is_alnum);
        if part == 0 || !t.is(i + part, |c| c == '-') {
            return None;
        }
        i += part + 1;
    }
}

/// A word or compound with a full stop that a comma, a colon or a semicolon follows: some
/// abbreviation.
fn clipped(t: Rest<'_>) -> Option<Match> {
    let len = t.compound(0) + 1;
    let found = len > 1 && t.is(len - 1, |c| c == '.') && t.is(len, |c| ",;:".contains(c));
    found.then_some(Match { len, reach: len + 1, form: Form::Plain })
}

/// A decimal number at the start of a compound, as `1.5-T`.
fn measured(t: Rest<'_>) -> Option<Match> {
    let mut end = t.digits(0);
    while end > 0 {
        let more = if t.is(end, |c| matches!(c, '.' | ',')) && t.digits(end + 1) > 0 {
            1 + t.run(end + 1, is_alnum)
        } else {
            t.run(end, is_alnum)
        };
        if more == 0 {
            break;
        }
        end += more;
    }
    let joined = if end > 0 { t.hyphened(end) } else { 0 };
    if joined > end { plain(joined) } else { None }
}

/// A word, also with full stops, question or exclamation marks between letters, as in a name on
/// the internet.
fn word(t: Rest<'_>) -> Option<Match> {
    if !t.is(0, is_letter) {
        return None;
    }
    let mut len = t.run(0, is_alnum);
    while t.is(len, |c| matches!(c, '.' | '!' | '?')) && t.is(len + 1, is_letter) {
        len += 1 + t.run(len + 1, is_alnum);
    }
    Some(Match { len, reach: t.enclitic(len).unwrap_or(len), form: Form::Plain })
}

/// Letters and digits, also joined by hyphens.
fn compound(t: Rest<'_>) -> Option<Match> {
    let len = t.compound(0);
    let reach = t.enclitic(len).unwrap_or(len);
    (len > 0).then_some(Match { len, reach, form: Form::Plain })
}

/// Two or three words with slashes between, none of more than three parts.
fn slashed(t: Rest<'_>) -> Option<Match> {
    let part = |i: usize| {
        let mut end = i + t.run(i, is_alnum);
        for _ in 0..2 {
            let letters = t.run(end + 1, is_letter);
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
    let reach = t.enclitic(end).unwrap_or(end);
    (slashes > 0).then_some(Match { len: end, reach, form: Form::Plain })
}

/// Capitals around `&` or `+`, as in AT&T; C++ and C#.
fn ampersand(t: Rest<'_>) -> Option<Match> {
    if t.says(0, "c++") || t.says(0, "c#") {
        return plain(if t.says(0, "c#") { 2 } else { 3 });
    }
    let capitals = |i: usize| t.run(i, |c| c.is_ascii_uppercase());
    let first = capitals(0);
    let mut end = first;
    while end > 0 && t.is(end, |c| matches!(c, '&' | '+')) {
        let sign = if t.says(end, "&amp;") { 5 } else { 1 };
        let more = capitals(end + sign);
        if more == 0 {
            break;
        }
        end += sign + more;
    }
    let reach = t.enclitic(end).unwrap_or(end);
    (end > first).then_some(Match { len: end, reach, form: Form::Plain })
}

/// The dollars of a country, as US$.
fn currency_code(t: Rest<'_>) -> Option<Match> {
    let letters = t.run(0, |c| c.is_ascii_uppercase());
    if letters > 0 && t.is(letters, |c| c == '$') { plain(letters + 1) } else { None }
}

/// An address on the web.
fn address(t: Rest<'_>) -> Option<Match> {
    let start = ["http://", "https://", "www."].iter().find(|s| t.says(0, s))?.len();
    let inside = |c: char| !c.is_whitespace() && !matches!(c, '<' | '>' | '"' | '(' | ')' | '|');
    let run = t.run(start, inside);
    let closing = |c: &&char| matches!(c, '.' | ',' | '!' | '?' | ';' | ':' | '\'' | '`');
    let outside = t.0[start..start + run].iter().rev().take_while(closing).count();
    if run > outside { plain(start + run - outside) } else { None }
}

/// An address of mail, or what is written like one.
fn mail(t: Rest<'_>) -> Option<Match> {
    let open = usize::from(t.at(0)? == '<');
    let inside = |c: char| !c.is_whitespace() && !"\"<>|()".contains(c);
    if !t.is(open, |c| c.is_ascii_alphanumeric()) {
        return None;
    }
    let run = t.run(open, inside);
    let host = open + 1 + t.0[open..open + run].iter().rposition(|&c| c == '@')?;
    // A full stop belongs to it where more follows.
    let outside = t.0[host..open + run].iter().rev().take_while(|&&c| c == '.').count();
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

/// A name with `@` and a topic with `#`.
fn handle(t: Rest<'_>) -> Option<Match> {
    let name = match t.at(0)? {
        '@' if t.is(1, |c| c.is_ascii_alphabetic() || c == '_') => {
            t.run(1, |c| c.is_ascii_alphanumeric() || c == '_')
        }
        '#' => t.run(1, is_letter),
        _ => 0,
    };
    if name > 0 { plain(1 + name) } else { None }
}

/// A telephone number, or what looks like one: three numbers in a row, as in `512 512 256`.
fn phone(t: Rest<'_>) -> Option<Match> {
    let apart = |c: char| matches!(c, ' ' | '-' | '\u{a0}');
    // The ends of a group of digits at `i` that may be cut short, the longest first.
    let group = |i: usize, least: usize, most: usize| {
        (least..=t.digits(i).min(most)).rev().map(move |n| i + n)
    };
    let last_two = |i: usize| {
        group(i, 3, 4).find_map(|a| {
            let gap = usize::from(t.is(a, apart));
            group(a + gap, 3, 5).next()
        })
    };
    let three =
        |i: usize| group(i, 2, 4).find_map(|a| if t.is(a, apart) { last_two(a + 1) } else { None });
    let plus = t.run(0, |c| c == '+').min(2);
    let four = group(plus, 2, 4).find_map(|a| if t.is(a, apart) { three(a + 1) } else { None });
    let bracketed = || {
        let digits = t.digits(1);
        let closed = t.at(0)? == '(' && (2..=3).contains(&digits) && t.is(1 + digits, |c| c == ')');
        let gap = usize::from(t.is(2 + digits, apart));
        if closed { last_two(2 + digits + gap) } else { None }
    };
    let end = four.or_else(|| if plus == 0 { three(0) } else { None }).or_else(bracketed)?;
    written(end, Form::Named)
}

/// A fraction, with the whole number before it.
fn fraction(t: Rest<'_>) -> Option<Match> {
    const SIGNS: [(char, &str); 5] =
        [('¼', "1/4"), ('½', "1/2"), ('¾', "3/4"), ('⅓', "1/3"), ('⅔', "2/3")];
    if let Some((_, means)) = SIGNS.iter().find(|(sign, _)| t.at(0) == Some(*sign)) {
        return written(1, Form::As(means));
    }
    let simple = |i: usize| {
        let above = t.digits(i);
        let below = t.digits(i + above + 1).min(4);
        let bar = t.is(i + above, |c| matches!(c, '/' | '\u{2044}'));
        ((1..=4).contains(&above) && bar && below > 0).then_some(i + above + 1 + below)
    };
    let whole = t.digits(0);
    let gap = t.is(whole, |c| matches!(c, ' ' | '-' | '\u{a0}'));
    let mixed = if (1..=4).contains(&whole) && gap { simple(whole + 1) } else { None };
    written(mixed.or_else(|| simple(0))?, Form::Named)
}

/// A number, with its sign, and with what parts its digits.
fn number(t: Rest<'_>) -> Option<Match> {
    let sign = usize::from(t.is(0, |c| matches!(c, '+' | '-')));
    let mut end = sign + t.digits(sign);
    while t.is(end, |c| matches!(c, '.' | ',' | ':' | '\u{2044}')) && t.digits(end + 1) > 0 {
        end += 1 + t.digits(end + 1);
    }
    if end > sign { plain(end) } else { None }
}

/// A face.
fn smiley(t: Rest<'_>) -> Option<Match> {
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
    found.then_some(Match { len: at + 1, reach: at + 1, form: Form::Named })
}

/// Three to five full stops, also with blanks between.
fn ellipsis(t: Rest<'_>) -> Option<Match> {
    let close = t.run(0, |c| c == '.').min(5);
    let mut apart = usize::from(t.at(0)? == '.');
    while (1..9).contains(&apart) && t.is(apart, |c| c == ' ') && t.is(apart + 1, |c| c == '.') {
        apart += 2;
    }
    match close.max(apart) {
        len if close >= 3 || apart >= 5 => written(len, Form::As("...")),
        _ if t.at(0)? == '…' => written(1, Form::As("...")),
        _ => None,
    }
}

/// Marks that are repeated.
fn runs(t: Rest<'_>) -> Option<Match> {
    let of = |class: fn(char) -> bool| t.run(0, class);
    match t.at(0)? {
        '?' | '!' => plain(of(|c| matches!(c, '?' | '!'))),
        '*' => plain(of(|c| c == '*')),
        '_' => plain(of(|c| c == '_')),
        '#' => plain(of(|c| c == '#')),
        '@' => plain(of(|c| c == '@')),
        '-' if t.is(1, |c| c == '-') => written(of(|c| c == '-'), Form::As("--")),
        '-' => {
            let bracket = t.is(1, |c| matches!(c, 'l' | 'L' | 'r' | 'R'))
                && t.is(2, |c| matches!(c, 'r' | 'R' | 's' | 'S' | 'c' | 'C'))
                && t.says(3, "b-");
            if bracket { plain(5) } else { None }
        }
        '\\' => {
            let stars = (0..3).take_while(|i| t.says(2 * i, "\\*")).count();
            plain(2 * stars)
        }
        _ => None,
    }
}

/// Quotation marks, as LaTeX writes them.
fn quote(t: Rest<'_>) -> Option<Match> {
    let form = |text| Some(Form::As(text));
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
    written(len, form?)
}

/// Everything else that is a token of its own.
fn symbol(t: Rest<'_>) -> Option<Match> {
    let c = t.at(0)?;
    let form = match c {
        '(' => Form::As("-lrb-"),
        ')' => Form::As("-rrb-"),
        '[' => Form::As("-lsb-"),
        ']' => Form::As("-rsb-"),
        '{' => Form::As("-lcb-"),
        '}' => Form::As("-rcb-"),
        '\u{96}' | '\u{97}' | '\u{2013}' | '\u{2014}' | '\u{2015}' => Form::As("--"),
        '\u{80}' | '\u{a4}' | '\u{20a0}' | '\u{20ac}' => Form::As("$"),
        '\u{a3}' => Form::As("#"),
        '\u{a2}' => Form::As("cents"),
        c if is_kept(c) => Form::Plain,
        _ => return None,
    };
    written(1, form)
}
