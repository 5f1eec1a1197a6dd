//! Which norms matter most: the Fisher information of each, estimated before the first step.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

use super::directory::RunDirectory;
use super::judge::spread;
use super::splits::Splits;
use super::{Event, Subject};
use crate::data::{Batch, Loader};
use crate::files::{read_json, write_atomically};
use crate::models::{LoadedModel, Model};
use crate::nn::Mode;
use crate::ops;
use crate::recipe::Recipe;
use crate::tensor::{Gradients, Graph, Parameters, Tensor};
use crate::tuning::{Candidates, Ranking};
use crate::{Error, Result};

/// In the run directory: the ranking, by which a run that goes on goes.
const JSON: &str = "fisher.json";

/// The same for people.
const CSV: &str = "fisher.csv";

/// fisher.json.
#[derive(Serialize, Deserialize)]
struct Stored {
    /// Of base and data.
    fingerprint: String,
    /// By how many examples.
    examples: usize,
    ranking: Ranking,
}

/// Where a recipe trains a part of the norms, leaves only those: the ones that `directory` says were
/// chosen, or else those of the largest information, which it then says. What to tell of that; none if the
/// run was asked to stop before it was known.
pub(super) fn narrow(
    recipe: &Recipe,
    loaded: &mut LoadedModel,
    (splits, fingerprint): (&Splits, &str),
    directory: &RunDirectory,
    stop: &AtomicBool,
    on_event: &mut dyn FnMut(&Event),
) -> Result<Option<Option<Event>>> {
    let candidates = recipe.tuning.candidates(&loaded.params);
    if candidates.is_empty() {
        return Ok(Some(None));
    }
    let path = directory.join(JSON);
    let stored = if path.exists() {
        let stored: Stored = read_json(&path)?;
        if stored.fingerprint != fingerprint {
            let cause = "was made with another base model or other data";
            return Err(Error::invalid(path.display(), cause)
                .with_remedy("put them back as they were, or start again in another --output"));
        }
        stored
    } else {
        let Some(ranking) = rank(recipe, loaded, &candidates, splits, stop, on_event)? else {
            return Ok(None);
        };
        let examples = recipe.train.fisher_examples.min(splits.train.len());
        let stored = Stored { fingerprint: fingerprint.to_owned(), examples, ranking };
        let csv = stored.ranking.to_csv();
        write_atomically(&directory.join(CSV), |out| out.write_all(csv.as_bytes()))?;
        let mut text =
            serde_json::to_vec_pretty(&stored).map_err(|e| Error::failed(path.display(), e))?;
        text.push(b'\n');
        write_atomically(&path, |out| out.write_all(&text))?;
        stored
    };
    stored.ranking.apply(&candidates, &mut loaded.params)?;
    let (norms, kept) = (stored.ranking.0.len(), stored.ranking.kept());
    Ok(Some(Some(Event::Ranked { norms, kept, examples: stored.examples })))
}

/// Ranks the candidates by `train.fisher_examples` training examples, spread evenly over all of them;
/// none if it was asked to stop.
///
/// Each example is a forward pass of its own, without dropout and label smoothing: a gradient's square
/// is an example's, and `train.batch_size` does not enter.
pub(super) fn rank(
    recipe: &Recipe,
    loaded: &LoadedModel,
    candidates: &[Candidates],
    splits: &Splits,
    stop: &AtomicBool,
    on_event: &mut dyn FnMut(&Event),
) -> Result<Option<Ranking>> {
    let LoadedModel { model, params, .. } = loaded;
    let (chosen, _) = spread(&splits.train, Some(recipe.train.fisher_examples));
    let examples = chosen.len();
    let batches = Loader::new(
        Arc::clone(&splits.dataset),
        Arc::new(recipe.collator(loaded)),
        chosen.into_iter().map(|i| vec![i]).collect(),
        0,
    );
    let mut squares = vec![0.0; params.len()];
    for (done, item) in batches.enumerate() {
        let (batch, _) = item?;
        let gradients = gradients(&**model, params, &batch)?;
        for (id, parameter) in params.trained() {
            let square = gradients.param(id).map_or(0.0, |g| sum_of_squares(g.data()));
            if !square.is_finite() {
                let cause =
                    "its gradient is not finite: its Fisher information cannot be estimated";
                return Err(Error::diverged(&parameter.name, cause));
            }
            squares[id.index()] += square / examples as f64;
        }
        on_event(&Event::Progress { of: Subject::Norms, done: done + 1, examples });
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
    }
    Ok(Some(Ranking::of(candidates, params, |id| squares[id.index()])))
}

/// Those of the log-likelihood of the answers in `batch`, but for the sign.
fn gradients(model: &dyn Model, params: &Parameters, batch: &Batch) -> Result<Gradients> {
    let mut gradients = Gradients::new();
    let mut g = Graph::training(params);
    let logits = model.forward(&mut g, batch, Mode::Evaluate)?;
    let ce = ops::cross_entropy(&mut g, logits, &batch.labels, 0.0);
    g.backward(ce.output.gradient_slot(), Tensor::new(&[1], vec![1.0]), &mut gradients);
    Ok(gradients)
}

fn sum_of_squares(values: &[f32]) -> f64 {
    values.iter().map(|&x| f64::from(x) * f64::from(x)).sum()
}
