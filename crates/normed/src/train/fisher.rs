//! Selection of the norms to train by their Fisher information, which is estimated before the first step.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde::{Deserialize, Serialize};

use super::checkpoint::check_fingerprint;
use super::completion::{Interruption, interrupt_if};
use super::directory::RunDirectory;
use super::event::{Event, Subject};
use super::splits::{Splits, pick_evenly};
use crate::data::{Batch, Loader};
use crate::files::{read_json, write_atomically};
use crate::models::{LoadedModel, Model};
use crate::nn::Mode;
use crate::recipe::Recipe;
use crate::tensor::{Gradients, Graph, Parameters, Recompute, Tensor};
use crate::tuning::{NormCandidates, NormRanking};
use crate::{Error, Result};

/// In the run directory: the ranking, which a resumed run reads instead of estimating it again.
const JSON: &str = "fisher.json";

/// The ranking as a table for people.
const CSV: &str = "fisher.csv";

/// Contents of fisher.json.
#[derive(Serialize, Deserialize)]
struct StoredRanking {
    /// Fingerprints of the base model, the data's rows and its images.
    fingerprint: String,
    /// Number of examples that the information was estimated from.
    examples: usize,
    ranking: NormRanking,
}

/// Where a recipe trains a subset of the norms (`tuning.keep`), freezes all other candidates.
///
/// A ranking in `directory` is used if there is one; else it is estimated and written there. Returns the
/// event that reports the selection; none if the recipe trains no such subset.
pub(super) fn select_norms(
    recipe: &Recipe,
    loaded: &mut LoadedModel,
    (splits, fingerprint): (&Splits, &str),
    directory: &RunDirectory,
    stop: &AtomicBool,
    on_event: &mut dyn FnMut(&Event),
) -> Result<Option<Event>, Interruption> {
    let candidates = recipe.tuning.norm_candidates(&loaded.params);
    if candidates.is_empty() {
        return Ok(None);
    }
    let stored = match read_ranking(directory, fingerprint)? {
        Some(stored) => stored,
        None => {
            let ranking = rank_norms(recipe, loaded, &candidates, splits, stop, on_event)?;
            let examples = recipe.train.fisher_examples.min(splits.train.len());
            let fingerprint = fingerprint.to_owned();
            let stored = StoredRanking { fingerprint, examples, ranking };
            write_ranking(directory, &stored)?;
            stored
        }
    };
    stored.ranking.apply(&candidates, &mut loaded.params)?;
    let (norms, kept) = (stored.ranking.0.len(), stored.ranking.kept_count());
    Ok(Some(Event::NormsSelected { norms, kept, examples: stored.examples }))
}

/// The ranking in the run directory, if there is one.
fn read_ranking(directory: &RunDirectory, fingerprint: &str) -> Result<Option<StoredRanking>> {
    let path = directory.join(JSON);
    if !path.exists() {
        return Ok(None);
    }
    let stored: StoredRanking = read_json(&path)?;
    check_fingerprint(&path, &stored.fingerprint, fingerprint)?;
    Ok(Some(stored))
}

fn write_ranking(directory: &RunDirectory, stored: &StoredRanking) -> Result<()> {
    let csv = stored.ranking.to_csv();
    write_atomically(&directory.join(CSV), |out| out.write_all(csv.as_bytes()))?;
    let path = directory.join(JSON);
    let mut text =
        serde_json::to_vec_pretty(stored).map_err(|e| Error::failed(path.display(), e))?;
    text.push(b'\n');
    write_atomically(&path, |out| out.write_all(&text))
}

/// Ranks the candidate norms by their Fisher information on `train.fisher_examples` training examples,
/// which are spread evenly over the training split.
///
/// The information is the mean over examples of the squared gradient. The square of a batch's gradient
/// would not do, so each example has a pass of its own, without dropout and label smoothing.
pub(super) fn rank_norms(
    recipe: &Recipe,
    loaded: &LoadedModel,
    candidates: &[NormCandidates],
    splits: &Splits,
    stop: &AtomicBool,
    on_event: &mut dyn FnMut(&Event),
) -> Result<NormRanking, Interruption> {
    let LoadedModel { model, params, .. } = loaded;
    let (chosen, _) = pick_evenly(&splits.train, Some(recipe.train.fisher_examples));
    let examples = chosen.len();
    let batches = Loader::new(
        Arc::clone(&splits.dataset),
        Arc::new(recipe.training_collator(loaded)),
        chosen.into_iter().map(|i| vec![i]).collect(),
        0,
    );
    let mut squares = vec![0.0; params.len()];
    for (done, item) in batches.enumerate() {
        let (batch, _) = item?;
        let gradients = compute_gradients(&**model, params, &batch, recipe.train.recompute)?;
        for (id, parameter) in params.trained() {
            let square = gradients.param(id).map_or(0.0, |g| sum_of_squares(g.data()));
            if !square.is_finite() {
                let cause =
                    "the gradient is not finite, so its Fisher information cannot be estimated";
                return Err(Error::diverged(parameter.name(), cause).into());
            }
            squares[id.index()] += square / examples as f64;
        }
        let subject = Subject::Norms;
        on_event(&Event::Progress { subject, done: done + 1, total: examples });
        interrupt_if(stop)?;
    }
    Ok(NormRanking::new(candidates, params, |id| squares[id.index()]))
}

/// The gradients of the summed negative log-likelihood of the targets in `batch`.
fn compute_gradients(
    model: &dyn Model,
    params: &Parameters,
    batch: &Batch,
    recompute: Recompute,
) -> Result<Gradients> {
    let mut gradients = Gradients::new();
    let mut g = Graph::training(params).with_recompute(recompute);
    let loss = model.loss(&mut g, batch, Mode::Evaluate, 0.0)?;
    g.backward(loss.output.gradient_slot(), Tensor::new(&[1], vec![1.0]), &mut gradients);
    Ok(gradients)
}

fn sum_of_squares(values: &[f32]) -> f64 {
    values.iter().map(|&x| f64::from(x) * f64::from(x)).sum()
}
