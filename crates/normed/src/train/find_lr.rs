//! The learning-rate finder (Smith 2015, arXiv 1506.01186, section 3.3).
//!
//! The learning rate rises exponentially, with one step at each rate, on training batches in the order
//! of a run's first epochs. Rates are compared by the difference between the loss of a step's batch and
//! the untouched base model's loss on the same batch, under the same dropout. Losses differ more between
//! batches than a step changes them; the difference cancels that.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde::Serialize;

use super::adamw::AdamW;
use super::completion::{Completion, Interruption, interrupt_if};
use super::event::{Event, Subject};
use super::finite::check_loss;
use super::fisher::rank_norms;
use super::fit_data::fit_data;
use super::param_groups::check_group_lrs;
use super::prepare::{open_tuned_base, resolve_for_memory};
use super::splits::Splits;
use super::step::{StepOptions, noise, train_step};
use crate::data::{Batch, Collator, Loader, PreparedExample, training_batches};
use crate::models::{LoadedModel, Model};
use crate::nn::Mode;
use crate::plot::{Line, LineChart, LineStyle};
use crate::recipe::Recipe;
use crate::tensor::{DropoutSeeds, Graph, Parameters};
use crate::{Error, ErrorKind, Result};

/// The first and the last learning rate.
const RATES: (f64, f64) = (1e-6, 1.0);

/// Steps for each power of ten.
const STEPS_PER_DECADE: usize = 10;

/// A smoothed value is a mean over this many steps to either side, with linearly falling weights.
const SMOOTHING_RADIUS: usize = 3;

/// The sweep ends when the loss rises above the base's by this multiple of the largest decrease so far.
const DIVERGENCE_FACTOR: f64 = 2.0;

/// The suggestion is the rate of the lowest loss divided by this: a run makes many more steps at its
/// rate than the sweep did.
const SAFETY_FACTOR: f64 = 3.0;

/// One step of a learning-rate sweep.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SweepStep {
    /// Learning rate of the step.
    pub lr: f32,
    /// Loss of the step's batch before the step, in nats per token, with label smoothing.
    pub loss: f64,
    /// `loss` minus the untouched base model's loss on the same batch.
    pub change: f64,
    /// `change`, averaged over the neighboring steps.
    pub smoothed: f64,
}

/// The result of a learning-rate sweep.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LrSweep {
    /// The steps, from the smallest rate up. The largest rates are missing if the loss diverged before.
    pub steps: Vec<SweepStep>,
    /// The suggested learning rate: a third of the rate at which the loss was lowest. None if the loss
    /// never fell.
    pub suggestion: Option<f32>,
}

impl LrSweep {
    fn from_steps(mut steps: Vec<SweepStep>) -> Self {
        let changes: Vec<_> = steps.iter().map(|step| step.change).collect();
        for (i, step) in steps.iter_mut().enumerate() {
            step.smoothed = smooth(&changes, i);
        }
        let lowest = steps.iter().min_by(|a, b| a.smoothed.total_cmp(&b.smoothed));
        let lowest = lowest.filter(|step| step.smoothed < 0.0);
        let suggestion = lowest.map(|step| round_lr(f64::from(step.lr) / SAFETY_FACTOR));
        Self { steps, suggestion }
    }

    /// Plots the loss against the learning rate, as SVG text.
    ///
    /// # Errors
    ///
    /// If the plot cannot be drawn.
    pub fn to_svg(&self) -> Result<String> {
        let line = |value: fn(&SweepStep) -> f64| -> Vec<(f64, f64)> {
            self.steps.iter().map(|step| (f64::from(step.lr), value(step))).collect()
        };
        let (changes, smoothed) = (line(|step| step.change), line(|step| step.smoothed));
        LineChart {
            x_label: "learning rate",
            y_label: "loss minus the base model's loss, nats per token",
            log_x: true,
            from_zero: false,
            lines: vec![
                Line {
                    name: "each step's batch",
                    points: &changes,
                    color: 0,
                    style: LineStyle::Thin,
                },
                Line { name: "smoothed", points: &smoothed, color: 1, style: LineStyle::Marked },
            ],
            vertical_line: self.suggestion.map(|lr| (f64::from(lr), format!("suggestion {lr:e}"))),
        }
        .to_svg()
        .map_err(|e| Error::failed("the plot of the learning-rate sweep", e))
    }
}

/// The mean of `values` around `i`, weighted by nearness.
fn smooth(values: &[f64], i: usize) -> f64 {
    let around = i.saturating_sub(SMOOTHING_RADIUS)..(i + SMOOTHING_RADIUS + 1).min(values.len());
    let weight = |j: usize| (SMOOTHING_RADIUS + 1 - i.abs_diff(j)) as f64;
    let sum: f64 = around.clone().map(|j| weight(j) * values[j]).sum();
    sum / around.map(weight).sum::<f64>()
}

/// Rounds to one significant digit.
fn round_lr(lr: f64) -> f32 {
    let unit = 10f64.powf(lr.log10().floor());
    (((lr / unit).round() * unit) as f32).max(f32::MIN_POSITIVE)
}

/// Suggests a learning rate for the parameters that `recipe` trains, by one step at each of 61 rising
/// rates. Parameter groups with their own rate keep its ratio to `train.lr`.
///
/// Nothing is written, and no run directory is needed. The sweep stops when `stop` is set.
///
/// # Errors
///
/// If the model or the data cannot be read, if the recipe does not fit them or trains nothing, or if the
/// untouched base model's loss is not finite. A loss that diverges at a large rate is no error: it ends
/// the sweep.
pub fn find_lr(
    recipe: &Recipe,
    stop: &AtomicBool,
    on_event: &mut dyn FnMut(&Event),
) -> Result<Completion<LrSweep>> {
    Completion::of(sweep_recipe(recipe, stop, on_event))
}

fn sweep_recipe(
    recipe: &Recipe,
    stop: &AtomicBool,
    on_event: &mut dyn FnMut(&Event),
) -> Result<LrSweep, Interruption> {
    let (recipe, planned) = &resolve_for_memory(recipe, false)?;
    planned.iter().for_each(&mut *on_event);
    let opened = recipe.data.open()?;
    let (mut loaded, _) = open_tuned_base(recipe)?;
    let opened = fit_data(recipe, opened, &loaded.collator())?;
    let splits = Splits::new(opened.dataset, &recipe.train, recipe.seed)?;
    let candidates = recipe.tuning.norm_candidates(&loaded.params);
    if !candidates.is_empty() {
        let ranking = rank_norms(recipe, &loaded, &candidates, &splits, stop, on_event)?;
        ranking.apply(&candidates, &mut loaded.params)?;
    }
    if loaded.params.trained_element_count() == 0 {
        let cause = "nothing is trained, so there is no learning rate to find";
        return Err(Error::invalid("tuning", cause).into());
    }
    check_group_lrs(&loaded.params, &recipe.train)?;
    let batches = SweepBatches::new(recipe, &loaded, &splits)?;
    let LoadedModel { model, params, .. } = &mut loaded;
    let options = StepOptions { spec: &recipe.train, seed: recipe.seed, lr: 0.0 };
    let total = batches.plan.len();
    let steps = sweep(&**model, params, options, |i| batches.load(i), &mut |done| {
        on_event(&Event::Progress { subject: Subject::LearningRates, done, total });
        interrupt_if(stop)
    })?;
    Ok(LrSweep::from_steps(steps))
}

/// The batches of a sweep.
struct SweepBatches<'a> {
    recipe: &'a Recipe,
    splits: &'a Splits,
    collator: Arc<Collator>,
    /// The epoch and the examples of each step.
    plan: Vec<(u64, Vec<usize>)>,
}

impl<'a> SweepBatches<'a> {
    fn new(recipe: &'a Recipe, loaded: &LoadedModel, splits: &'a Splits) -> Result<Self> {
        let collator = Arc::new(recipe.training_collator(loaded));
        let length = |&i: &usize| collator.length(&splits.dataset.get(i)?);
        let lengths = splits.train.iter().map(length).collect::<Result<Vec<_>>>()?;
        let plan = (0..).flat_map(|epoch| {
            let steps =
                training_batches(&lengths, recipe.train.examples_per_step(), recipe.seed, epoch);
            steps.into_iter().map(move |step| (epoch, step))
        });
        let examples = |step: Vec<usize>| step.into_iter().map(|i| splits.train[i]).collect();
        let plan = plan.take(rates().count()).map(|(epoch, step)| (epoch, examples(step)));
        Ok(Self { recipe, splits, collator: Arc::clone(&collator), plan: plan.collect() })
    }

    /// Loads the micro-batches of step `i`.
    fn load(&self, i: usize) -> Loader {
        let (epoch, examples) = &self.plan[i];
        let micro = examples.chunks(self.recipe.train.batch_size).map(<[usize]>::to_vec).collect();
        let (dataset, collator) = (Arc::clone(&self.splits.dataset), Arc::clone(&self.collator));
        Loader::new(dataset, collator, micro, *epoch)
    }
}

/// Makes one step at each rate, on the micro-batches that `load` returns for its number, until the loss
/// diverges. `after_step` is called with the number of steps so far. `options.lr` is ignored.
///
/// Micro-batches are loaded twice, for the base model and for the step, so that no more of them are in
/// memory than in a run.
fn sweep<I: Iterator<Item = Result<(Batch, Vec<PreparedExample>)>>>(
    model: &dyn Model,
    params: &mut Parameters,
    options: StepOptions<'_>,
    load: impl Fn(usize) -> I,
    after_step: &mut dyn FnMut(usize) -> Result<(), Interruption>,
) -> Result<Vec<SweepStep>, Interruption> {
    let untouched = params.clone();
    let mut optimizer = AdamW::new(params, options.spec);
    let mut steps: Vec<SweepStep> = Vec::new();
    for (i, lr) in rates().enumerate() {
        let before = mean_loss(model, &untouched, load(i), options)?;
        let result =
            match train_step(model, params, &mut optimizer, load(i), StepOptions { lr, ..options })
            {
                // A loss or a gradient that is not finite ends the sweep: the rates became too large.
                Err(error) if error.kind() == ErrorKind::Diverged => break,
                result => result?,
            };
        let change = result.loss - before;
        steps.push(SweepStep { lr, loss: result.loss, change, smoothed: change });
        after_step(i + 1)?;
        let lowest = steps.iter().map(|step| step.change).fold(0.0, f64::min);
        if change > before.max(-DIVERGENCE_FACTOR * lowest) {
            break;
        }
    }
    Ok(steps)
}

/// The learning rates, from the first to the last.
fn rates() -> impl Iterator<Item = f32> {
    let (first, last) = RATES;
    let n = ((last / first).log10().round() as usize) * STEPS_PER_DECADE;
    (0..=n).map(move |i| (first * (last / first).powf(i as f64 / n as f64)) as f32)
}

/// The mean loss of a step's batches, in nats per token, with the dropout and the label smoothing of
/// training.
fn mean_loss(
    model: &dyn Model,
    params: &Parameters,
    batches: impl Iterator<Item = Result<(Batch, Vec<PreparedExample>)>>,
    StepOptions { spec, seed, .. }: StepOptions<'_>,
) -> Result<f64> {
    let (mut sum, mut targets) = (0.0, 0);
    for item in batches {
        let (batch, prepared) = item?;
        let seeds = DropoutSeeds { seed, keys: batch.keys.as_slice().into() };
        let mut g = Graph::inference(params).with_dropout_seeds(seeds);
        let mode = Mode::Train(noise(spec, seed));
        let loss = model.loss(&mut g, &batch, mode, spec.label_smoothing)?;
        check_loss(&loss, &prepared)?;
        sum += loss.sum;
        targets += batch.target_count;
    }
    Ok(sum / targets.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::TrainSpec;
    use crate::train::test_model::{Fault, TestModel, batch};

    fn sweep_of(change: impl Fn(f64) -> f64) -> LrSweep {
        let step = |lr: f32| {
            let change = change(f64::from(lr).log10());
            SweepStep { lr, loss: 2.0 + change, change, smoothed: 0.0 }
        };
        LrSweep::from_steps(rates().map(step).collect())
    }

    #[test]
    fn rates_rise_tenfold_in_ten_steps() {
        let rates: Vec<_> = rates().collect();
        assert_eq!((rates.len(), rates[0], rates[60]), (61, 1e-6, 1.0));
        assert!((rates[30] - 1e-3).abs() < 1e-9);
    }

    #[test]
    fn the_suggestion_is_below_the_rate_of_the_lowest_loss() {
        // The loss is lowest at 10^-1.5.
        let found = sweep_of(|x| (x + 1.5).powi(2) - 1.0);
        assert_eq!(found.suggestion, Some(0.01));
        let svg = found.to_svg().unwrap();
        assert!(svg.contains("suggestion 1e-2"), "{svg}");
        assert_eq!(sweep_of(|x| (x + 7.0).powi(2)).suggestion, None, "the loss never fell");
        // One batch with a low loss by chance does not count.
        let lucky =
            sweep_of(|x| if (x + 5.0).abs() < 0.05 { -1.5 } else { (x + 1.5).powi(2) - 1.0 });
        assert_eq!(lucky.suggestion, Some(0.01));
    }

    /// Sweeps the test model, a call of which goes wrong. Steps have two micro-batches: two calls of the
    /// base and two of the step.
    fn sweep_model(fault: Option<(usize, Fault)>) -> Result<Vec<SweepStep>, Interruption> {
        let (mut model, mut params) = TestModel::new();
        if let Some((call, fault)) = fault {
            model = model.with_fault(call, fault);
        }
        let spec = TrainSpec::default();
        let options = StepOptions { spec: &spec, seed: 3, lr: 0.0 };
        let load = |i| [batch(&[i, i + 1]), batch(&[i + 2])].into_iter().map(Ok);
        sweep(&model, &mut params, options, load, &mut |_| Ok(()))
    }

    #[test]
    fn a_step_that_fails_is_an_error_and_not_the_end_of_the_sweep() {
        let steps = sweep_model(None).unwrap();
        assert!(steps.len() > 30 && steps[0].change.abs() < 1e-6, "{steps:?}");
        for call in [0, 3, 4 * 20 + 2] {
            let failed = sweep_model(Some((call, Fault::Error)));
            let Err(Interruption::Failed(error)) = failed else { panic!("{failed:?}") };
            assert_eq!(error.place(), "test model");
        }
    }

    #[test]
    fn a_loss_that_is_not_finite_ends_the_sweep_unless_it_is_the_base_models() {
        let steps = sweep_model(Some((4 * 20 + 2, Fault::NotFinite))).unwrap();
        assert_eq!(steps.len(), 20);
        let failed = sweep_model(Some((4 * 20, Fault::NotFinite)));
        let Err(Interruption::Failed(error)) = failed else { panic!("{failed:?}") };
        assert_eq!(error.kind(), ErrorKind::Diverged);
    }
}
