//! Whether an answer is yes or no: one rule for the type of an answer that its row does not state, and for scores.
//!
//! Case, white space around the answer and full stops at its end do not matter, and full-width letters are letters.
//! Chinese answers a yes-or-no question with its verb, so that the verbs of SLAKE's questions are here, too.

/// Yes, in English, German, French, Spanish and Chinese.
const YES: [&str; 11] =
    ["yes", "ja", "oui", "sí", "si", "是", "是的", "有", "包含", "存在", "可以"];

/// No, in the same languages.
const NO: [&str; 11] =
    ["no", "nein", "non", "否", "不", "不是", "没有", "沒有", "不包含", "不存在", "不可以"];

/// Whether `answer` means yes (true) or no (false); `None` if it is another answer.
pub(crate) fn yes_or_no(answer: &str) -> Option<bool> {
    let ends = |c: char| c.is_whitespace() || matches!(c, '.' | '。' | '．' | '｡');
    let word = answer.trim_start().trim_end_matches(ends);
    // The longest of the words has four letters; longer texts need no copy.
    if word.chars().count() > 5 {
        return None;
    }
    // Spanish "sí" can be written with a combining accent.
    let word = word.chars().map(half_width).collect::<String>().to_lowercase();
    let word = word.replace("i\u{301}", "í");
    match word.as_str() {
        word if YES.contains(&word) => Some(true),
        word if NO.contains(&word) => Some(false),
        _ => None,
    }
}

/// A full-width form of an ASCII character as that character.
fn half_width(c: char) -> char {
    match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(c as u32 - 0xfee0).unwrap_or(c),
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yes_and_no_are_known_in_five_languages() {
        for (answer, want) in [
            ("Yes", Some(true)),
            (" no. ", Some(false)),
            ("NO", Some(false)),
            ("Ja", Some(true)),
            ("nein.", Some(false)),
            ("Oui", Some(true)),
            ("NON", Some(false)),
            ("Sí.", Some(true)),
            ("SI\u{301}", Some(true)),
            ("是的。", Some(true)),
            ("没有", Some(false)),
            ("\u{3000}不包含 。", Some(false)),
            ("ＹＥＳ．", Some(true)),
            ("ｎｏ", Some(false)),
            ("none", None),
            ("yes, both", None),
            ("normal", None),
            ("不正常", None),
            ("", None),
            (".", None),
        ] {
            assert_eq!(yes_or_no(answer), want, "{answer:?}");
        }
    }
}
