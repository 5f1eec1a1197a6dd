//! The choice of a learning rate, by the validation examples alone: of a run that judges a rate, nothing
//! is read but the value by which it kept its own best parameters. Such runs never look at the test split.

use std::path::PathBuf;

use serde::Serialize;

use super::{Cell, Task};
use crate::files::{CONFIG_LIMIT, read_text, write_atomically};
use crate::recipe::BestBy;
use crate::train::read_outcome;
use crate::{Error, Result};

/// A rate, and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tried {
    /// The rate.
    pub rate: f32,
    /// What the validation examples say: exact match, or the loss. Absent where the run failed.
    pub value: Option<f64>,
    /// Why it failed, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// Whether it was chosen.
    pub chosen: bool,
}

/// What came of every rate of `cell`, one of them chosen, of the runs that judged them; none where one
/// of these is not over yet.
pub(super) fn tried(cell: &Cell, candidates: &[Task]) -> Result<Option<Vec<Tried>>> {
    if candidates.is_empty() {
        let only = |&rate: &f32| Tried { rate, value: None, failed: None, chosen: true };
        return Ok(Some(cell.rates.iter().map(only).collect()));
    }
    let mut tried = Vec::new();
    for (&rate, task) in cell.rates.iter().zip(candidates) {
        let failed = failure(task)?;
        let value = match read_outcome(&task.recipe().output)? {
            Some(outcome) => outcome.best_value,
            None if failed.is_some() => None,
            None => return Ok(None),
        };
        tried.push(Tried { rate, value, failed, chosen: false });
    }
    let less = cell.selection.train.metric == BestBy::Loss;
    let worth = |tried: &Tried| tried.value.map(|value| if less { -value } else { value });
    // Of equals the first: the study lists rates in the order of its choice.
    let mut best: Option<(usize, f64)> = None;
    for (i, worth) in tried.iter().map(worth).enumerate() {
        if let Some(worth) = worth.filter(|&worth| best.is_none_or(|(_, most)| worth > most)) {
            best = Some((i, worth));
        }
    }
    let Some((best, _)) = best else {
        let causes: Vec<_> = tried.iter().filter_map(|tried| tried.failed.clone()).collect();
        let cause = format!("no learning rate can be chosen: {}", causes.join("; "));
        return Err(Error::failed(cell.label(), cause).with_remedy("try smaller rates"));
    };
    tried[best].chosen = true;
    Ok(Some(tried))
}

/// The rate that was chosen.
pub(super) fn chosen(tried: &[Tried]) -> Option<f32> {
    tried.iter().find(|tried| tried.chosen).map(|tried| tried.rate)
}

/// Whether the rate that was chosen is the least or the largest of several: a better one may lie beyond it.
pub(super) fn at_an_end(tried: &[Tried]) -> bool {
    let Some(chosen) = chosen(tried) else { return false };
    let beyond = |than: fn(f32, f32) -> bool| tried.iter().any(|one| than(one.rate, chosen));
    tried.len() > 1 && !(beyond(|a, b| a < b) && beyond(|a, b| a > b))
}

fn failure_file(task: &Task) -> PathBuf {
    task.recipe().output.with_extension("failed")
}

/// Why a run failed, if that was written down.
pub(super) fn failure(task: &Task) -> Result<Option<String>> {
    let path = failure_file(task);
    path.exists().then(|| read_text(&path, CONFIG_LIMIT)).transpose()
}

/// Writes down that a run failed, so that it is not tried again; the file can be deleted.
pub(super) fn write_failure(task: &Task, cause: &str) -> Result<()> {
    write_atomically(&failure_file(task), |out| out.write_all(cause.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_with_none_below_or_none_above_it_is_at_an_end() {
        let of = |rates: &[f32], chosen: usize| {
            let tried = |(i, &rate)| Tried { rate, value: None, failed: None, chosen: i == chosen };
            at_an_end(&rates.iter().enumerate().map(tried).collect::<Vec<_>>())
        };
        let rates = [3e-3, 1e-3, 1e-2];
        assert_eq!([0, 1, 2].map(|chosen| of(&rates, chosen)), [false, true, true]);
        assert!(of(&rates[..2], 0) && of(&rates[..2], 1) && !of(&rates[..1], 0));
    }
}
