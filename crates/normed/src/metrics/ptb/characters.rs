//! Which characters form words, which are tokens of their own, and which are omitted.

/// The ranges of symbols and punctuation that are tokens of their own, sorted. A character that is neither
/// a letter, nor in a range, nor named by a rule is omitted.
const KEPT: [(char, char); 69] = [
    ('!', '/'),
    (':', '@'),
    ('[', '`'),
    ('{', '~'),
    ('\u{a1}', '\u{a9}'),
    ('\u{ab}', '\u{ac}'),
    ('\u{ae}', '\u{b4}'),
    ('\u{b6}', '\u{b9}'),
    ('\u{bb}', '\u{bf}'),
    ('\u{d7}', '\u{d7}'),
    ('\u{f7}', '\u{f7}'),
    ('\u{37e}', '\u{37e}'),
    ('\u{387}', '\u{387}'),
    ('\u{589}', '\u{589}'),
    ('\u{5be}', '\u{5be}'),
    ('\u{5c0}', '\u{5c0}'),
    ('\u{5c3}', '\u{5c3}'),
    ('\u{5c6}', '\u{5c6}'),
    ('\u{5f3}', '\u{5f4}'),
    ('\u{600}', '\u{603}'),
    ('\u{606}', '\u{60c}'),
    ('\u{614}', '\u{614}'),
    ('\u{61b}', '\u{61b}'),
    ('\u{61e}', '\u{61f}'),
    ('\u{66a}', '\u{66a}'),
    ('\u{66d}', '\u{66d}'),
    ('\u{6d4}', '\u{6d4}'),
    ('\u{700}', '\u{70d}'),
    ('\u{7f6}', '\u{7f8}'),
    ('\u{964}', '\u{965}'),
    ('\u{e3f}', '\u{e3f}'),
    ('\u{e4f}', '\u{e4f}'),
    ('\u{1fbd}', '\u{1fbd}'),
    ('\u{2013}', '\u{201e}'),
    ('\u{2020}', '\u{2023}'),
    ('\u{2026}', '\u{2026}'),
    ('\u{2030}', '\u{203b}'),
    ('\u{203e}', '\u{2042}'),
    ('\u{2044}', '\u{2044}'),
    ('\u{2070}', '\u{2070}'),
    ('\u{2074}', '\u{207e}'),
    ('\u{2080}', '\u{208e}'),
    ('\u{20a0}', '\u{20a0}'),
    ('\u{20a4}', '\u{20a4}'),
    ('\u{20ac}', '\u{20ac}'),
    ('\u{2100}', '\u{2101}'),
    ('\u{2103}', '\u{2106}'),
    ('\u{2108}', '\u{2109}'),
    ('\u{2114}', '\u{2114}'),
    ('\u{2116}', '\u{2118}'),
    ('\u{211e}', '\u{2123}'),
    ('\u{2125}', '\u{2125}'),
    ('\u{2127}', '\u{2127}'),
    ('\u{2129}', '\u{2129}'),
    ('\u{212e}', '\u{212e}'),
    ('\u{213a}', '\u{213b}'),
    ('\u{2140}', '\u{2144}'),
    ('\u{214a}', '\u{214d}'),
    ('\u{214f}', '\u{214f}'),
    ('\u{2153}', '\u{215e}'),
    ('\u{2190}', '\u{2bff}'),
    ('\u{3001}', '\u{3002}'),
    ('\u{3012}', '\u{3012}'),
    ('\u{30fb}', '\u{30fb}'),
    ('\u{ff01}', '\u{ff0f}'),
    ('\u{ff1a}', '\u{ff20}'),
    ('\u{ff3b}', '\u{ff40}'),
    ('\u{ff5b}', '\u{ff65}'),
    ('\u{ffe0}', '\u{ffe6}'),
];

/// Whether a symbol is a token of its own.
pub(super) fn is_kept(c: char) -> bool {
    let after = KEPT.partition_point(|(first, _)| *first <= c);
    after > 0 && c <= KEPT[after - 1].1
}

/// Whether `c` is a letter, a combining mark or a soft hyphen.
pub(super) fn is_letter(c: char) -> bool {
    let circled = matches!(c, '\u{24b6}'..='\u{24e9}' | '\u{2160}'..='\u{2188}');
    let mark = matches!(c, '\u{2c2}'..='\u{36f}' | '\u{483}'..='\u{487}' | '\u{ad}');
    c < '\u{10000}' && !circled && (c.is_alphabetic() || mark)
}

/// Whether `c` is a letter or a digit of any script.
pub(super) fn is_alnum(c: char) -> bool {
    is_letter(c) || c.is_ascii_digit() || matches!(c, '\u{660}'..='\u{669}' | '\u{6f0}'..='\u{6f9}')
}

/// Whether `c` joins the parts of a compound.
pub(super) fn is_hyphen(c: char) -> bool {
    matches!(c, '-' | '_' | '\u{58a}' | '\u{2010}' | '\u{2011}')
}

/// Whether `c` is a straight or curly apostrophe.
pub(super) fn is_apostrophe(c: char) -> bool {
    matches!(c, '\'' | '\u{92}' | '\u{2019}')
}
