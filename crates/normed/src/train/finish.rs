//! Evaluation of the test split, and the files of a complete run.

use std::sync::Arc;
use std::time::Instant;

use super::completion::Interruption;
use super::evaluate::{Likelihood, mean_nll, scores_to_report};
use super::event::{Event, Outcome, Subject, TestScores};
use super::event_log::EVENTS;
use super::loss_curve::draw_loss_curve;
use super::model_card::model_card;
use super::peak_memory::peak_memory_bytes;
use super::run::Run;
use crate::Result;
use crate::data::{Dataset, ShuffledImages, Subset};
use crate::files::write_atomically;
use crate::hub::shared_name;
use crate::metrics::{MajorityBaseline, Prediction, read_predictions, score, write_predictions};
use crate::models::{self, LoadedModel};
use crate::recipe::{Base, FromInit, InitSpec};
use crate::tensor::Precision;
use crate::tuning::changed_values;
use crate::weights::{AdapterCard, save_adapter};

/// In the run directory: predictions of the untrained base model for the test split.
const BEFORE: &str = "predictions_before.jsonl";

/// Predictions of the best checkpoint.
const AFTER: &str = "predictions.jsonl";

/// Predictions of the best checkpoint, with the images shuffled between examples.
const BLIND: &str = "predictions_blind.jsonl";

impl Run<'_> {
    /// Evaluates the untrained base model on the test split, before the first step.
    pub(super) fn test_before(&mut self) -> Result<(), Interruption> {
        // A base model that this run makes has learned nothing yet. If nothing is trained, there is no
        // difference between before and after.
        let has_learned = matches!(self.recipe.base, Base::Model(_));
        if self.evaluates_test() && has_learned && self.steps > 0 && self.state.progress.step == 0 {
            let test = self.test_split();
            self.evaluate_test(Subject::TestBefore, &test, BEFORE)?;
        }
        Ok(())
    }

    /// Restores the best parameters, evaluates the test split and writes the files of a complete run.
    pub(super) fn finish(&mut self) -> Result<Outcome, Interruption> {
        let trained: Vec<_> = self.loaded.params.trained().map(|(id, _)| id).collect();
        for (id, value) in trained.into_iter().zip(std::mem::take(&mut self.state.best)) {
            self.loaded.params.get_mut(id).set(value);
        }
        let test = if self.evaluates_test() { Some(self.test_after()?) } else { None };
        let svg = draw_loss_curve(&self.directory.join(EVENTS))?;
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
        self.report_saved_model()?;
        self.directory.finish(&outcome)?;
        if let Some(message) = self.memory_warning(&outcome) {
            self.log.emit(Event::Warning { message })?;
        }
        self.log.emit(Event::Finished { outcome: Box::new(outcome.clone()) })?;
        Ok(outcome)
    }

    /// The warning that the process took more memory than the recipe allows.
    fn memory_warning(&self, outcome: &Outcome) -> Option<String> {
        let (limit, peak) = (self.recipe.planned_for?, outcome.peak_memory_bytes?);
        (peak > limit.0).then(|| {
            format!(
                "the run took up to {:.0} MiB, more than memory = \"{limit}\". Set a higher limit, or report it \
                 if the plan promised less",
                (peak as f64 / f64::from(1 << 20)).ceil()
            )
        })
    }

    /// Writes `adapter/`, or `model/` if the run made its base model. Writes nothing if nothing is trained.
    fn save_model(&self, outcome: &Outcome) -> Result<()> {
        let LoadedModel { params, content_hash, config, .. } = &self.loaded;
        match &self.recipe.base {
            Base::Init(init) => {
                models::save(&self.loaded, &self.directory.join("model"), init.save_bf16())
            }
            Base::Model(_) if outcome.trained == 0 => Ok(()),
            Base::Model(dir) => {
                let readme = model_card(self.recipe, outcome, (dir, content_hash));
                let card = AdapterCard {
                    base: &shared_name(dir),
                    base_hash: content_hash,
                    base_class: config.transformers_class(),
                    readme: &readme,
                };
                save_adapter(&self.directory.join("adapter"), params, &card)
            }
        }
    }

    /// Reports how many of the values that training changed are changed in the model that was written: rounding can undo
    /// the change of a norm. A model whose first weights were random has none to compare with.
    fn report_saved_model(&mut self) -> Result<()> {
        let Base::Init(init @ InitSpec::From(FromInit { from, .. })) = &self.recipe.base else {
            return Ok(());
        };
        let base = models::load_as_stored(from, self.recipe.load_overrides())?;
        let precision = if init.save_bf16() { Precision::Bf16 } else { Precision::F32 };
        let values = changed_values(&base.params, &self.loaded.params, precision);
        self.log.emit(Event::ModelSaved { path: self.directory.join("model"), precision, values })
    }

    /// Whether this run evaluates the test split.
    fn evaluates_test(&self) -> bool {
        self.options.test && !self.splits.test.is_empty()
    }

    /// The examples of the test split.
    fn test_split(&self) -> Arc<dyn Dataset> {
        Arc::new(Subset::new(Arc::clone(&self.splits.dataset), self.splits.test.clone()))
    }

    /// Evaluates the best checkpoint on the test split, with its own and with shuffled images.
    fn test_after(&mut self) -> Result<TestScores, Interruption> {
        let test = self.test_split();
        let after = self.evaluate_test(Subject::TestAfter, &test, AFTER)?;
        let blind = match ShuffledImages::new(Arc::clone(&test), self.recipe.seed) {
            Ok(blind) => {
                let blind: Arc<dyn Dataset> = Arc::new(blind);
                Some(self.evaluate_test(Subject::TestBlind, &blind, BLIND)?)
            }
            Err(error) => {
                self.log.emit(Event::Warning { message: error.to_string() })?;
                None
            }
        };
        let before = self.directory.join(BEFORE);
        let before = before.exists().then(|| read_predictions(&before)).transpose()?;
        let constants = self.training_constants()?;
        let score = |predictions: Vec<Prediction>| score(&predictions, Some(&constants));
        Ok(TestScores {
            before: before.map(score),
            after: score(after),
            blind: blind.map(score),
            overlap: self.splits.overlap()?,
        })
    }

    /// The constant answers that score best on the training answers: the majority-answer baseline.
    fn training_constants(&self) -> Result<MajorityBaseline> {
        let mut answers = Vec::with_capacity(self.splits.train.len());
        for &i in &self.splits.train {
            answers.push(self.splits.dataset.get(i)?.expect_answer()?.clone());
        }
        Ok(MajorityBaseline::from_training(&answers))
    }

    /// Generates a text for each example of `test`, writes the predictions to `file` and reports them.
    fn evaluate_test(
        &mut self,
        subject: Subject,
        test: &Arc<dyn Dataset>,
        file: &str,
    ) -> Result<Vec<Prediction>, Interruption> {
        let began = Instant::now();
        let indices: Vec<usize> = (0..test.len()).collect();
        let predictions = self.predict(subject, test, &indices)?;
        write_predictions(&self.directory.join(file), &predictions)?;
        let progress = &self.state.progress;
        self.log.emit(Event::Evaluated {
            subject,
            step: progress.step,
            epoch: progress.epoch,
            loss: mean_nll(predictions.iter().map(Likelihood::from)),
            scores: scores_to_report(&predictions),
            generated: predictions.len(),
            best: false,
            seconds: began.elapsed().as_secs_f64(),
        })?;
        Ok(predictions)
    }
}
