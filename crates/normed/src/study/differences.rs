//! Which method is the best in a column of a table, and from which it cannot be told.

use serde::Serialize;

use crate::Result;
use crate::metrics::{Difference, Metric, Prediction, compare};

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
    /// Whether they are told apart.
    pub told: bool,
}

/// How each of `entries`, answers to the same questions, stands in `metric`, and what that rests on.
/// An error if they are not answers to the same questions.
pub fn contest(metric: Metric, entries: &[&[Prediction]]) -> Result<(Vec<Mark>, Vec<Duel>)> {
    let value = |entry: &&[Prediction]| {
        crate::metrics::score(entry, None).get(metric).map(|score| score.value)
    };
    let values: Vec<Option<f64>> = entries.iter().map(value).collect();
    let mut best: Option<(usize, f64)> = None;
    for (i, value) in values.iter().enumerate() {
        if let Some(value) = value.filter(|&value| best.is_none_or(|(_, most)| value > most)) {
            best = Some((i, value));
        }
    }
    let mut marks = vec![Mark::None; entries.len()];
    let Some((best, _)) = best else { return Ok((marks, Vec::new())) };
    let mut duels = Vec::new();
    for (other, entry) in entries.iter().enumerate().filter(|(i, _)| *i != best) {
        let comparison = compare(entries[best], entry)?;
        if let Some(difference) = comparison.get(metric).cloned() {
            let told = difference.excludes_zero();
            duels.push(Duel { best, other, difference, told });
        }
    }
    for duel in duels.iter().filter(|duel| !duel.told) {
        (marks[best], marks[duel.other]) = (Mark::Tied, Mark::Tied);
    }
    if !duels.is_empty() && marks[best] == Mark::None {
        marks[best] = Mark::Best;
    }
    Ok((marks, duels))
}
