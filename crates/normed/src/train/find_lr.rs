//! Which learning rate to take: a sweep over rates (Smith 2015, arXiv 1506.01186, section 3.3).
//!
//! The rate rises exponentially, a step at each, on training batches in the order of a run's first
//! epochs. What counts is not a batch's loss but how far it lies from the untouched base's on the same
//! examples under the same dropout: so the difference between batches, larger than what a step does,
//! drops out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use super::adamw::AdamW;
use super::run::inside_memory;
use super::splits::Splits;
use super::step::{StepOptions, noise, step};
use super::{Event, Subject, fisher, groups};
use crate::data::{Batch, Collator, Loader, PreparedExample, training_batches};
use crate::models::{LoadedModel, Model};
use crate::nn::Mode;
use crate::ops;
use crate::plot::{Chart, Line};
use crate::recipe::{Recipe, TrainSpec};
use crate::tensor::{Graph, Parameters};
use crate::{Error, Result};

/// The first rate and the last.
const RATES: (f64, f64) = (1e-6, 1.0);

/// Steps for each power of ten.
const PER_DECADE: usize = 10;

/// Steps on either side that a smoothed value is a mean of, with weights that fall in a straight line.
const REACH: usize = 3;

/// A loss that lies so many times as far above the base's as the best lies below it ends the sweep.
const FAR: f64 = 2.0;

/// How far below the rate of the lowest loss the suggestion lies: a run makes many more steps at its rate
/// than the sweep did.
const MARGIN: f64 = 3.0;

/// A step of a sweep.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SweptStep {
    /// The rate it was made at.
    pub lr: f32,
    /// Before it, on its batch: nats a token, label smoothing included.
    pub loss: f64,
    /// How far that lies above the base's on the same batch.
    pub change: f64,
    /// The mean of `change` over the steps around.
    pub smoothed: f64,
}

/// What a sweep found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RateSweep {
    /// From the smallest rate up; the last are missing where the loss went through the roof before.
    pub steps: Vec<SweptStep>,
    /// A rate to begin with: a third of that at which the loss was lowest. None if it never fell.
    pub suggestion: Option<f32>,
}

impl RateSweep {
    fn of(mut steps: Vec<SweptStep>) -> Self {
        let changes: Vec<_> = steps.iter().map(|step| step.change).collect();
        for (i, step) in steps.iter_mut().enumerate() {
            step.smoothed = smoothed(&changes, i);
        }
        let lowest = steps.iter().min_by(|a, b| a.smoothed.total_cmp(&b.smoothed));
        let fell = lowest.filter(|step| step.smoothed < 0.0);
        let suggestion = fell.map(|step| rounded(f64::from(step.lr) / MARGIN));
        Self { steps, suggestion }
    }

    /// Draws the loss over the rates; as an SVG's text.
    pub fn to_svg(&self) -> Result<String> {
        let line = |of: fn(&SweptStep) -> f64| -> Vec<(f64, f64)> {
            self.steps.iter().map(|step| (f64::from(step.lr), of(step))).collect()
        };
        let (changes, smoothed) = (line(|step| step.change), line(|step| step.smoothed));
        Chart {
            x: "learning rate",
            y: "loss above the base's, nats a token",
            logarithmic: true,
            from_zero: false,
            lines: vec![
                Line { name: "each step's batch", points: &changes, strong: false },
                Line { name: "smoothed", points: &smoothed, strong: true },
            ],
            mark: self.suggestion.map(|lr| (f64::from(lr), format!("suggestion {lr:e}"))),
        }
        .to_svg()
        .map_err(|e| Error::failed("the sweep's picture", format!("cannot be drawn: {e}")))
    }
}

/// The mean of `values` around `i`, weighted by nearness.
fn smoothed(values: &[f64], i: usize) -> f64 {
    let around = i.saturating_sub(REACH)..(i + REACH + 1).min(values.len());
    let weight = |j: usize| (REACH + 1 - i.abs_diff(j)) as f64;
    let sum: f64 = around.clone().map(|j| weight(j) * values[j]).sum();
    sum / around.map(weight).sum::<f64>()
}

/// To one significant digit.
fn rounded(lr: f64) -> f32 {
    let unit = 10f64.powf(lr.log10().floor());
    (((lr / unit).round() * unit) as f32).max(f32::MIN_POSITIVE)
}

/// Sweeps `train.lr` for what `recipe` trains, rates of groups in proportion with it; nothing is
/// written, and no run directory is looked at. None if it was asked to stop.
pub fn find_lr(
    recipe: &Recipe,
    stop: &AtomicBool,
    on_event: &mut dyn FnMut(&Event),
) -> Result<Option<RateSweep>> {
    let (recipe, planned) = &inside_memory(recipe, false)?;
    planned.iter().for_each(&mut *on_event);
    let opened = recipe.data.open()?;
    let splits = Splits::new(opened.dataset, &recipe.train, recipe.seed)?;
    let mut loaded = recipe.open_base()?;
    recipe.tuning.apply(&mut loaded.params)?;
    recipe.tuning.initialize(&mut loaded.params, recipe.seed);
    loaded.params.set_precision(recipe.precision);
    let candidates = recipe.tuning.candidates(&loaded.params);
    if !candidates.is_empty() {
        let ranking = fisher::rank(recipe, &loaded, &candidates, &splits, stop, on_event)?;
        let Some(ranking) = ranking else { return Ok(None) };
        ranking.apply(&candidates, &mut loaded.params)?;
    }
    if loaded.params.trained_element_count() == 0 {
        return Err(Error::invalid("tuning", "nothing is trained: there is no rate to find"));
    }
    groups::check(&loaded.params, &recipe.train)?;
    let swept = Sweep::new(recipe, &loaded, &splits)?;
    let LoadedModel { model, params, .. } = &mut loaded;
    swept.run(&**model, params, stop, on_event)
}

/// The batches of a sweep.
struct Sweep<'a> {
    recipe: &'a Recipe,
    splits: &'a Splits,
    collator: Arc<Collator>,
    /// The examples of each step, and the epoch that they are of.
    plan: Vec<(u64, Vec<usize>)>,
}

impl<'a> Sweep<'a> {
    fn new(recipe: &'a Recipe, loaded: &LoadedModel, splits: &'a Splits) -> Result<Self> {
        let spec = &recipe.train;
        let collator = Arc::new(recipe.collator(loaded));
        let length = |&i: &usize| collator.length(&splits.dataset.get(i)?);
        let lengths = splits.train.iter().map(length).collect::<Result<Vec<_>>>()?;
        let group = spec.batch_size * spec.grad_accum_steps;
        let plan = (0..).flat_map(|epoch| {
            let steps = training_batches(&lengths, group, recipe.seed, epoch);
            steps.into_iter().map(move |step| (epoch, step))
        });
        let examples = |step: Vec<usize>| step.into_iter().map(|i| splits.train[i]).collect();
        let plan = plan.take(rates().count()).map(|(epoch, step)| (epoch, examples(step)));
        Ok(Self { recipe, splits, collator: Arc::clone(&collator), plan: plan.collect() })
    }

    /// The micro-batches of step `i`.
    fn batches(&self, i: usize) -> Result<Vec<(Batch, Vec<PreparedExample>)>> {
        let (epoch, examples) = &self.plan[i];
        let micro = examples.chunks(self.recipe.train.batch_size).map(<[usize]>::to_vec).collect();
        let (dataset, collator) = (Arc::clone(&self.splits.dataset), Arc::clone(&self.collator));
        Loader::new(dataset, collator, micro, *epoch).collect()
    }

    /// All steps; what is trained is afterwards as it was before.
    fn run(
        &self,
        model: &dyn Model,
        params: &mut Parameters,
        stop: &AtomicBool,
        on_event: &mut dyn FnMut(&Event),
    ) -> Result<Option<RateSweep>> {
        let base: Vec<_> = params.trained().map(|(id, p)| (id, p.value().clone())).collect();
        let untouched = params.clone();
        let swept = self.sweep((model, &untouched), params, stop, on_event);
        for (id, value) in base {
            params.get_mut(id).set(value);
        }
        Ok(swept?.map(RateSweep::of))
    }

    fn sweep(
        &self,
        (model, untouched): (&dyn Model, &Parameters),
        params: &mut Parameters,
        stop: &AtomicBool,
        on_event: &mut dyn FnMut(&Event),
    ) -> Result<Option<Vec<SweptStep>>> {
        let (spec, seed) = (&self.recipe.train, self.recipe.seed);
        let mut optimizer = AdamW::new(params, spec);
        let mut steps: Vec<SweptStep> = Vec::new();
        for (i, lr) in rates().enumerate() {
            let batches = self.batches(i)?;
            let before = loss(model, untouched, &batches, (spec, seed))?;
            let batches = batches.into_iter().map(Ok);
            // It fails where a loss is no number: the end of a sweep, and no failure of it.
            let Ok(done) =
                step(model, params, &mut optimizer, batches, StepOptions { spec, seed, lr })
            else {
                break;
            };
            let change = done.loss - before;
            steps.push(SweptStep { lr, loss: done.loss, change, smoothed: change });
            on_event(&Event::Progress {
                of: Subject::Rates,
                done: i + 1,
                examples: self.plan.len(),
            });
            if stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let lowest = steps.iter().map(|step| step.change).fold(0.0, f64::min);
            if change > before.max(-FAR * lowest) {
                break;
            }
        }
        Ok(Some(steps))
    }
}

/// From the first to the last.
fn rates() -> impl Iterator<Item = f32> {
    let (first, last) = RATES;
    let n = ((last / first).log10().round() as usize) * PER_DECADE;
    (0..=n).map(move |i| (first * (last / first).powf(i as f64 / n as f64)) as f32)
}

/// The loss of a step's batches, nats a token, as training has it.
fn loss(
    model: &dyn Model,
    params: &Parameters,
    batches: &[(Batch, Vec<PreparedExample>)],
    (spec, seed): (&TrainSpec, u64),
) -> Result<f64> {
    let (mut sum, mut targets) = (0.0, 0);
    for (batch, _) in batches {
        let mut g = Graph::inference(params);
        let logits = model.forward(&mut g, batch, Mode::Train(noise(spec, seed)))?;
        sum += ops::cross_entropy(&mut g, logits, &batch.labels, spec.label_smoothing).sum;
        targets += batch.target_count;
    }
    Ok(sum / targets.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sweep(change: impl Fn(f64) -> f64) -> RateSweep {
        let step = |lr: f32| {
            let change = change(f64::from(lr).log10());
            SweptStep { lr, loss: 2.0 + change, change, smoothed: 0.0 }
        };
        RateSweep::of(rates().map(step).collect())
    }

    #[test]
    fn rates_rise_tenfold_in_ten_steps() {
        let rates: Vec<_> = rates().collect();
        assert_eq!((rates.len(), rates[0], rates[60]), (61, 1e-6, 1.0));
        assert!((rates[30] - 1e-3).abs() < 1e-9);
    }

    #[test]
    fn the_suggestion_lies_below_the_lowest_loss() {
        // Lowest at 10^-1.5.
        let found = sweep(|x| (x + 1.5).powi(2) - 1.0);
        assert_eq!(found.suggestion, Some(0.01));
        let svg = found.to_svg().unwrap();
        assert!(svg.contains("suggestion 1e-2"), "{svg}");
        assert_eq!(sweep(|x| (x + 7.0).powi(2)).suggestion, None, "it never fell");
        // One lucky batch is not the lowest.
        let lucky = sweep(|x| if (x + 5.0).abs() < 0.05 { -1.5 } else { (x + 1.5).powi(2) - 1.0 });
        assert_eq!(lucky.suggestion, Some(0.01));
    }
}
