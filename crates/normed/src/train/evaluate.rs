//! Answers and likelihoods for a part of a data set.

use std::sync::Arc;

use crate::Result;
use crate::data::{Batch, Collator, Dataset, IGNORE, Loader, Prepared};
use crate::metrics::Prediction;
use crate::models::{GenerateRule, Loaded, generate};
use crate::nn::Mode;
use crate::ops;
use crate::tensor::Graph;

/// What an evaluation looks at.
#[derive(Clone, Copy)]
pub struct Evaluation<'a> {
    /// The model and its parameters as they are.
    pub loaded: &'a Loaded,
    /// Makes batches by the model's rules.
    pub collator: &'a Arc<Collator>,
    /// For an image-blind score, a wrapper that shuffles the images.
    pub dataset: &'a Arc<dyn Dataset>,
    /// The examples of `dataset` to evaluate.
    pub which: &'a [usize],
    /// Examples a forward pass; changes nothing but rounding.
    pub batch_size: usize,
    /// How answers are generated.
    pub rule: &'a GenerateRule,
    /// For how many examples answers are generated, spread evenly over `which`; all if absent. The
    /// others' predictions are empty.
    pub generate: Option<usize>,
}

impl Evaluation<'_> {
    /// For each example, in the order of `which` whatever the batching: the generated answer, and
    /// the negative log-likelihood of the true one, teacher-forced, summed over its tokens and the
    /// closing one.
    ///
    /// `progress` is told after each batch how many examples are done, and says whether to go on;
    /// none if it said no.
    pub fn run(&self, progress: &mut dyn FnMut(usize) -> bool) -> Result<Option<Vec<Prediction>>> {
        // Questions of one length in one batch: less padding.
        let mut by_length = Vec::with_capacity(self.which.len());
        for (place, &i) in self.which.iter().enumerate() {
            by_length.push((self.collator.length(&self.dataset.get(i)?), place));
        }
        // Batches are of one kind: with generation or without.
        by_length.sort_by_key(|&(length, place)| (!self.generates(place), length, place));
        let with = by_length.iter().take_while(|(_, place)| self.generates(*place)).count();
        let (with, without) = by_length.split_at(with);
        let places: Vec<Vec<usize>> = (with.chunks(self.batch_size))
            .chain(without.chunks(self.batch_size))
            .map(|batch| batch.iter().map(|&(_, place)| place).collect())
            .collect();
        let plan =
            places.iter().map(|batch| batch.iter().map(|&p| self.which[p]).collect()).collect();
        let loader = Loader::new(Arc::clone(self.dataset), Arc::clone(self.collator), plan, 0);
        let mut predictions: Vec<Option<Prediction>> = vec![None; self.which.len()];
        let mut done = 0;
        for (places, item) in places.iter().zip(loader) {
            let (batch, prepared) = item?;
            let answers = match self.generates(places[0]) {
                true => self.answers(&batch),
                false => vec![String::new(); prepared.len()],
            };
            let scored = self.likelihoods(&batch).into_iter().zip(answers).zip(&prepared);
            for (&place, ((likelihood, answer), prepared)) in places.iter().zip(scored) {
                predictions[place] = Some(prediction(prepared, answer, likelihood));
            }
            done += prepared.len();
            if !progress(done) {
                return Ok(None);
            }
        }
        Ok(Some(predictions.into_iter().flatten().collect()))
    }

    /// Whether the example at `place` in `which` is one that an answer is generated for.
    pub(super) fn generates(&self, place: usize) -> bool {
        let (all, some) = (self.which.len(), self.generate.unwrap_or(usize::MAX));
        some >= all || (place + 1) * some / all > place * some / all
    }

    fn answers(&self, batch: &Batch) -> Vec<String> {
        let Loaded { model, params, tokenizer, text_rule, .. } = self.loaded;
        let tokens = generate(&**model, params, batch, self.rule, text_rule);
        tokens.iter().map(|ids| tokenizer.decode(ids)).collect()
    }

    /// Each example's summed negative log-likelihood and the number of tokens that it sums over.
    fn likelihoods(&self, batch: &Batch) -> Vec<(f64, usize)> {
        let mut g = Graph::inference(&self.loaded.params);
        let logits = self.loaded.model.forward(&mut g, batch, Mode::Evaluate);
        let loss = ops::cross_entropy(&mut g, logits, &batch.labels, 0.0);
        let width = batch.decoder_input_ids.width;
        (loss.positions.chunks(width).zip(batch.labels.chunks(width)))
            .map(|(nll, labels)| {
                let nll = nll.iter().map(|&x| f64::from(x)).sum();
                (nll, labels.iter().filter(|&&label| label != IGNORE).count())
            })
            .collect()
    }
}

fn prediction(prepared: &Prepared, answer: String, (nll, tokens): (f64, usize)) -> Prediction {
    let example = &prepared.example;
    Prediction {
        id: example.id.clone(),
        question: example.question.clone(),
        prediction: answer,
        target: example.answer.clone(),
        answer_type: example.answer_type,
        nll,
        num_target_tokens: tokens,
        cluster: example.group.as_ref().unwrap_or(&example.image_name).clone(),
    }
}
