//! ROUGE-L (Lin 2004, ROUGE: A Package for Automatic Evaluation of Summaries, equations 2 to 4) as the COCO
//! caption tools compute it: from the best precision and the best recall of the longest common subsequence
//! over all references.

use super::text::TokenizedText;

/// The weight of recall relative to precision.
const BETA: f64 = 1.2;

/// ROUGE-L of one text, 0 to 1.
pub(super) fn rouge_l(text: &TokenizedText, references: &[TokenizedText]) -> f64 {
    let (mut precision, mut recall) = (0.0, 0.0);
    for reference in references {
        let common = longest_common_subsequence(&text.tokens, &reference.tokens) as f64;
        precision = f64::max(precision, common / text.tokens.len() as f64);
        recall = f64::max(recall, common / reference.tokens.len() as f64);
    }
    if precision > 0.0 && recall > 0.0 {
        (1.0 + BETA * BETA) * precision * recall / (recall + BETA * BETA * precision)
    } else {
        0.0
    }
}

/// The length of the longest common subsequence.
fn longest_common_subsequence(a: &[u32], b: &[u32]) -> usize {
    let mut row = vec![0; b.len() + 1];
    for x in a {
        let mut diagonal = 0;
        for (j, y) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = if x == y { diagonal + 1 } else { above.max(row[j]) };
            diagonal = above;
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokenized(words: &[u32]) -> TokenizedText {
        TokenizedText { words: words.to_vec(), tokens: words.to_vec() }
    }

    #[test]
    fn subsequences_need_not_be_substrings() {
        assert_eq!(longest_common_subsequence(&[1, 2, 3, 4, 5], &[2, 9, 4, 1, 5]), 3);
        assert_eq!(longest_common_subsequence(&[1], &[2]), 0);
    }

    #[test]
    fn recall_weighs_more_than_precision() {
        // Precision 1 and recall 1/2, then the reverse.
        let (short, long) = (tokenized(&[1]), tokenized(&[1, 2]));
        let weigh = |p: f64, r: f64| 2.44 * p * r / (r + 1.44 * p);
        assert!((rouge_l(&short, std::slice::from_ref(&long)) - weigh(1.0, 0.5)).abs() < 1e-12);
        assert!((rouge_l(&long, &[short]) - weigh(0.5, 1.0)).abs() < 1e-12);
        assert_eq!(rouge_l(&tokenized(&[7]), &[long]), 0.0);
    }
}
