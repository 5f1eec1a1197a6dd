//! Which method is the best in a column of a table, and from which it cannot be told.

use serde::Serialize;

use crate::Result;
use crate::metrics::{Difference, Metric, Prediction, compare, holm, mcnemar, paired_bootstrap};

/// How a method stands in a column.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// Told from the best, or not compared.
    #[default]
    None,
    /// The highest, and told from every other.
    Best,
    /// The highest, but not told from every other; or not told from the highest.
    Tied,
}

/// The highest of a column against another.
#[derive(Debug, Clone, PartialEq)]
pub struct Duel {
    /// The place of the highest.
    pub best: usize,
    /// The place of the other.
    pub other: usize,
    /// The highest less the other.
    pub difference: Difference,
    /// How likely a difference as large is by chance, corrected for the number of duels (Holm).
    pub p: f64,
}

impl Duel {
    /// Whether the two are told apart.
    pub fn told(&self) -> bool {
        self.p < 0.05
    }
}

/// How each of `entries`, answers to the same questions by `seeds` seeds, stands in `metric`, and what
/// that rests on. An error if they are not answers to the same questions.
///
/// Closed questions that one seed answered are held against one another by McNemar's test; all else by
/// the paired bootstrap, which draws all answers about an image together.
pub fn contest(
    metric: Metric,
    entries: &[&[Prediction]],
    seeds: usize,
) -> Result<(Vec<Mark>, Vec<Duel>)> {
    let mut marks = vec![Mark::None; entries.len()];
    let Some(first) = entries.first() else { return Ok((marks, Vec::new())) };
    // Which is the highest follows from what each has over the first.
    let mut best = (0, 0.0);
    for (i, entry) in entries.iter().enumerate().skip(1) {
        if let Some(difference) = compare(entry, first)?.get(metric)
            && difference.value > best.1
        {
            best = (i, difference.value);
        }
    }
    let (best, _) = best;
    let closed = matches!(metric, Metric::ClosedAccuracy | Metric::YesNoAccuracy);
    let test = if closed && seeds == 1 { mcnemar } else { paired_bootstrap };
    let mut duels = Vec::new();
    for (other, entry) in entries.iter().enumerate().filter(|(i, _)| *i != best) {
        let difference = compare(entries[best], entry)?.get(metric).cloned();
        let p = test(metric, entries[best], entry)?;
        if let Some((difference, p)) = difference.zip(p) {
            duels.push(Duel { best, other, difference, p });
        }
    }
    let corrected = holm(&duels.iter().map(|duel| duel.p).collect::<Vec<_>>());
    duels.iter_mut().zip(corrected).for_each(|(duel, p)| duel.p = p);
    for duel in duels.iter().filter(|duel| !duel.told()) {
        (marks[best], marks[duel.other]) = (Mark::Tied, Mark::Tied);
    }
    if !duels.is_empty() && marks[best] == Mark::None {
        marks[best] = Mark::Best;
    }
    Ok((marks, duels))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::test_predictions::yes_no_predictions as answers;

    #[test]
    fn the_highest_is_the_best_only_where_it_is_told_from_all() {
        let [low, middle, high] = [60, 120, 126].map(|n| answers(move |i| i * 37 % 200 < n));
        for seeds in [1, 3] {
            let of = |entries: &[&[Prediction]]| {
                contest(Metric::ClosedAccuracy, entries, seeds).unwrap()
            };
            let (marks, duels) = of(&[&low, &high]);
            assert_eq!(marks, [Mark::None, Mark::Best]);
            assert!(duels[0].told() && duels[0].difference.value == 0.33, "{duels:?}");
            let shuffled = answers(|i| i * 53 % 200 < 120);
            let (marks, duels) = of(&[&low, &shuffled, &high]);
            assert_eq!(marks, [Mark::None, Mark::Tied, Mark::Tied], "{duels:?}");
        }
        // To the same questions, in another order, is the same.
        let mut turned = middle.clone();
        turned.rotate_left(31);
        let (marks, _) = contest(Metric::ExactMatch, &[&middle, &turned], 1).unwrap();
        assert_eq!(marks, [Mark::Tied, Mark::Tied]);
    }

    #[test]
    fn answers_to_other_questions_are_an_error() {
        let mut other = answers(|_| true);
        other[4].target = "no".into();
        let error = contest(Metric::ExactMatch, &[&answers(|_| true), &other], 1).unwrap_err();
        assert!(error.to_string().contains("another target"), "{error}");
    }

    #[test]
    fn nothing_and_one_alone_have_no_marks() {
        assert_eq!(contest(Metric::ExactMatch, &[], 1).unwrap(), (vec![], vec![]));
        let one = answers(|_| true);
        assert_eq!(contest(Metric::ExactMatch, &[&one], 1).unwrap(), (vec![Mark::None], vec![]));
    }
}
