//! The `strict` protocol: when two answers match, and how many tokens they share.
//!
//! An answer is normalized in four steps:
//! 1. letters become lower case;
//! 2. runs of white space become one space; white space at either end is removed;
//! 3. spaces are removed next to a character that is neither letter nor digit, and next to a Chinese,
//!    Japanese or Korean character. BERT tokenizers insert such spaces: `x-ray` comes back as `x - ray`;
//! 4. full stops at the end are removed.
//!
//! Nothing else is changed: articles stay, numbers are not spelled out, and a substring is no match.
//! Tokens are the runs of letters and digits in a normalized answer; each Chinese, Japanese or Korean
//! character is a token of its own.

use crate::data::yes_or_no;

/// The name of this protocol in metrics.json.
pub const STRICT_PROTOCOL: &str = "strict";

/// A normalized answer: its text and its tokens.
///
/// ```
/// use normed::metrics::NormalizedAnswer;
///
/// let [answer, target] = ["The left lung.", "left lung"].map(NormalizedAnswer::new);
/// assert_eq!(answer.text(), "the left lung");
/// assert_eq!(answer.exact_match(&target), 0.0);
/// assert_eq!(answer.token_recall(&target), 1.0);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NormalizedAnswer {
    text: String,
    /// Sorted, so that two answers are compared in one pass.
    tokens: Vec<String>,
}

impl NormalizedAnswer {
    /// Normalizes a text that a person or a model wrote.
    pub fn new(written: &str) -> Self {
        let text = normalize(written);
        let mut tokens = tokens(&text);
        tokens.sort_unstable();
        Self { text, tokens }
    }

    /// The normalized text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the answer is yes (true) or no (false), in one of the languages that derived answer types know;
    /// `None` if it is another answer.
    pub fn yes_or_no(&self) -> Option<bool> {
        yes_or_no(&self.text)
    }

    /// 1 if the normalized texts are equal, else 0.
    pub fn exact_match(&self, target: &NormalizedAnswer) -> f64 {
        f64::from(u8::from(self.text == target.text))
    }

    /// Token recall: the share of the target's tokens that this answer contains, 0 to 1. Tokens are
    /// counted as multisets, as in SQuAD (Rajpurkar et al. 2016, arXiv 1606.05250, section 6.1). If
    /// either side has no tokens: 1 if both have none, else 0.
    pub fn token_recall(&self, target: &NormalizedAnswer) -> f64 {
        self.shared(target, target.tokens.len(), 1)
    }

    /// Token F1: the harmonic mean of [`NormalizedAnswer::token_recall`] in both directions, 0 to 1.
    pub fn token_f1(&self, target: &NormalizedAnswer) -> f64 {
        self.shared(target, self.tokens.len() + target.tokens.len(), 2)
    }

    /// `times * |self ∩ target| / of`.
    fn shared(&self, target: &NormalizedAnswer, of: usize, times: usize) -> f64 {
        let (a, b) = (&self.tokens, &target.tokens);
        if a.is_empty() || b.is_empty() {
            return f64::from(u8::from(a.is_empty() && b.is_empty()));
        }
        let (mut i, mut j, mut common) = (0, 0, 0);
        while i < a.len() && j < b.len() {
            match a[i].cmp(&b[j]) {
                std::cmp::Ordering::Less => i += 1,
                std::cmp::Ordering::Greater => j += 1,
                std::cmp::Ordering::Equal => (i, j, common) = (i + 1, j + 1, common + 1),
            }
        }
        (times * common) as f64 / of as f64
    }
}

fn normalize(written: &str) -> String {
    let lower = written.to_lowercase();
    let mut text = String::with_capacity(lower.len());
    for word in lower.split_whitespace() {
        let needs_space = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() && !is_cjk(c));
        if needs_space(text.chars().next_back()) && needs_space(word.chars().next()) {
            text.push(' ');
        }
        text.push_str(word);
    }
    text.truncate(text.trim_end_matches('.').len());
    text
}

fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    for run in text.split(|c: char| !c.is_alphanumeric()) {
        for piece in run.split_inclusive(is_cjk) {
            // A piece is a run of other letters, with at most one CJK character at its end.
            let last = piece.chars().next_back().filter(|&c| is_cjk(c));
            let (letters, last) = piece.split_at(piece.len() - last.map_or(0, char::len_utf8));
            tokens
                .extend([letters, last].iter().filter(|t| !t.is_empty()).map(ToString::to_string));
        }
    }
    tokens
}

/// Ideographs, kana and Hangul syllables of the basic plane.
fn is_cjk(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
        | '\u{ac00}'..='\u{d7af}' | '\u{f900}'..='\u{faff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalizes_as_documented() {
        for (written, want) in [
            ("Yes", "yes"),
            ("  The \t left\u{a0}lung . ", "the left lung"),
            ("x - ray", "x-ray"),
            ("5 . 5 CM", "5.5 cm"),
            ("T2 , FLAIR...", "t2,flair"),
            ("肺 部", "肺部"),
            ("not seen", "not seen"),
            ("1.", "1"),
            ("...", ""),
            ("", ""),
            ("Ödem", "ödem"),
        ] {
            assert_eq!(NormalizedAnswer::new(written).text(), want, "{written:?}");
        }
    }

    #[test]
    fn tokens_are_runs_of_letters_and_digits() {
        assert_eq!(tokens("x-ray,of the 2nd"), ["x", "ray", "of", "the", "2nd"]);
        assert_eq!(tokens("ct肺部b"), ["ct", "肺", "部", "b"]);
        assert!(tokens("?!").is_empty());
    }

    #[test]
    fn shared_tokens_count_as_often_as_they_occur() {
        let [p, t] = ["the the the lung", "the left lung, the"].map(NormalizedAnswer::new);
        assert_eq!(p.token_recall(&t), 0.75);
        assert_eq!(t.token_recall(&p), 0.75);
        let [p, t] = ["lung lung lung", "left lung"].map(NormalizedAnswer::new);
        assert_eq!((p.token_recall(&t), p.token_f1(&t)), (0.5, 0.4));
        let [empty, dots] = ["", "?"].map(NormalizedAnswer::new);
        assert_eq!((empty.token_recall(&dots), empty.token_f1(&dots)), (1.0, 1.0));
        assert_eq!((empty.token_recall(&t), t.token_f1(&empty)), (0.0, 0.0));
        assert_eq!(empty.exact_match(&dots), 0.0);
    }

    #[test]
    fn no_is_not_found_inside_other_words() {
        let [normal, no] = ["Normal", "No."].map(NormalizedAnswer::new);
        assert_eq!(normal.exact_match(&no), 0.0);
        assert_eq!((no.yes_or_no(), normal.yes_or_no()), (Some(false), None));
        assert_eq!(NormalizedAnswer::new("是 的。").yes_or_no(), Some(true));
    }
}
