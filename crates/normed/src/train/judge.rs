//! Evaluations during a run, and the choice of the best checkpoint.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::checkpoint::Best;
use super::evaluate::{Evaluation, Likelihood};
use super::run::Run;
use super::{Event, Subject};
use crate::data::Dataset;
use crate::metrics::{Metric, Prediction, values_of};
use crate::recipe::BestBy;
use crate::{Error, Result};

impl Run<'_> {
    /// After an epoch's last step: evaluates on the validation examples if it is time, keeps the
    /// parameters if they are the best, and goes on to the next epoch. False if the run was asked
    /// to stop before that was done.
    pub(super) fn judge(&mut self) -> Result<bool> {
        let spec = &self.recipe.train;
        let epoch = self.state.progress.epoch + 1;
        let due = spec.eval_every_epochs > 0 && epoch.is_multiple_of(spec.eval_every_epochs);
        let due = due || epoch == self.epochs;
        if due && !self.splits.validate.is_empty() && !self.validate(epoch)? {
            return Ok(false);
        }
        self.state.progress.epoch = epoch;
        self.state.progress.step_in_epoch = 0;
        Ok(true)
    }

    /// False if the run was asked to stop before it was done.
    fn validate(&mut self, epoch: usize) -> Result<bool> {
        let began = Instant::now();
        let spec = &self.recipe.train;
        let (some, rest) = spread(&self.splits.validate, spec.eval_examples);
        let dataset = Arc::clone(&self.splits.dataset);
        let subject = Subject::Validation;
        let Some(predictions) = self.predict(subject, &dataset, &some)? else { return Ok(false) };
        let Some(others) = self.likelihoods(subject, &dataset, &rest)? else { return Ok(false) };
        let own = predictions.iter().map(likelihood);
        let loss = mean(own.chain(others));
        if !loss.is_finite() {
            return Err(Error::diverged("validation", format!("the loss is {loss}"))
                .with_remedy("lower train.lr or set train.max_grad_norm"));
        }
        let scores = values(&predictions);

        let value = match spec.metric.metric() {
            Some(metric) => scores.get(&metric).copied(),
            None => (spec.metric == BestBy::Loss).then_some(loss),
        };
        let progress = &mut self.state.progress;
        let now = value.map(|value| Best { epoch, value, loss });
        let best = now.filter(|now| progress.best.is_none_or(|best| now.beats(&best, spec.metric)));
        if let Some(now) = best {
            progress.best = Some(now);
            progress.stale = 0;
            // Shared with the parameters until the next step writes to those.
            self.state.best =
                self.loaded.params.trained().map(|(_, p)| p.value().clone()).collect();
        } else if value.is_some() {
            progress.stale += 1;
            progress.stopped_early =
                spec.patience > 0 && progress.stale >= spec.patience && epoch < self.epochs;
        }
        let event = Event::Evaluated {
            of: subject,
            step: progress.step,
            epoch,
            loss,
            scores,
            generated: predictions.len(),
            best: best.is_some(),
            seconds: began.elapsed().as_secs_f64(),
        };
        self.log.emit(event)?;
        Ok(true)
    }

    /// Predictions for the examples `which`; none if the run was asked to stop.
    pub(super) fn predict(
        &mut self,
        of: Subject,
        dataset: &Arc<dyn Dataset>,
        which: &[usize],
    ) -> Result<Option<Vec<Prediction>>> {
        let rule = &self.recipe.generate;
        self.evaluate(of, dataset, which, |evaluation, progress| evaluation.predict(rule, progress))
    }

    fn likelihoods(
        &mut self,
        of: Subject,
        dataset: &Arc<dyn Dataset>,
        which: &[usize],
    ) -> Result<Option<Vec<Likelihood>>> {
        self.evaluate(of, dataset, which, |evaluation, progress| evaluation.likelihoods(progress))
    }

    /// Calls `run` with these examples and with what tells of progress and asks whether to go on.
    fn evaluate<T>(
        &mut self,
        of: Subject,
        dataset: &Arc<dyn Dataset>,
        which: &[usize],
        run: impl FnOnce(&Evaluation<'_>, &mut dyn FnMut(usize) -> bool) -> Result<T>,
    ) -> Result<T> {
        let evaluation = Evaluation {
            loaded: &self.loaded,
            collator: &self.evaluation_collator,
            dataset,
            which,
            batch_size: self.recipe.train.batch_size,
        };
        let (log, stop) = (&mut self.log, &self.options.stop);
        let mut done = 0;
        run(&evaluation, &mut |more| {
            done += more;
            log.tell(&Event::Progress { of, done, examples: which.len() });
            !stop.load(Ordering::Relaxed)
        })
    }
}

/// `some` of `all`, spread evenly, and the rest of them.
pub(super) fn spread(all: &[usize], some: Option<usize>) -> (Vec<usize>, Vec<usize>) {
    let (n, some) = (all.len(), some.unwrap_or(all.len()).min(all.len()));
    let chosen = |place: usize| (place + 1) * some / n > place * some / n;
    let (some, rest): (Vec<_>, Vec<_>) = all.iter().enumerate().partition(|(i, _)| chosen(*i));
    let examples = |part: Vec<(usize, &usize)>| part.into_iter().map(|(_, &i)| i).collect();
    (examples(some), examples(rest))
}

pub(super) fn likelihood(prediction: &Prediction) -> Likelihood {
    Likelihood { nll: prediction.nll, tokens: prediction.num_target_tokens }
}

/// Nats a token.
pub(super) fn mean(likelihoods: impl Iterator<Item = Likelihood>) -> f64 {
    let (nll, tokens) =
        likelihoods.fold((0.0, 0), |(nll, tokens), l| (nll + l.nll, tokens + l.tokens));
    nll / tokens.max(1) as f64
}

/// What of the generated texts is told of an evaluation: the part of answers that are right, every score of
/// reports; nothing of no texts.
pub(super) fn values(predictions: &[Prediction]) -> BTreeMap<Metric, f64> {
    let reports = predictions.first().is_some_and(Prediction::is_report);
    let told = |metric: Metric| match reports {
        true => metric != Metric::NllPerToken,
        false => metric == Metric::headline(false),
    };
    values_of(predictions).into_iter().filter(|(metric, _)| told(*metric)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_are_spread_evenly_over_all() {
        let all: Vec<usize> = (100..110).collect();
        assert_eq!(
            spread(&all, Some(3)),
            (vec![103, 106, 109], vec![100, 101, 102, 104, 105, 107, 108])
        );
        assert_eq!(spread(&all, None), (all.clone(), vec![]));
        assert_eq!(spread(&all, Some(99)), (all.clone(), vec![]));
        assert_eq!(spread(&all, Some(0)), (vec![], all));
    }
}
