//! Answers and likelihoods for a part of a data set.

use std::sync::Arc;

use crate::Result;
use crate::data::{
    Batch, Collator, Dataset, IGNORE_INDEX, Loader, PreparedExample, evaluation_batches,
};
use crate::metrics::{About, Prediction};
use crate::models::{GenerationConfig, LoadedModel, generate};
use crate::nn::Mode;
use crate::tensor::Graph;

/// A model, and the examples that it is evaluated on.
#[derive(Clone, Copy)]
pub struct Evaluation<'a> {
    /// The model, its parameters as they are.
    pub loaded: &'a LoadedModel,
    /// Makes batches by the model's rules.
    pub collator: &'a Arc<Collator>,
    /// For an image-blind score, [`crate::data::Blind`].
    pub dataset: &'a Arc<dyn Dataset>,
    /// The examples of `dataset` to evaluate.
    pub which: &'a [usize],
    /// Examples a forward pass; changes nothing but rounding.
    pub batch_size: usize,
}

/// How likely the model finds a true answer.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Likelihood {
    /// Negative log-likelihood in nats, teacher-forced, summed over the answer's tokens and the
    /// closing one.
    pub nll: f64,
    /// The number of those tokens.
    pub tokens: usize,
}

impl Evaluation<'_> {
    /// Generates an answer to each example by `rule`; in the order of `which`, whatever the
    /// batching.
    ///
    /// `progress` is told after each batch how many examples it held, and says whether to go on;
    /// none if it said no.
    pub fn predict(
        &self,
        rule: &GenerationConfig,
        progress: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Option<Vec<Prediction>>> {
        self.each(progress, |batch, prepared| {
            let LoadedModel { model, params, tokenizer, text_rule, .. } = self.loaded;
            let likelihoods = self.score(batch)?;
            let answers = generate(&**model, params, batch, rule, text_rule.stop_rule(tokenizer))?;
            let rows = prepared.iter().zip(answers).zip(likelihoods);
            Ok(rows
                .map(|((prepared, answer), likelihood)| {
                    let answer = text_rule.answer_text(tokenizer, &answer);
                    prediction(prepared, answer, likelihood)
                })
                .collect())
        })
    }

    /// As [`Evaluation::predict`], without generating.
    pub fn likelihoods(
        &self,
        progress: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Option<Vec<Likelihood>>> {
        self.each(progress, |batch, _| self.score(batch))
    }

    /// Calls `evaluate` on batches of about the same length, and puts what it makes of each
    /// example in the order of `which`.
    fn each<T>(
        &self,
        progress: &mut dyn FnMut(usize) -> bool,
        mut evaluate: impl FnMut(&Batch, &[PreparedExample]) -> Result<Vec<T>>,
    ) -> Result<Option<Vec<T>>> {
        let length = |&i: &usize| self.collator.length(&self.dataset.get(i)?);
        let lengths = self.which.iter().map(length).collect::<Result<Vec<_>>>()?;
        let places = evaluation_batches(&lengths, self.batch_size);
        let examples = |places: &Vec<usize>| places.iter().map(|&p| self.which[p]).collect();
        let plan = places.iter().map(examples).collect();
        let loader = Loader::new(Arc::clone(self.dataset), Arc::clone(self.collator), plan, 0);
        let mut results: Vec<(usize, T)> = Vec::with_capacity(self.which.len());
        for (places, item) in places.into_iter().zip(loader) {
            let (batch, prepared) = item?;
            results.extend(places.into_iter().zip(evaluate(&batch, &prepared)?));
            if !progress(prepared.len()) {
                return Ok(None);
            }
        }
        results.sort_by_key(|(place, _)| *place);
        Ok(Some(results.into_iter().map(|(_, result)| result).collect()))
    }

    fn score(&self, batch: &Batch) -> Result<Vec<Likelihood>> {
        let mut g = Graph::inference(&self.loaded.params);
        let loss = self.loaded.model.loss(&mut g, batch, Mode::Evaluate, 0.0)?;
        let width = batch.decoder_input_ids.width;
        let rows = loss.position_losses.chunks(width).zip(batch.labels.chunks(width));
        Ok(rows
            .map(|(nll, labels)| Likelihood {
                nll: nll.iter().map(|&x| f64::from(x)).sum(),
                tokens: labels.iter().filter(|&&label| label != IGNORE_INDEX).count(),
            })
            .collect())
    }
}

fn prediction(prepared: &PreparedExample, answer: String, likelihood: Likelihood) -> Prediction {
    let example = &prepared.example;
    let said = |name: &str| example.attributes.get(name).cloned();
    Prediction {
        id: example.id.clone(),
        question: example.question.clone(),
        prediction: answer,
        target: example.answer.clone(),
        answer_type: example.answer_type,
        nll: likelihood.nll,
        num_target_tokens: likelihood.tokens,
        cluster: example.group.as_ref().unwrap_or(&example.image_name).clone(),
        run: 0,
        about: About {
            question_type: said("question_type"),
            modality: said("modality"),
            organ: said("organ"),
        },
    }
}
