//! The normalisation of the VQA challenge's evaluation (Antol et al. 2015, arXiv 1505.00468), and soft
//! accuracy after it. With one reference answer, as medical data sets have, an answer earns 1 or 0.
//!
//! Written from what the evaluation does, quirks and all: whether a mark is dropped or becomes a blank
//! is decided once for the whole text, and only the first 32 full stops go, because a flag stands
//! where the number of replacements belongs.

use super::{Measure, Said};

pub(super) const MEASURES: &[Measure] = &[
    Measure { name: "accuracy", of: |_, _| true, credit },
    Measure { name: "open_accuracy", of: |_, open| open, credit },
    Measure { name: "closed_accuracy", of: |_, open| !open, credit },
];

fn credit(answer: &Said, target: &Said) -> f64 {
    f64::from(u8::from(answer.vqa == target.vqa))
}

const MARKS: &str = ";/[]\"{}()=+\\_-><@`,?!";
const ARTICLES: [&str; 3] = ["a", "an", "the"];
const NUMBERS: [&str; 11] =
    ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];

/// Contractions that are mended where one apostrophe is missing.
const CONTRACTIONS: &str = "ain't aren't can't could've couldn't couldn't've didn't doesn't don't \
    hadn't hadn't've hasn't haven't he'd he'd've he's how'd how'll how's isn't it'd it'd've it'll \
    ma'am mightn't mightn't've might've mustn't must've needn't not've o'clock oughtn't 'ow's'at \
    shan't she'd've should've shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd \
    someone'd've someone'll someone's something'd something'd've something'll that's there'd \
    there'd've there're there's they'd they'd've they'll they're they've 'twas wasn't we'd've we've \
    weren't what'll what're what's what've when's where'd where's where've who'd who'd've who'll \
    who's who've why'll why're why's won't would've wouldn't wouldn't've y'all y'all'll y'all'd've \
    you'd you'd've you'll you're you've";

/// An answer, normalised.
pub(super) fn normalise(written: &str) -> String {
    words_of(written.replace(['\n', '\t'], " ").trim())
}

/// The same for a text whose blanks are as they were written.
pub(super) fn words_of(written: &str) -> String {
    let chars: Vec<char> = written.chars().collect();
    let digit = |c: Option<&char>| c.is_some_and(|c| c.is_numeric());
    let comma = chars.windows(3).any(|w| digit(w.first()) && w[1] == ',' && digit(w.last()));
    // A mark beside a blank anywhere goes everywhere.
    let beside_blank = |mark: char| chars.windows(2).any(|w| w == [mark, ' '] || w == [' ', mark]);
    let dropped: Vec<char> = MARKS.chars().filter(|&m| comma || beside_blank(m)).collect();
    let unmarked: Vec<char> = chars
        .iter()
        .filter(|c| !dropped.contains(c))
        .map(|&c| if MARKS.contains(c) { ' ' } else { c })
        .collect();
    let mut stops = 0;
    let mut text = String::with_capacity(unmarked.len());
    for (i, &c) in unmarked.iter().enumerate() {
        if c == '.' && !digit(unmarked.get(i + 1)) && stops < 32 {
            stops += 1;
        } else {
            text.push(c);
        }
    }
    let lower = text.to_lowercase();
    let words = lower.split_whitespace().map(number).filter(|word| !ARTICLES.contains(word));
    words.map(mended).collect::<Vec<_>>().join(" ")
}

/// A number below eleven in digits; `none` is 0.
fn number(word: &str) -> &str {
    const DIGITS: [&str; 11] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10"];
    let word = if word == "none" { "zero" } else { word };
    NUMBERS.iter().position(|number| *number == word).map_or(word, |i| DIGITS[i])
}

/// A contraction that lacks one apostrophe, with it.
fn mended(word: &str) -> &str {
    // The evaluation's table has this one the wrong way round.
    if word == "somebody'd" {
        return "somebodyd";
    }
    let lacks_one = |whole: &&str| {
        let apostrophes = whole.match_indices('\'').map(|(i, _)| i);
        whole.len() == word.len() + 1
            && apostrophes.into_iter().any(|i| {
                word.is_char_boundary(i) && whole[..i] == word[..i] && whole[i + 1..] == word[i..]
            })
    };
    CONTRACTIONS.split_whitespace().find(lacks_one).unwrap_or(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalises_as_the_evaluation() {
        for (written, want) in [
            ("The left lung.", "left lung"),
            ("X-ray", "x ray"),
            ("x-ray - chest", "xray chest"),
            ("1,000 T2-weighted", "1000 t2weighted"),
            ("5.5 cm.", "5.5 cm"),
            ("None", "0"),
            ("two, three", "2 3"),
            ("its dont", "its don't"),
            ("couldntve couldnt've", "couldntve couldn't've"),
            ("somebody'd", "somebodyd"),
            (".".repeat(40).as_str(), "........"),
        ] {
            assert_eq!(normalise(written), want, "{written:?}");
        }
    }
}
