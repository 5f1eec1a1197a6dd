//! Evaluation of the test split, and the files of a complete run.

use std::sync::Arc;
use std::time::Instant;

use super::checkpoint::Progress;
use super::completion::Interruption;
use super::evaluate::{Likelihood, mean_nll, scores_to_report};
use super::event::{Event, Outcome, Subject, TestScores};
use super::event_log::EVENTS;
use super::loss_curve::draw_loss_curve;
use super::model_card::model_card;
use super::peak_memory::peak_memory_bytes;
use super::run::Run;
use super::splits::Splits;
use super::summary::{SUMMARY, describe_run};
use crate::Result;
use crate::data::{Dataset, ShuffledImages, Split, Subset};
use crate::files::write_atomically;
use crate::hub::shared_name;
use crate::metrics::{
    Finding, MajorityBaseline, Prediction, PredictionSets, TestGap, describe_finding, describe_gap,
    read_predictions, score, write_predictions,
};
use crate::models::{self, LoadedModel};
use crate::recipe::{Base, BestBy, FromInit, InitSpec};
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
        let (test, finding) = if self.evaluates_test() {
            let (test, finding) = self.test_after()?;
            (Some(test), finding)
        } else {
            let gap = match self.splits.test.is_empty() {
                true => TestGap::NoTestSplit,
                false => TestGap::NotEvaluated,
            };
            (None, describe_gap(gap).to_owned())
        };
        let svg = draw_loss_curve(&self.directory.join(EVENTS))?;
        write_atomically(&self.directory.join("loss.svg"), |out| out.write_all(svg.as_bytes()))?;
        let progress = &self.state.progress;
        let outcome = Outcome {
            output: self.directory.path().to_owned(),
            trained: self.loaded.params.trained_element_count(),
            total: self.loaded.params.element_count(),
            steps: progress.step,
            stopped_early: progress.stopped_early,
            best_epoch: progress.kept_epoch(),
            kept_because: kept_because(
                progress,
                self.recipe.train.metric,
                self.splits.validate.len(),
            ),
            best_value: progress.best.map(|best| best.value),
            test,
            seconds: self.seconds(),
            peak_memory_bytes: peak_memory_bytes(),
            finding,
            provenance: Some(self.provenance.clone()),
        };
        self.save_model(&outcome)?;
        self.report_saved_model()?;
        self.write_summary(&outcome)?;
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
                "the run took up to {:.0} MiB, more than memory = {}. Set a higher limit, or report it \
                 if the plan promised less",
                (peak as f64 / f64::from(1 << 20)).ceil(),
                limit.with_mebibytes(),
            )
        })
    }

    /// Writes `summary.md`.
    fn write_summary(&self, outcome: &Outcome) -> Result<()> {
        let Splits { train, validate, test, .. } = &self.splits;
        let examples = [train.len(), validate.len(), test.len()];
        let text = describe_run(self.recipe, outcome, examples);
        write_atomically(&self.directory.join(SUMMARY), |out| out.write_all(text.as_bytes()))
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

    /// Evaluates the best checkpoint on the test split, with its own and with shuffled images. Returns the scores and
    /// what they mean.
    fn test_after(&mut self) -> Result<(TestScores, String), Interruption> {
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
        let score = |predictions: &[Prediction]| score(predictions, Some(&constants));
        let scores = TestScores {
            before: before.as_deref().map(score),
            after: score(&after),
            blind: blind.as_deref().map(score),
            overlap: self.splits.overlap()?,
        };
        let sets = PredictionSets {
            predictions: &after,
            image_shuffled: blind.as_deref(),
            before: before.as_deref(),
        };
        let tuned = matches!(self.recipe.base, Base::Model(_)) && self.steps > 0;
        let subject = if tuned { "The tuned model" } else { "The model" };
        let finding = Finding::new(&scores.after, &sets)?;
        let finding = finding.map(|finding| describe_finding(&finding, subject, Some(Split::Test)));
        Ok((scores, finding.unwrap_or_default()))
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
        let epoch = match subject {
            Subject::TestBefore => 0,
            _ => progress.kept_epoch(),
        };
        self.log.emit(Event::Evaluated {
            subject,
            step: progress.step,
            epoch,
            loss: mean_nll(predictions.iter().map(Likelihood::from)),
            scores: scores_to_report(&predictions),
            generated: predictions.len(),
            best: false,
            tied_with: None,
            seconds: began.elapsed().as_secs_f64(),
        })?;
        Ok(predictions)
    }
}

/// Why the weights that are kept are those of their epoch; none if nothing was trained. `examples` is the number of
/// validation examples.
fn kept_because(progress: &Progress, metric: BestBy, examples: usize) -> Option<String> {
    if progress.step == 0 {
        return None;
    }
    if progress.best.is_none() {
        return Some("the last one; no validation examples were compared".to_owned());
    }
    let name = match metric {
        BestBy::ExactMatch => "exact match",
        BestBy::Bleu4 => "BLEU-4",
        BestBy::RougeL => "ROUGE-L",
        BestBy::Cider => "CIDEr",
        BestBy::Loss | BestBy::Last => {
            return Some(format!("the lowest loss of {examples} validation examples"));
        }
    };
    let highest = format!("the highest {name} of {examples} validation examples");
    let ties: Vec<String> = progress.ties.iter().map(usize::to_string).collect();
    Some(match ties.as_slice() {
        [] => highest,
        [one] => format!("{highest}; epoch {one} has the same and no lower loss"),
        [most @ .., last] => {
            format!(
                "{highest}; epochs {} and {last} have the same and no lower loss",
                most.join(", ")
            )
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::TrainSpec;
    use crate::train::adamw::AdamW;
    use crate::train::checkpoint::{Best, State};
    use crate::train::test_model::TestModel;

    #[test]
    fn a_kept_epoch_is_explained() {
        let (_, params) = TestModel::new();
        let optimizer = AdamW::new(&params, &TrainSpec::default());
        let mut progress = State::new(&params, optimizer, String::new()).progress;
        assert_eq!(kept_because(&progress, BestBy::ExactMatch, 40), None);
        progress.step = 9;
        let because =
            |progress: &Progress, metric: BestBy| kept_because(progress, metric, 40).unwrap();
        assert!(because(&progress, BestBy::Last).starts_with("the last one"));
        progress.best = Some(Best { epoch: 3, value: 0.5, loss: 0.4 });
        assert_eq!(because(&progress, BestBy::Loss), "the lowest loss of 40 validation examples");
        let highest = "the highest exact match of 40 validation examples";
        assert_eq!(because(&progress, BestBy::ExactMatch), highest);
        progress.ties = vec![2];
        let one = format!("{highest}; epoch 2 has the same and no lower loss");
        assert_eq!(because(&progress, BestBy::ExactMatch), one);
        progress.ties = vec![1, 2, 5];
        let many = format!("{highest}; epochs 1, 2 and 5 have the same and no lower loss");
        assert_eq!(because(&progress, BestBy::ExactMatch), many);
    }
}
