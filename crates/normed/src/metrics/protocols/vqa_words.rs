//! The normalization of answers in the VQA challenge's evaluation (Antol et al. 2015, arXiv 1505.00468).
//!
//! It reproduces the evaluation's output, quirks included. Whether a mark is removed or becomes a space is
//! decided once for the whole text. Only the first 32 full stops are removed, because the original passes
//! a flag where the number of replacements belongs.

const MARKS: &str = ";/[]\"{}()=+\\_-><@`,?!";
const ARTICLES: [&str; 3] = ["a", "an", "the"];
const NUMBERS: [&str; 11] =
    ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];

/// Contractions that are restored where one apostrophe is missing.
const CONTRACTIONS: &str = "ain't aren't can't could've couldn't couldn't've didn't doesn't don't \
    hadn't hadn't've hasn't haven't he'd he'd've he's how'd how'll how's isn't it'd it'd've it'll \
    ma'am mightn't mightn't've might've mustn't must've needn't not've o'clock oughtn't 'ow's'at \
    shan't she'd've should've shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd \
    someone'd've someone'll someone's something'd something'd've something'll that's there'd \
    there'd've there're there's they'd they'd've they'll they're they've 'twas wasn't we'd've we've \
    weren't what'll what're what's what've when's where'd where's where've who'd who'd've who'll \
    who's who've why'll why're why's won't would've wouldn't wouldn't've y'all y'all'll y'all'd've \
    you'd you'd've you'll you're you've";

/// Normalizes an answer.
pub(super) fn normalize(written: &str) -> String {
    normalize_words(written.replace(['\n', '\t'], " ").trim())
}

/// Normalizes a text without changing line breaks and tabs to spaces first.
pub(super) fn normalize_words(written: &str) -> String {
    let chars: Vec<char> = written.chars().collect();
    let digit = |c: Option<&char>| c.is_some_and(|c| c.is_numeric());
    let comma = chars.windows(3).any(|w| digit(w.first()) && w[1] == ',' && digit(w.last()));
    // A mark next to a space anywhere is removed everywhere.
    let next_to_space = |mark: char| chars.windows(2).any(|w| w == [mark, ' '] || w == [' ', mark]);
    let removed: Vec<char> = MARKS.chars().filter(|&m| comma || next_to_space(m)).collect();
    let without_marks: Vec<char> = chars
        .iter()
        .filter(|c| !removed.contains(c))
        .map(|&c| if MARKS.contains(c) { ' ' } else { c })
        .collect();
    let mut stops = 0;
    let mut text = String::with_capacity(without_marks.len());
    for (i, &c) in without_marks.iter().enumerate() {
        if c == '.' && !digit(without_marks.get(i + 1)) && stops < 32 {
            stops += 1;
        } else {
            text.push(c);
        }
    }
    let lower = text.to_lowercase();
    let words = lower.split_whitespace().map(to_digits).filter(|word| !ARTICLES.contains(word));
    words.map(restore_contraction).collect::<Vec<_>>().join(" ")
}

/// Writes a number from zero to ten in digits; `none` becomes 0.
fn to_digits(word: &str) -> &str {
    const DIGITS: [&str; 11] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10"];
    let word = if word == "none" { "zero" } else { word };
    NUMBERS.iter().position(|number| *number == word).map_or(word, |i| DIGITS[i])
}

/// Restores a contraction that lacks one apostrophe.
fn restore_contraction(word: &str) -> &str {
    // The evaluation's table has this entry reversed.
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
    fn it_normalizes_as_the_evaluation() {
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
            assert_eq!(normalize(written), want, "{written:?}");
        }
    }
}
