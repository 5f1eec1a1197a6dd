//! A run, from the recipe to the run directory.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use super::adamw::AdamW;
use super::checkpoint::State;
use super::completion::{Completion, Interruption, interrupt_if};
use super::directory::RunDirectory;
use super::event::{Event, Outcome};
use super::event_log::EventLog;
use super::fisher::select_norms;
use super::fit_data::fit_data;
use super::image_record::ImageRecord;
use super::param_groups::check_group_lrs;
use super::prepare::{open_tuned_base, resolve_for_memory};
use super::provenance::Provenance;
use super::schedule::learning_rate;
use super::splits::Splits;
use super::step::{StepOptions, StepResult, train_step};
use crate::Result;
use crate::data::{Collator, Loader, training_batches};
use crate::models::LoadedModel;
use crate::recipe::{Base, Recipe};
use crate::tuning::Selection;
use crate::weights::check_adapter;

/// Options of a run besides its recipe. None of them changes the trained weights.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// Continue a run of the same recipe that was stopped or killed. If there is none yet, the run
    /// starts from the beginning; if it is complete, its results are returned.
    pub resume: bool,
    /// Evaluate the test split: the untrained base model, the best checkpoint, and the best checkpoint
    /// with shuffled images. Training never reads the test split.
    pub test: bool,
    /// Set this flag (on Ctrl-C, say) to make the run complete its step, save a checkpoint and return.
    pub stop: Arc<AtomicBool>,
}

/// Trains a model as described in `recipe`, and writes the run directory.
///
/// The directory holds the resolved `recipe.toml`, `events.jsonl`, a TensorBoard event file,
/// `metrics.json`, `loss.svg` and the predictions for the test split. The trained weights are in
/// `adapter/`, or in `model/` if the recipe makes a base model. `checkpoint/` exists until the run is
/// complete.
///
/// # Errors
///
/// If the model or the data cannot be read, if the recipe does not fit them, if the run directory holds
/// another run or cannot be written, or if the loss or a gradient is not finite.
pub fn run(
    recipe: &Recipe,
    options: &RunOptions,
    on_event: &mut dyn FnMut(&Event),
) -> Result<Completion<Outcome>> {
    let (recipe, planned) = &resolve_for_memory(recipe, options.resume)?;
    let provenance = Provenance::record(&recipe.data)?;
    let directory = RunDirectory::open(recipe, &provenance, options.resume)?;
    planned.iter().for_each(&mut *on_event);
    if let Some(outcome) = directory.outcome()? {
        on_event(&Event::Finished { outcome: Box::new(outcome.clone()) });
        return Ok(Completion::Finished(outcome));
    }
    let output = recipe.output.clone();
    let is_new = directory.is_new();
    let opened =
        Completion::of(Run::open(recipe, options, (directory, provenance), &mut *on_event));
    if opened.is_err() && is_new {
        RunDirectory::remove_unstarted(&output);
    }
    let Completion::Finished(mut run) = opened? else {
        on_event(&Event::Stopped { step: 0, total: 0, output });
        return Ok(Completion::Stopped);
    };
    let completion = Completion::of(run.complete());
    // With `resume` what is there is continued, so that it is in nobody's way.
    if completion.is_err() && is_new && !options.resume && run.state.progress.step == 0 {
        RunDirectory::remove_new(&output);
    }
    let completion = completion?;
    if completion == Completion::Stopped {
        let (step, total) = (run.state.progress.step, run.steps);
        run.log.emit(Event::Stopped { step, total, output })?;
    }
    Ok(completion)
}

/// A run in progress.
pub(super) struct Run<'a> {
    pub recipe: &'a Recipe,
    pub options: &'a RunOptions,
    pub directory: RunDirectory,
    pub provenance: Provenance,
    pub log: EventLog<'a>,
    pub loaded: LoadedModel,
    pub collator: Arc<Collator>,
    /// Makes batches for evaluations, whose reports are whole. It can use cached image features where
    /// training cannot, since nothing is random in an evaluation.
    pub evaluation_collator: Arc<Collator>,
    pub splits: Splits,
    pub state: State,
    /// Passes over the training examples; 0 if nothing is trained.
    pub epochs: usize,
    /// Total optimizer steps, unless early stopping ends the run before.
    pub steps: usize,
    /// When this process began.
    began: Instant,
    /// Seconds that earlier processes spent on the run.
    earlier_seconds: f64,
}

/// What [`Run::open`] learns and [`Run::report_start`] reports.
struct StartReport {
    resumed: bool,
    skipped_rows: Vec<String>,
    data_warnings: Vec<String>,
    norms_selected: Option<Event>,
    tuned: Selection,
}

impl<'a> Run<'a> {
    /// Opens the data and the model, selects the trained parameters, and restores the checkpoint if
    /// there is one.
    fn open(
        recipe: &'a Recipe,
        options: &'a RunOptions,
        (directory, provenance): (RunDirectory, Provenance),
        on_event: &'a mut dyn FnMut(&Event),
    ) -> Result<Self, Interruption> {
        let began = Instant::now();
        let opened = recipe.data.open()?;
        let (mut loaded, tuned) = open_tuned_base(recipe)?;
        let evaluation_collator = Arc::new(loaded.collator());
        let opened = fit_data(recipe, opened, &evaluation_collator)?;
        let splits = Splits::new(opened.dataset, &recipe.train, recipe.seed)?;
        if let Base::Model(_) = recipe.base {
            check_adapter(&loaded.params)?;
        }
        directory.make_checkpoint_directory()?;
        let images = ImageRecord::update(&splits, options.test, &directory)?;
        let fingerprint = format!("{} {} {images}", loaded.content_hash, splits.fingerprint);
        let data = (&splits, fingerprint.as_str());
        let norms_selected =
            select_norms(recipe, &mut loaded, data, &directory, &options.stop, on_event)?;
        check_group_lrs(&loaded.params, &recipe.train)?;

        let optimizer = AdamW::new(&loaded.params, &recipe.train);
        let mut state = State::new(&loaded.params, optimizer, fingerprint);
        let checkpoint = directory.checkpoint();
        let resumed = checkpoint.exists();
        if resumed {
            state.restore(&mut loaded.params, &checkpoint)?;
        }
        let epochs =
            if loaded.params.trained_element_count() > 0 { recipe.train.epochs } else { 0 };
        let lengths = (state.progress.log_length, state.progress.tensorboard_length);
        let log = EventLog::open(directory.path(), lengths, on_event)?;
        let collator = Arc::new(recipe.training_collator(&loaded));
        let mut run = Self {
            recipe,
            options,
            directory,
            provenance,
            log,
            loaded,
            evaluation_collator,
            collator,
            epochs,
            steps: epochs * recipe.train.steps_per_epoch(splits.train.len()),
            splits,
            began,
            earlier_seconds: state.progress.seconds,
            state,
        };
        run.report_start(StartReport {
            resumed,
            skipped_rows: opened.skipped,
            data_warnings: opened.warnings,
            norms_selected,
            tuned,
        })?;
        Ok(run)
    }

    /// Emits the events that precede the first step.
    fn report_start(&mut self, report: StartReport) -> Result<()> {
        self.log.emit(Event::Started {
            version: self.provenance.version.clone(),
            output: self.directory.path().to_owned(),
            resumed_at: report.resumed.then_some(self.state.progress.step),
            train: self.splits.train.len(),
            validate: self.splits.validate.len(),
            test: self.splits.test.len(),
            steps: self.steps,
            epochs: self.epochs,
            label_smoothing: self.recipe.train.label_smoothing,
            prompt_date: self.collator.text_rule.prompt_date().map(str::to_owned),
        })?;
        if !report.skipped_rows.is_empty() {
            self.log.emit(Event::Skipped { rows: report.skipped_rows })?;
        }
        let overlap = if self.options.test { self.splits.overlap()? } else { None };
        let overlap = overlap.and_then(|overlap| overlap.warning());
        let warnings = report
            .data_warnings
            .into_iter()
            .chain(self.splits.warnings(self.options.test))
            .chain(overlap);
        for message in warnings {
            self.log.emit(Event::Warning { message })?;
        }
        if let Some(event) = report.norms_selected {
            self.log.emit(event)?;
        }
        let Selection { total, inert, .. } = report.tuned;
        let trained = self.loaded.params.trained_element_count();
        self.log.emit(Event::ParametersSelected { trained, total, inert })?;
        if let Some(event) = self.count_truncated_reports()? {
            self.log.emit(event)?;
        }
        Ok(())
    }

    /// The event that reports truncated training reports, if there are any.
    fn count_truncated_reports(&self) -> Result<Option<Event>> {
        if self.recipe.data.task.is_vqa() {
            return Ok(None);
        }
        let Splits { dataset, train, .. } = &self.splits;
        let (mut reports, total) = (0, train.len());
        for &i in train {
            reports += usize::from(self.collator.tokenize(&dataset.get(i)?)?.answer_cut > 0);
        }
        let tokens = self.recipe.generate.max_new_tokens;
        Ok((reports > 0).then_some(Event::Truncated { reports, total, tokens }))
    }

    /// Everything that is left to do.
    fn complete(&mut self) -> Result<Outcome, Interruption> {
        self.cache_image_features()?;
        self.test_before()?;
        self.train()?;
        self.finish()
    }

    /// Seconds spent on the run by this and all earlier processes.
    pub fn seconds(&self) -> f64 {
        self.earlier_seconds + self.began.elapsed().as_secs_f64()
    }

    /// Trains for all epochs that are left. If the run is asked to stop, a checkpoint is saved first.
    fn train(&mut self) -> Result<(), Interruption> {
        let length = |&i: &usize| self.collator.length(&self.splits.dataset.get(i)?);
        let lengths = self.splits.train.iter().map(length).collect::<Result<Vec<_>>>()?;
        while self.state.progress.epoch < self.epochs && !self.state.progress.stopped_early {
            let ended = self.train_epoch(&lengths).and_then(|()| self.finish_epoch());
            match ended {
                Ok(()) | Err(Interruption::Stopped) => self.save()?,
                Err(Interruption::Failed(_)) => {}
            }
            ended?;
        }
        Ok(())
    }

    /// Makes the steps that are left of the current epoch.
    fn train_epoch(&mut self, lengths: &[usize]) -> Result<(), Interruption> {
        let recipe = self.recipe;
        let spec = &recipe.train;
        let epoch = self.state.progress.epoch as u64;
        // Examples are assigned to whole steps, so that `batch_size` alone does not change them.
        let plan = training_batches(lengths, spec.examples_per_step(), recipe.seed, epoch);
        let left = &plan[self.state.progress.step_in_epoch.min(plan.len())..];
        let examples = |batch: &[usize]| batch.iter().map(|&i| self.splits.train[i]).collect();
        let mut loader = Loader::new(
            Arc::clone(&self.splits.dataset),
            Arc::clone(&self.collator),
            left.iter().flat_map(|step| step.chunks(spec.batch_size)).map(examples).collect(),
            epoch,
        );
        for examples in left {
            let began = Instant::now();
            let lr = learning_rate(spec, self.state.progress.step, self.steps);
            let result = train_step(
                &*self.loaded.model,
                &mut self.loaded.params,
                &mut self.state.optimizer,
                loader.by_ref().take(examples.len().div_ceil(spec.batch_size)),
                StepOptions { spec, seed: recipe.seed, lr },
            )?;
            self.record_step(&result, lr, began)?;
            interrupt_if(&self.options.stop)?;
            let progress = &self.state.progress;
            let due = spec.checkpoint_every_steps > 0
                && progress.step.is_multiple_of(spec.checkpoint_every_steps);
            // After an epoch's last step, the checkpoint is saved after the evaluation.
            if due && progress.step_in_epoch < plan.len() {
                self.save()?;
            }
        }
        Ok(())
    }

    /// Counts a step that began at `began`, checks it for silent failures and reports it.
    fn record_step(&mut self, result: &StepResult, lr: f32, began: Instant) -> Result<()> {
        let seconds = self.seconds();
        let progress = &mut self.state.progress;
        progress.step += 1;
        progress.step_in_epoch += 1;
        progress.alarm.observe(&self.loaded.params, result, (progress.step, self.steps))?;
        let warning = progress.divergence.observe_step(result.loss, lr);
        self.log.emit(Event::StepDone {
            step: progress.step,
            total: self.steps,
            epoch: progress.epoch + 1,
            loss: result.loss,
            lr,
            grad_norm: result.grad_norm,
            examples_per_second: result.examples as f64 / began.elapsed().as_secs_f64(),
            seconds,
        })?;
        warning.map_or(Ok(()), |message| self.log.emit(Event::Warning { message }))
    }

    /// Writes a checkpoint.
    fn save(&mut self) -> Result<()> {
        let seconds = self.seconds();
        let (log_length, tensorboard_length) = self.log.sync()?;
        let progress = &mut self.state.progress;
        progress.log_length = log_length;
        progress.tensorboard_length = tensorboard_length;
        progress.seconds = seconds;
        let (step, path) = (progress.step, self.directory.checkpoint());
        self.state.save(&self.loaded.params, &path)?;
        self.log.emit(Event::Saved { step, path })
    }
}
