//! The learning-rate finder (Smith 2015, arXiv 1506.01186, section 3.3).
//!
//! The learning rate rises exponentially, with one step at each rate. After each step the loss of the probe
//! is computed: training examples that the sweep does not train on. It is the same at all rates, so that the
//! curve shows the rates and not the batches. Several seeds choose other probes and other batches.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::adamw::AdamW;
use super::completion::{Completion, Interruption, interrupt_if};
use super::event::{Event, Subject};
use super::finite::check_loss;
use super::fisher::rank_norms;
use super::fit_data::fit_data;
use super::lr_sweep::{LrSweep, SeedSweep};
use super::param_groups::check_group_lrs;
use super::prepare::{open_tuned_base, resolve_for_memory};
use super::splits::Splits;
use super::step::{StepOptions, train_step};
use crate::data::{Batch, Collator, Loader, PreparedExample, training_batches};
use crate::models::{LoadedModel, Model};
use crate::nn::Mode;
use crate::recipe::{Recipe, TrainSpec};
use crate::tensor::{Graph, Parameters};
use crate::{Error, ErrorKind, Result};

/// The first and the last learning rate, as multiples of the tuning methods' default.
const RATES: (f64, f64) = (1.0 / 30.0, 300.0);

/// Steps for each power of ten.
const STEPS_PER_DECADE: usize = 10;

/// The number of sweeps, each with a probe, batches and dropout of its own.
const SEEDS: u64 = 3;

/// The examples of a probe: twice those of a step, but at least this many.
const PROBE_EXAMPLES: usize = 32;

/// Suggests a learning rate for the parameters that `recipe` trains, by one step at each of 41 rising
/// rates, with three seeds. Parameter groups with their own rate keep its ratio to `train.lr`.
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
    let default_lr = recipe.tuning.default_lr();
    let rates = rates(default_lr);
    let untouched = loaded.params.clone();
    let total = rates.len() * SEEDS as usize;
    let mut seeds = Vec::new();
    for seed in (0..SEEDS).map(|i| recipe.seed.wrapping_add(i)) {
        loaded.params = untouched.clone();
        let batches = SweepBatches::new(recipe, (seed, rates.len()), &loaded, &splits);
        let before = rates.len() * seeds.len();
        let LoadedModel { model, params, .. } = &mut loaded;
        let options = StepOptions { spec: &recipe.train, seed, lr: 0.0 };
        let load = |part| batches.load(part);
        // Rates beyond another seed's rise are excluded already.
        let reached = seeds.iter().map(|seed: &SeedSweep| seed.changes.len()).min();
        let rates = &rates[..reached.unwrap_or(rates.len())];
        seeds.push(sweep(&**model, params, options, rates, load, &mut |done| {
            let done = before + done;
            on_event(&Event::Progress { subject: Subject::LearningRates, done, total });
            interrupt_if(stop)
        })?);
    }
    Ok(LrSweep::from_seeds(&rates, &seeds, default_lr))
}

/// Examples of a sweep.
#[derive(Debug, Clone, Copy)]
enum Part {
    /// Those that every rate is judged by.
    Probe,
    /// Those of the step with this number.
    Step(usize),
}

/// The batches of one seed's sweep.
struct SweepBatches<'a> {
    recipe: &'a Recipe,
    splits: &'a Splits,
    collator: Arc<Collator>,
    probe: Vec<usize>,
    /// The epoch and the examples of each step.
    steps: Vec<(u64, Vec<usize>)>,
}

impl<'a> SweepBatches<'a> {
    fn new(
        recipe: &'a Recipe,
        (seed, step_count): (u64, usize),
        loaded: &LoadedModel,
        splits: &'a Splits,
    ) -> Self {
        let step_size = recipe.train.examples_per_step();
        // Examples of equal length are not sorted: each batch is a sample of all kinds of answers.
        let batches = |n: usize, epoch| training_batches(&vec![0; n], step_size, seed, epoch);
        let shuffled: Vec<usize> =
            batches(splits.train.len(), 0).concat().into_iter().map(|i| splits.train[i]).collect();
        let n = (2 * step_size).max(PROBE_EXAMPLES).min(shuffled.len() / 4);
        let (probe, rest) = shuffled.split_at(n);
        // Of fewer than four examples, all are both.
        let probe = if probe.is_empty() { rest } else { probe };
        let steps = (1..).flat_map(|epoch| {
            batches(rest.len(), epoch).into_iter().map(move |step| (epoch, step))
        });
        let examples = |step: Vec<usize>| step.into_iter().map(|i| rest[i]).collect();
        let steps = steps.take(step_count).map(|(epoch, step)| (epoch, examples(step)));
        let collator = Arc::new(recipe.training_collator(loaded));
        Self { recipe, splits, collator, probe: probe.to_vec(), steps: steps.collect() }
    }

    /// Loads the micro-batches of `part`.
    fn load(&self, part: Part) -> Loader {
        let (epoch, examples) = match part {
            Part::Probe => (0, &self.probe),
            Part::Step(i) => (self.steps[i].0, &self.steps[i].1),
        };
        let micro = examples.chunks(self.recipe.train.batch_size).map(<[usize]>::to_vec).collect();
        let (dataset, collator) = (Arc::clone(&self.splits.dataset), Arc::clone(&self.collator));
        Loader::new(dataset, collator, micro, epoch)
    }
}

/// Makes one step at each of `rates`, on the micro-batches that `load` returns, until the loss rises or is not finite.
/// `after_step` is called with the number of steps so far. `options.lr` is ignored.
///
/// The probe is loaded after every step, so that no more of it is in memory than of a run's batches.
fn sweep<I: Iterator<Item = Result<(Batch, Vec<PreparedExample>)>>>(
    model: &dyn Model,
    params: &mut Parameters,
    options: StepOptions<'_>,
    rates: &[f32],
    load: impl Fn(Part) -> I,
    after_step: &mut dyn FnMut(usize) -> Result<(), Interruption>,
) -> Result<SeedSweep, Interruption> {
    let mut optimizer = AdamW::new(params, options.spec);
    let base_loss = mean_loss(model, params, load(Part::Probe), options.spec)?;
    let mut found = SeedSweep { base_loss, changes: Vec::new() };
    for (i, &lr) in rates.iter().enumerate() {
        let batches = load(Part::Step(i));
        let loss =
            train_step(model, params, &mut optimizer, batches, StepOptions { lr, ..options })
                .and_then(|_| mean_loss(model, params, load(Part::Probe), options.spec));
        match loss {
            // A loss or a gradient that is not finite ends the sweep: the rates became too large.
            Err(error) if error.kind() == ErrorKind::Diverged => break,
            loss => found.changes.push(loss? - base_loss),
        }
        after_step(i + 1)?;
        if found.has_risen() {
            break;
        }
    }
    Ok(found)
}

/// The learning rates around the default, from the first to the last.
fn rates(default_lr: f32) -> Vec<f32> {
    let (first, last) = RATES;
    let n = ((last / first).log10() * STEPS_PER_DECADE as f64).round() as usize;
    let factor = |i| first * (last / first).powf(i as f64 / n as f64);
    (0..=n).map(|i| (f64::from(default_lr) * factor(i)) as f32).collect()
}

/// The mean loss of `batches`, in nats per token, with the label smoothing of training and without dropout.
fn mean_loss(
    model: &dyn Model,
    params: &Parameters,
    batches: impl Iterator<Item = Result<(Batch, Vec<PreparedExample>)>>,
    spec: &TrainSpec,
) -> Result<f64> {
    let (mut sum, mut targets) = (0.0, 0);
    for item in batches {
        let (batch, prepared) = item?;
        let mut g = Graph::inference(params);
        let loss = model.loss(&mut g, &batch, Mode::Evaluate, spec.label_smoothing)?;
        check_loss(&loss, &prepared)?;
        sum += loss.sum;
        targets += batch.target_count;
    }
    Ok(sum / targets.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::test_model::{Fault, TestModel, batch};

    #[test]
    fn rates_rise_about_tenfold_in_ten_steps() {
        let rates = rates(3e-3);
        assert!(rates.len() == 41 && (rates[0] / 1e-4 - 1.0).abs() < 1e-6, "{rates:?}");
        assert!((rates[40] / 0.9 - 1.0).abs() < 1e-6);
        assert!((9.5..10.5).contains(&(rates[30] / rates[20])));
    }

    /// Sweeps the test model, a call of which goes wrong. The probe and each step have two micro-batches: two
    /// calls for the base, then two for each step and two for the probe after it.
    fn sweep_model(fault: Option<(usize, Fault)>) -> Result<SeedSweep, Interruption> {
        let (mut model, mut params) = TestModel::new();
        if let Some((call, fault)) = fault {
            model = model.with_fault(call, fault);
        }
        let spec = TrainSpec::default();
        let options = StepOptions { spec: &spec, seed: 3, lr: 0.0 };
        let load = |part| match part {
            Part::Probe => [batch(&[100, 101]), batch(&[102])].into_iter().map(Ok),
            Part::Step(i) => [batch(&[i, i + 1]), batch(&[i + 2])].into_iter().map(Ok),
        };
        sweep(&model, &mut params, options, &rates(3e-3), load, &mut |_| Ok(()))
    }

    #[test]
    fn a_step_that_fails_is_an_error_and_not_the_end_of_the_sweep() {
        let SeedSweep { changes, .. } = sweep_model(None).unwrap();
        assert!(changes.len() > 20 && changes[0].abs() < 1e-3, "{changes:?}");
        // In the base's probe, in a step, and in the probe after it.
        for call in [0, 2 + 4 * 20, 2 + 4 * 20 + 3] {
            let failed = sweep_model(Some((call, Fault::Error)));
            let Err(Interruption::Failed(error)) = failed else { panic!("{failed:?}") };
            assert_eq!(error.place(), "test model");
        }
    }

    #[test]
    fn a_loss_that_is_not_finite_ends_the_sweep_unless_it_is_the_base_models() {
        for call in [2 + 4 * 20, 2 + 4 * 20 + 3] {
            let swept = sweep_model(Some((call, Fault::NotFinite))).unwrap();
            assert_eq!(swept.changes.len(), 20);
        }
        let failed = sweep_model(Some((1, Fault::NotFinite)));
        let Err(Interruption::Failed(error)) = failed else { panic!("{failed:?}") };
        assert_eq!(error.kind(), ErrorKind::Diverged);
    }
}
