//! ROUGE-L (Lin 2004) as the COCO caption tools compute it: the best precision and the best recall of
//! the longest common subsequence, over all references.

use super::Sentence;

/// How much more recall weighs than precision.
const BETA: f64 = 1.2;

/// The score of one text, 0 to 1.
pub(super) fn rouge_l(text: &Sentence, references: &[Sentence]) -> f64 {
    let (mut precision, mut recall) = (0.0, 0.0);
    for reference in references {
        let common = common(&text.tokens, &reference.tokens) as f64;
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
fn common(a: &[u32], b: &[u32]) -> usize {
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

    fn sentence(words: &[u32]) -> Sentence {
        Sentence { words: words.to_vec(), tokens: words.to_vec() }
    }

    #[test]
    fn subsequences_need_not_be_substrings() {
        assert_eq!(common(&[1, 2, 3, 4, 5], &[2, 9, 4, 1, 5]), 3);
        assert_eq!(common(&[1], &[2]), 0);
    }

    #[test]
    fn recall_weighs_more() {
        // Precision 1 and recall 1/2, and the other way round.
        let (short, long) = (sentence(&[1]), sentence(&[1, 2]));
        let weigh = |p: f64, r: f64| 2.44 * p * r / (r + 1.44 * p);
        assert!((rouge_l(&short, std::slice::from_ref(&long)) - weigh(1.0, 0.5)).abs() < 1e-12);
        assert!((rouge_l(&long, &[short]) - weigh(0.5, 1.0)).abs() < 1e-12);
        assert_eq!(rouge_l(&sentence(&[7]), &[long]), 0.0);
    }
}
