//! What a study will take, before anything of it is done: no weights are read.

use super::{Cell, Shard, Study};
use crate::Result;
use crate::train::plan;

/// What the runs of one cell take.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimate<'a> {
    /// Which cell.
    pub cell: &'a Cell,
    /// Runs that judge rates.
    pub judged: usize,
    /// Runs that are reported, with all training examples and with parts.
    pub reported: usize,
    /// Test splits that outcomes are asked beside their own.
    pub answered: usize,
    /// Elements trained.
    pub trained: usize,
    /// Bytes of one run at its peak.
    pub peak: Option<usize>,
    /// Seconds of all runs of the cell, one after another on all threads; tests are not counted.
    pub seconds: Option<f64>,
}

/// Plans every cell of `study` that is in `shard`.
pub fn estimate(study: &Study, shard: Shard) -> Result<Vec<Estimate<'_>>> {
    shard.cells(study).map(|cell| of_cell(study, cell)).collect()
}

fn of_cell<'a>(study: &Study, cell: &'a Cell) -> Result<Estimate<'a>> {
    let whole = plan(&cell.recipe)?;
    let estimate = whole.chosen.map(|chosen| whole.estimates[chosen]);
    let judged = if cell.rates.len() > 1 { cell.rates.len() } else { 0 };
    let seeds = if cell.trains() { study.seeds.len() } else { 1 };
    let parts: &[f32] = if cell.efficient && cell.trains() { &study.fractions } else { &[] };
    let one = estimate.and_then(|estimate| estimate.run_seconds);
    let mut seconds = one.map(|one| {
        let share: f64 = parts.iter().map(|&part| f64::from(part)).sum();
        one * seeds as f64 * (1.0 + share)
    });
    if judged > 0 {
        let candidate = plan(&cell.selection)?;
        let one = candidate.chosen.and_then(|chosen| candidate.estimates[chosen].run_seconds);
        seconds = seconds.zip(one).map(|(seconds, one)| seconds + judged as f64 * one);
    }
    Ok(Estimate {
        cell,
        judged,
        reported: seeds * (1 + parts.len()),
        answered: seeds * cell.tested_on.len(),
        trained: whole.trained,
        peak: estimate.map(|estimate| estimate.needs.peak),
        seconds,
    })
}
