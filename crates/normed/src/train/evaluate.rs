//! Answers and likelihoods for a part of a data set.

use std::sync::Arc;

use crate::Result;
use crate::data::Dataset;
use crate::metrics::Prediction;
use crate::models::{GenerateRule, Loaded};

/// Evaluates the examples `which` of `dataset` (for an image-blind score, a [`crate::data`] wrapper
/// that shuffles the images): for each, in the order of `which`, the generated answer and the
/// teacher-forced negative log-likelihood of the true one. `progress` is told how many are done.
pub fn evaluate(
    loaded: &Loaded,
    dataset: &Arc<dyn Dataset>,
    which: &[usize],
    batch_size: usize,
    rule: &GenerateRule,
    progress: &mut dyn FnMut(usize),
) -> Result<Vec<Prediction>> {
    let _ = (loaded, dataset, which, batch_size, rule, progress);
    todo!()
}
