//! Predictions and likelihoods for examples of a data set.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::completion::Completion;

use crate::Result;
use crate::data::{
    Batch, Collator, Dataset, IGNORE_INDEX, Loader, PreparedExample, evaluation_batches,
};
use crate::metrics::{
    ExampleAttributes, Metric, Prediction, Target, UnscoredPrediction, metric_values,
};
use crate::models::{GeneratedText, GenerationConfig, LoadedModel, generate};
use crate::nn::Mode;
use crate::tensor::Graph;

/// A model and the examples to evaluate it on.
///
/// # Examples
///
/// Answers of a tiny model to questions about computer-drawn images:
///
/// ```
/// # use std::ops::ControlFlow;
/// # use std::path::Path;
/// # use std::sync::Arc;
/// # use normed::data::{DataSpec, PhantomDomain, Split, indices_of};
/// # use normed::metrics::{Metric, score};
/// # use normed::models::{self, GenerationConfig};
/// # use normed::train::Evaluation;
/// # fn main() -> normed::Result<()> {
/// let model = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/phantom"));
/// let loaded = models::load(model, None)?;
/// let domain = PhantomDomain::Source;
/// let data = DataSpec::Phantom { domain, train: 4, validate: 0, test: 8, seed: 1 };
/// let dataset = normed::data::DataSection::from(data).open()?.dataset;
/// let indices = indices_of(&*dataset, Split::Test)?;
///
/// let evaluation = Evaluation {
///     loaded: &loaded,
///     collator: &Arc::new(loaded.collator()),
///     dataset: &dataset,
///     indices: &indices,
///     batch_size: 4,
/// };
/// let mut done = 0;
/// let completion = evaluation.predict(&GenerationConfig::default(), &mut |examples| {
///     done += examples;
///     ControlFlow::Continue(())
/// })?;
/// let predictions = completion.finished().expect("nothing stopped it");
/// assert_eq!((done, predictions.len()), (8, 8));
/// let exact_match = score(&predictions, None).get(Metric::ExactMatch).unwrap().value;
/// println!("{:.0} % of {} answers are correct", 100.0 * exact_match, predictions.len());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy)]
pub struct Evaluation<'a> {
    /// The model with its current parameters.
    pub loaded: &'a LoadedModel,
    /// Makes batches for this model.
    pub collator: &'a Arc<Collator>,
    /// The data set. For image-shuffled ("blind") scores, a [`crate::data::ShuffledImages`].
    pub dataset: &'a Arc<dyn Dataset>,
    /// The examples of `dataset` to evaluate.
    pub indices: &'a [usize],
    /// Examples per forward pass. It affects speed and memory; results only by rounding.
    pub batch_size: usize,
}

/// The likelihood that a model assigns to a target text.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Likelihood {
    /// Negative log-likelihood in nats under teacher forcing, summed over the target tokens, the end
    /// token included.
    pub nll: f64,
    /// Number of target tokens, the end token included.
    pub tokens: usize,
}

impl From<&Prediction> for Likelihood {
    fn from(prediction: &Prediction) -> Self {
        Self { nll: prediction.target.nll, tokens: prediction.target.num_target_tokens }
    }
}

impl Evaluation<'_> {
    /// Generates a text for each example as `rule` says, and computes the likelihood of its target.
    /// Predictions are in the order of `indices`.
    ///
    /// After each batch, `progress` receives the number of its examples; if it returns
    /// [`ControlFlow::Break`], the evaluation stops.
    ///
    /// # Errors
    ///
    /// If an example cannot be read, does not fit the model or has no answer.
    pub fn predict(
        &self,
        rule: &GenerationConfig,
        progress: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Completion<Vec<Prediction>>> {
        self.for_each_batch(progress, |batch, prepared| {
            let rows = prepared.iter().zip(predict_batch(self.loaded, batch, prepared, rule)?);
            let scored = |(prepared, prediction): (&PreparedExample, UnscoredPrediction)| {
                prediction.scored().ok_or_else(|| prepared.example.lacks_answer())
            };
            rows.map(scored).collect()
        })
    }

    /// As [`Evaluation::predict`], for examples whose answers may be unknown. The collator has to accept them
    /// ([`Collator::without_answers`]).
    ///
    /// # Errors
    ///
    /// If an example cannot be read, or does not fit the model.
    pub fn ask(
        &self,
        rule: &GenerationConfig,
        progress: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Completion<Vec<UnscoredPrediction>>> {
        self.for_each_batch(progress, |batch, prepared| {
            predict_batch(self.loaded, batch, prepared, rule)
        })
    }

    /// Computes the likelihood of each example's target, as [`Evaluation::predict`] does, without
    /// generating texts.
    ///
    /// # Errors
    ///
    /// If an example cannot be read, or does not fit the model.
    pub fn compute_likelihoods(
        &self,
        progress: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Completion<Vec<Likelihood>>> {
        self.for_each_batch(progress, |batch, _| score(self.loaded, batch))
    }

    /// Calls `evaluate` on batches of examples of similar length. Returns its results, one for each
    /// example, in the order of `indices`.
    fn for_each_batch<T>(
        &self,
        progress: &mut dyn FnMut(usize) -> ControlFlow<()>,
        mut evaluate: impl FnMut(&Batch, &[PreparedExample]) -> Result<Vec<T>>,
    ) -> Result<Completion<Vec<T>>> {
        let length = |&i: &usize| self.collator.length(&self.dataset.get(i)?);
        let lengths = self.indices.iter().map(length).collect::<Result<Vec<_>>>()?;
        let places = evaluation_batches(&lengths, self.batch_size);
        let examples = |places: &Vec<usize>| places.iter().map(|&p| self.indices[p]).collect();
        let plan = places.iter().map(examples).collect();
        let loader = Loader::new(Arc::clone(self.dataset), Arc::clone(self.collator), plan, 0);
        let mut results: Vec<(usize, T)> = Vec::with_capacity(self.indices.len());
        for (places, item) in places.into_iter().zip(loader) {
            let (batch, prepared) = item?;
            results.extend(places.into_iter().zip(evaluate(&batch, &prepared)?));
            if progress(prepared.len()).is_break() {
                return Ok(Completion::Stopped);
            }
        }
        results.sort_by_key(|(place, _)| *place);
        Ok(Completion::Finished(results.into_iter().map(|(_, result)| result).collect()))
    }
}

/// Generates a text for each example of `batch`, and computes the likelihood of the answers that are known. `prepared`
/// are the examples that the batch was made of.
///
/// # Errors
///
/// If the batch does not fit the model, or a setting is out of range.
pub fn predict_batch(
    loaded: &LoadedModel,
    batch: &Batch,
    prepared: &[PreparedExample],
    rule: &GenerationConfig,
) -> Result<Vec<UnscoredPrediction>> {
    let LoadedModel { model, params, tokenizer, text_rule, .. } = loaded;
    let likelihoods = match batch.target_count {
        0 => vec![Likelihood::default(); prepared.len()],
        _ => score(loaded, batch)?,
    };
    let texts = generate(&**model, params, batch, rule, text_rule.stop_rule(tokenizer))?;
    let rows = prepared.iter().zip(texts).zip(likelihoods);
    let row = |((prepared, text), likelihood): ((&PreparedExample, GeneratedText), Likelihood)| {
        let answer = text_rule.answer_text(tokenizer, &text.tokens);
        prediction(prepared, answer, text.log_probability.exp(), likelihood)
    };
    Ok(rows.map(row).collect())
}

/// The likelihoods of the answers in `batch`; of an unknown answer, that of no token.
fn score(loaded: &LoadedModel, batch: &Batch) -> Result<Vec<Likelihood>> {
    let mut g = Graph::inference(&loaded.params);
    let loss = loaded.model.loss(&mut g, batch, Mode::Evaluate, 0.0)?;
    let width = batch.decoder_input_ids.width;
    let rows = loss.position_losses.chunks(width).zip(batch.labels.chunks(width));
    Ok(rows
        .map(|(nll, labels)| Likelihood {
            nll: nll.iter().map(|&x| f64::from(x)).sum(),
            tokens: labels.iter().filter(|&&label| label != IGNORE_INDEX).count(),
        })
        .collect())
}

fn prediction(
    prepared: &PreparedExample,
    text: String,
    probability: f64,
    likelihood: Likelihood,
) -> UnscoredPrediction {
    let example = &prepared.example;
    let attribute = |name: &str| example.attributes.get(name).cloned();
    let target = example.answer.as_ref().map(|answer| Target {
        text: answer.text.clone(),
        answer_type: answer.answer_type,
        nll: likelihood.nll,
        num_target_tokens: likelihood.tokens,
        target_cut: prepared.is_answer_cut,
    });
    Prediction {
        id: example.id.clone(),
        image: (!example.images.is_empty()).then(|| example.image_name.clone()),
        question: example.question.clone(),
        prediction: text,
        probability: Some(probability),
        target,
        question_cut: prepared.is_question_cut,
        cluster: example.group.as_ref().unwrap_or(&example.image_name).clone(),
        run: 0,
        attributes: ExampleAttributes {
            question_type: attribute("question_type"),
            modality: attribute("modality"),
            organ: attribute("organ"),
        },
    }
}

/// Mean negative log-likelihood of a token, in nats.
pub(super) fn mean_nll(likelihoods: impl Iterator<Item = Likelihood>) -> f64 {
    let (nll, tokens) =
        likelihoods.fold((0.0, 0), |(nll, tokens), l| (nll + l.nll, tokens + l.tokens));
    nll / tokens.max(1) as f64
}

/// Scores of generated texts that an [`Event::Evaluated`](super::Event::Evaluated) reports: exact match
/// of answers, every score of reports. Empty if there are no predictions.
pub(super) fn scores_to_report(predictions: &[Prediction]) -> BTreeMap<Metric, f64> {
    let reports = predictions.first().is_some_and(Prediction::is_report);
    let is_reported = |metric: Metric| match reports {
        true => metric != Metric::NllPerToken,
        false => metric == Metric::primary(false),
    };
    metric_values(predictions).into_iter().filter(|(metric, _)| is_reported(*metric)).collect()
}
