//! The test split before and after, and the files that a finished run leaves.

use std::sync::Arc;
use std::time::Instant;

use super::judge::{likelihood, mean, values};
use super::run::Run;
use super::{Event, Outcome, Subject, TestScores, card, curve, log, peak_memory_bytes};
use crate::Result;
use crate::data::{Dataset, ShuffledImages, Subset};
use crate::files::write_atomically;
use crate::metrics::{Constants, Prediction, read_predictions, score, write_predictions};
use crate::models::{self, LoadedModel};
use crate::recipe::Base;
use crate::weights::{AdapterCard, save_adapter};

/// In the run directory: the test split, answered by the base as it came.
const BEFORE: &str = "predictions_before.jsonl";

/// By the best checkpoint.
const AFTER: &str = "predictions.jsonl";

/// By the best checkpoint, the images shuffled among the questions or studies.
const BLIND: &str = "predictions_blind.jsonl";

impl Run<'_> {
    /// Answers the test split with the base as it came, before the first step. False if the run
    /// was asked to stop before that was done.
    pub(super) fn test_before(&mut self) -> Result<bool> {
        // A base that this run makes has learnt nothing yet; where nothing is trained, before and
        // after are one.
        let learnt = matches!(self.recipe.base, Base::Model(_));
        if !self.tests() || !learnt || self.steps == 0 || self.state.progress.step > 0 {
            return Ok(true);
        }
        let test = self.test_split();
        Ok(self.test(Subject::TestBefore, &test, BEFORE)?.is_some())
    }

    /// Goes back to the best checkpoint, answers the test split with it and writes what the run
    /// leaves. None if the run was asked to stop before that was done.
    pub(super) fn finish(&mut self) -> Result<Option<Outcome>> {
        let trained: Vec<_> = self.loaded.params.trained().map(|(id, _)| id).collect();
        for (id, value) in trained.into_iter().zip(std::mem::take(&mut self.state.best)) {
            self.loaded.params.get_mut(id).set(value);
        }
        let test = match self.tests() {
            true => match self.test_after()? {
                Some(scores) => Some(scores),
                None => return Ok(None),
            },
            false => None,
        };
        let svg = curve::loss_curve(&self.directory.join(log::EVENTS))?;
        write_atomically(&self.directory.join("loss.svg"), |out| out.write_all(svg.as_bytes()))?;
        let progress = &self.state.progress;
        let outcome = Outcome {
            output: self.directory.path().to_owned(),
            trained: self.loaded.params.trained_element_count(),
            total: self.loaded.params.element_count(),
            steps: progress.step,
            stopped_early: progress.stopped_early,
            best_epoch: progress.best.map_or(progress.epoch, |best| best.epoch),
            best_value: progress.best.map(|best| best.value),
            test,
            seconds: self.seconds(),
            peak_memory_bytes: peak_memory_bytes(),
        };
        self.save_model(&outcome)?;
        self.directory.finish(&outcome)?;
        self.log.emit(Event::Finished { outcome: Box::new(outcome.clone()) })?;
        Ok(Some(outcome))
    }

    /// Writes adapter/ or, where the run made its base, model/; nothing where nothing is trained.
    fn save_model(&self, outcome: &Outcome) -> Result<()> {
        let LoadedModel { params, content_hash, config, .. } = &self.loaded;
        match &self.recipe.base {
            Base::Init(init) => {
                models::save(&self.loaded, &self.directory.join("model"), init.save_bf16())
            }
            Base::Model(_) if outcome.trained == 0 => Ok(()),
            Base::Model(dir) => {
                let base = dir.to_string_lossy();
                let readme = card::readme(self.recipe, outcome, (&base, content_hash));
                let card = AdapterCard {
                    base: &base,
                    base_hash: content_hash,
                    base_class: config.base_class(),
                    readme: &readme,
                };
                save_adapter(&self.directory.join("adapter"), params, &card)
            }
        }
    }

    /// Whether this run looks at the test split.
    fn tests(&self) -> bool {
        self.options.test && !self.splits.test.is_empty()
    }

    fn test_split(&self) -> Arc<dyn Dataset> {
        Arc::new(Subset::new(Arc::clone(&self.splits.dataset), self.splits.test.clone()))
    }

    fn test_after(&mut self) -> Result<Option<TestScores>> {
        let test = self.test_split();
        let Some(after) = self.test(Subject::TestAfter, &test, AFTER)? else { return Ok(None) };
        let blind = match ShuffledImages::new(Arc::clone(&test), self.recipe.seed) {
            Ok(blind) => {
                let blind: Arc<dyn Dataset> = Arc::new(blind);
                match self.test(Subject::TestBlind, &blind, BLIND)? {
                    Some(predictions) => Some(predictions),
                    None => return Ok(None),
                }
            }
            Err(error) => {
                self.log.emit(Event::Warning { message: error.to_string() })?;
                None
            }
        };
        let before = self.directory.join(BEFORE);
        let before = before.exists().then(|| read_predictions(&before)).transpose()?;
        let mut answers = Vec::with_capacity(self.splits.train.len());
        for &i in &self.splits.train {
            let example = self.splits.dataset.get(i)?;
            answers.push((example.answer, example.answer_type));
        }
        let constants = Constants::of_training(answers.iter().map(|(a, t)| (a.as_str(), *t)));
        let score = |predictions: Vec<Prediction>| score(&predictions, Some(&constants));
        Ok(Some(TestScores {
            before: before.map(score),
            after: score(after),
            blind: blind.map(score),
            overlap: self.splits.overlap()?,
        }))
    }

    /// Answers `test` and writes the predictions to `file`.
    fn test(
        &mut self,
        of: Subject,
        test: &Arc<dyn Dataset>,
        file: &str,
    ) -> Result<Option<Vec<Prediction>>> {
        let began = Instant::now();
        let which: Vec<usize> = (0..test.len()).collect();
        let Some(predictions) = self.predict(of, test, &which)? else { return Ok(None) };
        write_predictions(&self.directory.join(file), &predictions)?;
        let progress = &self.state.progress;
        self.log.emit(Event::Evaluated {
            of,
            step: progress.step,
            epoch: progress.epoch,
            loss: mean(predictions.iter().map(likelihood)),
            scores: values(&predictions),
            generated: predictions.len(),
            best: false,
            seconds: began.elapsed().as_secs_f64(),
        })?;
        Ok(Some(predictions))
    }
}
