//! Evaluations during a run, and the choice of the best checkpoint.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use super::checkpoint::Best;
use super::completion::{Completion, Interruption, check_stop};
use super::evaluate::{Evaluation, Likelihood, mean_nll, scores_to_report};
use super::event::{Event, Subject};
use super::run::Run;
use super::splits::pick_evenly;
use crate::data::Dataset;
use crate::metrics::Prediction;
use crate::recipe::BestBy;
use crate::{Error, Result};

impl Run<'_> {
    /// Completes an epoch after its last step: evaluates the validation examples if an evaluation is
    /// due, keeps the parameters if they are the best so far, and moves on to the next epoch.
    pub(super) fn finish_epoch(&mut self) -> Result<(), Interruption> {
        let spec = &self.recipe.train;
        let epoch = self.state.progress.epoch + 1;
        let due = spec.eval_every_epochs > 0 && epoch.is_multiple_of(spec.eval_every_epochs);
        if (due || epoch == self.epochs) && !self.splits.validate.is_empty() {
            self.validate(epoch)?;
        }
        self.state.progress.epoch = epoch;
        self.state.progress.step_in_epoch = 0;
        Ok(())
    }

    /// Evaluates the validation examples after `epoch`, counted from 1.
    fn validate(&mut self, epoch: usize) -> Result<(), Interruption> {
        let began = Instant::now();
        let spec = &self.recipe.train;
        let (generate_for, rest) = pick_evenly(&self.splits.validate, spec.eval_examples);
        let dataset = Arc::clone(&self.splits.dataset);
        let subject = Subject::Validation;
        let predictions = self.predict(subject, &dataset, &generate_for)?;
        let others = self.compute_likelihoods(subject, &dataset, &rest)?;
        let loss = mean_nll(predictions.iter().map(Likelihood::from).chain(others));
        if !loss.is_finite() {
            return Err(Error::diverged("validation", format!("the loss is {loss}"))
                .with_remedy("lower train.lr or set train.max_grad_norm")
                .into());
        }
        let scores = scores_to_report(&predictions);
        let value = match spec.metric.metric() {
            Some(metric) => scores.get(&metric).copied(),
            None => (spec.metric == BestBy::Loss).then_some(loss),
        };
        let before = self.state.progress.best;
        let current = value.map(|value| Best { epoch, value, loss });
        let best = self.keep_if_best(current);
        let ties = |before: &Best| current.is_some_and(|now| now.ties_with(before, spec.metric));
        let tied_with = before.filter(ties).map(|before| before.epoch);
        self.log.emit(Event::Evaluated {
            subject,
            step: self.state.progress.step,
            epoch,
            loss,
            scores,
            generated: predictions.len(),
            best,
            tied_with,
            seconds: began.elapsed().as_secs_f64(),
        })?;
        if let Some(message) = self.state.progress.divergence.observe_validation(epoch, loss) {
            self.log.emit(Event::Warning { message })?;
        }
        Ok(())
    }

    /// Keeps the current parameters if the evaluation `current` beats all before, and returns whether it
    /// does. Counts evaluations without improvement for early stopping. `current` is none where the
    /// recipe's metric has no value; then nothing is compared.
    fn keep_if_best(&mut self, current: Option<Best>) -> bool {
        let spec = &self.recipe.train;
        let progress = &mut self.state.progress;
        let Some(current) = current else { return false };
        let is_best = progress.best.is_none_or(|best| current.beats(&best, spec.metric));
        match progress.best {
            Some(best) if current.ties_with(&best, spec.metric) => {
                progress.ties.push(if is_best { best.epoch } else { current.epoch });
            }
            _ if is_best => progress.ties.clear(),
            _ => {}
        }
        if is_best {
            progress.best = Some(current);
            progress.stale = 0;
            // The values are shared with the parameters until the next step writes to those.
            self.state.best =
                self.loaded.params.trained().map(|(_, p)| p.value().clone()).collect();
        } else {
            progress.stale += 1;
            progress.stopped_early =
                spec.patience > 0 && progress.stale >= spec.patience && current.epoch < self.epochs;
        }
        is_best
    }

    /// Generates answers to the examples `indices` of `dataset`.
    pub(super) fn predict(
        &mut self,
        subject: Subject,
        dataset: &Arc<dyn Dataset>,
        indices: &[usize],
    ) -> Result<Vec<Prediction>, Interruption> {
        let rule = &self.recipe.generate;
        self.evaluate(subject, dataset, indices, |evaluation, progress| {
            evaluation.predict(rule, progress)
        })
    }

    fn compute_likelihoods(
        &mut self,
        subject: Subject,
        dataset: &Arc<dyn Dataset>,
        indices: &[usize],
    ) -> Result<Vec<Likelihood>, Interruption> {
        self.evaluate(subject, dataset, indices, |evaluation, progress| {
            evaluation.compute_likelihoods(progress)
        })
    }

    /// Calls `evaluate` with these examples and with a callback that reports progress and asks whether
    /// to go on.
    fn evaluate<T>(
        &mut self,
        subject: Subject,
        dataset: &Arc<dyn Dataset>,
        indices: &[usize],
        evaluate: impl FnOnce(
            &Evaluation<'_>,
            &mut dyn FnMut(usize) -> ControlFlow<()>,
        ) -> Result<Completion<T>>,
    ) -> Result<T, Interruption> {
        let evaluation = Evaluation {
            loaded: &self.loaded,
            collator: &self.evaluation_collator,
            dataset,
            indices,
            batch_size: self.recipe.train.batch_size,
        };
        let (log, stop) = (&mut self.log, &self.options.stop);
        let mut done = 0;
        let completion = evaluate(&evaluation, &mut |more| {
            done += more;
            log.notify(&Event::Progress { subject, done, total: indices.len() });
            check_stop(stop)
        })?;
        completion.or_interrupt()
    }
}
