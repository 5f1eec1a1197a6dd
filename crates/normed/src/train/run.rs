//! A run from recipe to run directory.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::adamw::AdamW;
use super::checkpoint::State;
use super::directory::RunDirectory;
use super::fisher::narrow;
use super::log::Log;
use super::plan::plan;
use super::schedule::learning_rate;
use super::splits::Splits;
use super::step::{StepOptions, step};
use super::{Event, Outcome, groups};
use crate::Result;
use crate::data::{Collator, Loader, training_batches};
use crate::models::LoadedModel;
use crate::recipe::{Base, Recipe, TrainSpec};
use crate::tuning::Tuned;
use crate::weights::check_adapter;

/// What a run depends on beside its recipe: nothing here changes what it computes.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// Go on from where a run of the same recipe was stopped or killed; start afresh if nothing is
    /// there yet. A run that is over is not run again.
    pub resume: bool,
    /// Evaluate the test split: with the base before training, with the best checkpoint after, and
    /// with the best checkpoint and shuffled images. Training itself never looks at it.
    pub test: bool,
    /// Set it (by Ctrl-C, say) to make the run finish its step, save, and return.
    pub stop: Arc<AtomicBool>,
}

/// Trains what `recipe` says and fills its run directory: recipe.toml as resolved, events.jsonl, a
/// TensorBoard event file, metrics.json, loss.svg, predictions.jsonl of the test split, adapter/
/// (or model/ where the recipe makes a base model), and checkpoint/ while it is not over.
///
/// None if it was stopped before its end.
pub fn run(
    recipe: &Recipe,
    options: &RunOptions,
    on_event: &mut dyn FnMut(&Event),
) -> Result<Option<Outcome>> {
    let (recipe, planned) = &inside_memory(recipe, options.resume)?;
    let directory = RunDirectory::open(recipe, options.resume)?;
    if let Some(planned) = planned {
        on_event(planned);
    }
    if let Some(outcome) = directory.outcome()? {
        on_event(&Event::Finished { outcome: Box::new(outcome.clone()) });
        return Ok(Some(outcome));
    }
    let output = recipe.output.clone();
    let Some(mut run) = Run::open(recipe, options, directory, &mut *on_event)? else {
        on_event(&Event::Stopped { step: 0, of: 0, output });
        return Ok(None);
    };
    let outcome = match run.cache_prefix()? && run.test_before()? && run.train()? {
        true => run.finish()?,
        false => None,
    };
    if outcome.is_none() {
        let (step, of, output) = (run.state.progress.step, run.steps, run.directory.path());
        run.log.emit(Event::Stopped { step, of, output: output.to_owned() })?;
    }
    Ok(outcome)
}

/// The recipe with its steps as its memory allows, and what to tell of that. A run that goes on makes
/// them as it began to.
pub(super) fn inside_memory(recipe: &Recipe, resume: bool) -> Result<(Recipe, Option<Event>)> {
    let Some(memory) = recipe.memory else { return Ok((recipe.clone(), None)) };
    let mut resolved = recipe.clone();
    (resolved.memory, resolved.planned_for) = (None, Some(memory));
    let train = &mut resolved.train;
    let examples = |train: &TrainSpec| train.batch_size * train.grad_accum_steps;
    if resume
        && let Some(began) = RunDirectory::recipe(&recipe.output)?
        && began.planned_for == Some(memory)
        && examples(&began.train) == examples(train)
    {
        train.batch_size = began.train.batch_size;
        train.grad_accum_steps = began.train.grad_accum_steps;
        train.recompute = began.train.recompute;
        return Ok((resolved, None));
    }
    let way = Box::new(*plan(recipe)?.choice(recipe)?);
    train.batch_size = way.choice.batch_size;
    train.grad_accum_steps = way.choice.grad_accum_steps;
    train.recompute = way.choice.recompute;
    Ok((resolved, Some(Event::Planned { memory, way })))
}

/// How many reports lose their ends; none if none does.
fn truncated(recipe: &Recipe, splits: &Splits, collator: &Collator) -> Result<Option<Event>> {
    if recipe.data.task.is_vqa() {
        return Ok(None);
    }
    let (mut reports, mut of) = (0, 0);
    for &i in splits.train.iter().chain(&splits.validate).chain(&splits.test) {
        reports += usize::from(collator.tokenize(&splits.dataset.get(i)?)?.cut > 0);
        of += 1;
    }
    let tokens = recipe.generate.max_new_tokens;
    Ok((reports > 0).then_some(Event::Truncated { reports, of, tokens }))
}

/// A run under way.
pub(super) struct Run<'a> {
    pub recipe: &'a Recipe,
    pub options: &'a RunOptions,
    pub directory: RunDirectory,
    pub log: Log<'a>,
    pub loaded: LoadedModel,
    pub collator: Arc<Collator>,
    /// For evaluations, in which nothing is random.
    pub evaluation_collator: Arc<Collator>,
    pub splits: Splits,
    pub state: State,
    /// Passes over the training examples; none where nothing is trained.
    pub epochs: usize,
    /// Optimizer steps in all, unless patience ends first.
    pub steps: usize,
    began: Instant,
    /// Seconds that earlier processes spent on it.
    earlier: f64,
}

impl<'a> Run<'a> {
    /// Opens everything, and goes back to the checkpoint if there is one. None if the run was asked to
    /// stop before it was known what it trains.
    fn open(
        recipe: &'a Recipe,
        options: &'a RunOptions,
        directory: RunDirectory,
        on_event: &'a mut dyn FnMut(&Event),
    ) -> Result<Option<Self>> {
        let began = Instant::now();
        let opened = recipe.data.open()?;
        let splits = Splits::new(opened.dataset, &recipe.train, recipe.seed)?;
        let mut loaded = recipe.open_base()?;
        let Tuned { total, inert, .. } = recipe.tuning.apply(&mut loaded.params)?;
        recipe.tuning.initialize(&mut loaded.params, recipe.seed);
        if let Base::Model(_) = recipe.base {
            check_adapter(&loaded.params)?;
        }
        loaded.params.set_precision(recipe.precision);
        let fingerprint = format!("{} {}", loaded.content_hash, splits.fingerprint);
        let known = (&splits, fingerprint.as_str());
        let stop = &options.stop;
        let Some(ranked) = narrow(recipe, &mut loaded, known, &directory, stop, on_event)? else {
            return Ok(None);
        };
        groups::check(&loaded.params, &recipe.train)?;
        let trained = loaded.params.trained_element_count();
        let optimizer = AdamW::new(&loaded.params, &recipe.train);
        let mut state = State::new(&loaded.params, optimizer, fingerprint);
        let checkpoint = directory.checkpoint();
        let resumes = checkpoint.exists();
        if resumes {
            state.restore(&mut loaded.params, &checkpoint)?;
        }
        let group = recipe.train.batch_size * recipe.train.grad_accum_steps;
        let epochs = if trained > 0 { recipe.train.epochs } else { 0 };
        let steps = epochs * splits.train.len().div_ceil(group);
        let lengths = (state.progress.log_length, state.progress.tensorboard_length);
        let mut log = Log::open(directory.path(), lengths, on_event)?;
        log.emit(Event::Started {
            output: directory.path().to_owned(),
            resumed_at: resumes.then_some(state.progress.step),
            train: splits.train.len(),
            validate: splits.validate.len(),
            test: splits.test.len(),
            steps,
            epochs,
        })?;
        if !opened.skipped.is_empty() {
            log.emit(Event::Skipped { rows: opened.skipped })?;
        }
        let overlap = if options.test { splits.overlap()? } else { None };
        let overlap = overlap.and_then(|overlap| overlap.warning());
        for message in opened.warnings.into_iter().chain(splits.warning()).chain(overlap) {
            log.emit(Event::Warning { message })?;
        }
        if let Some(event) = ranked {
            log.emit(event)?;
        }
        log.emit(Event::Tuned { trained, total, inert })?;
        let collator = Arc::new(recipe.collator(&loaded));
        if let Some(event) = truncated(recipe, &splits, &collator)? {
            log.emit(event)?;
        }
        directory.make_checkpoint_directory()?;
        let earlier = state.progress.seconds;
        Ok(Some(Self {
            recipe,
            options,
            directory,
            log,
            loaded,
            evaluation_collator: Arc::clone(&collator),
            collator,
            splits,
            state,
            epochs,
            steps,
            began,
            earlier,
        }))
    }

    /// Seconds spent on the run, by this and all earlier processes.
    pub fn seconds(&self) -> f64 {
        self.earlier + self.began.elapsed().as_secs_f64()
    }

    pub fn asked_to_stop(&self) -> bool {
        self.options.stop.load(Ordering::Relaxed)
    }

    /// All epochs that are left. False if the run was asked to stop; it can go on from there.
    fn train(&mut self) -> Result<bool> {
        let example = |&i: &usize| self.collator.length(&self.splits.dataset.get(i)?);
        let lengths = self.splits.train.iter().map(example).collect::<Result<Vec<_>>>()?;
        while self.state.progress.epoch < self.epochs && !self.state.progress.stopped_early {
            let done = self.epoch(&lengths)? && self.judge()?;
            self.save()?;
            if !done {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The steps of the epoch under way that are left. False if the run was asked to stop.
    fn epoch(&mut self, lengths: &[usize]) -> Result<bool> {
        let recipe = self.recipe;
        let spec = &recipe.train;
        let epoch = self.state.progress.epoch;
        // The plan is of whole steps, so that the micro-batch size does not enter it.
        let group = spec.batch_size * spec.grad_accum_steps;
        let plan = training_batches(lengths, group, recipe.seed, epoch as u64);
        let left = &plan[self.state.progress.step_in_epoch.min(plan.len())..];
        let examples = |batch: &[usize]| batch.iter().map(|&i| self.splits.train[i]).collect();
        let mut loader = Loader::new(
            Arc::clone(&self.splits.dataset),
            Arc::clone(&self.collator),
            left.iter().flat_map(|step| step.chunks(spec.batch_size)).map(examples).collect(),
            epoch as u64,
        );
        for examples in left {
            let began = Instant::now();
            let lr = learning_rate(spec, self.state.progress.step, self.steps);
            let done = step(
                &*self.loaded.model,
                &mut self.loaded.params,
                &mut self.state.optimizer,
                loader.by_ref().take(examples.len().div_ceil(spec.batch_size)),
                StepOptions { spec, seed: recipe.seed, lr },
            )?;
            let progress = &mut self.state.progress;
            progress.step += 1;
            progress.step_in_epoch += 1;
            let (step, over) = (progress.step, progress.step_in_epoch == plan.len());
            progress.alarm.observe(&self.loaded.params, &done, (step, self.steps))?;
            let seconds = self.seconds();
            self.log.emit(Event::StepDone {
                step,
                of: self.steps,
                epoch: epoch + 1,
                loss: done.loss,
                lr,
                grad_norm: done.grad_norm,
                examples_per_second: done.examples as f64 / began.elapsed().as_secs_f64(),
                seconds,
            })?;
            if self.asked_to_stop() {
                return Ok(false);
            }
            // An epoch's last step has its checkpoint after the evaluation.
            if !over && spec.checkpoint_every_steps > 0 && step % spec.checkpoint_every_steps == 0 {
                self.save()?;
            }
        }
        Ok(true)
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
