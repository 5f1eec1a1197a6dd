//! The alarm: silent non-learning and a loss that is no number stop the run at once.

use serde::{Deserialize, Serialize};

use super::step::Stepped;
use crate::data::PreparedExample;
use crate::ops::CrossEntropy;
use crate::tensor::Parameters;
use crate::{Error, Result};

/// By this step every trained parameter must have been reached by a gradient and have moved.
const STEPS: usize = 20;

/// How many names an error lists.
const NAMES: usize = 5;

/// What the first steps did to each trained parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Alarm {
    reached: Vec<bool>,
    moved: Vec<bool>,
}

impl Alarm {
    /// Set, before the first step.
    pub fn new(params: &Parameters) -> Self {
        let n = params.trained().count();
        Self { reached: vec![false; n], moved: vec![false; n] }
    }

    /// Takes in step `step`, counted from 1, the last of which is `last`; fails at the 20th, or at
    /// the end of a shorter run, if a parameter was never reached or never moved.
    pub fn observe(
        &mut self,
        params: &Parameters,
        done: &Stepped,
        (step, last): (usize, usize),
    ) -> Result<()> {
        if step > STEPS {
            return Ok(());
        }
        let all = self.reached.iter_mut().zip(&mut self.moved);
        for ((reached, moved), (&r, &m)) in all.zip(done.reached.iter().zip(&done.moved)) {
            *reached |= r;
            *moved |= m;
        }
        if step < STEPS.min(last) {
            return Ok(());
        }
        let missed = |flags: &[bool]| -> Vec<String> {
            let trained = params.trained().zip(flags);
            trained.filter(|(_, ok)| !**ok).map(|((_, p), _)| p.name.clone()).collect()
        };
        let unreached = missed(&self.reached);
        if !unreached.is_empty() {
            return Err(Error::diverged(
                list(&unreached),
                format!("trained, but no gradient reached it in {step} steps"),
            )
            .with_remedy("the loss does not depend on it: choose other parameters in [tuning]"));
        }
        let unmoved = missed(&self.moved);
        if !unmoved.is_empty() {
            return Err(Error::diverged(
                list(&unmoved),
                format!("trained, but {step} steps did not change it"),
            )
            .with_remedy("its steps round away: raise train.lr"));
        }
        Ok(())
    }
}

/// Fails if the loss is no finite number, naming the examples whose loss is none.
pub(super) fn check_loss(loss: &CrossEntropy, examples: &[PreparedExample]) -> Result<()> {
    if loss.sum.is_finite() {
        return Ok(());
    }
    let per_example = (loss.position_losses.len() / examples.len().max(1)).max(1);
    let ids: Vec<String> = (loss.position_losses.chunks(per_example).zip(examples))
        .filter(|(positions, _)| positions.iter().any(|x| !x.is_finite()))
        .map(|(_, prepared)| prepared.example.id.clone())
        .collect();
    Err(Error::diverged(format!("example {}", list(&ids)), format!("its loss is {}", loss.sum))
        .with_remedy("lower train.lr, set train.max_grad_norm, or look at the example"))
}

/// Fails if a gradient is no finite number; `norms` has one norm for each trained parameter.
pub(super) fn check_gradients(params: &Parameters, norms: &[f64]) -> Result<()> {
    let trained = params.trained().zip(norms);
    let bad: Vec<String> =
        trained.filter(|(_, n)| !n.is_finite()).map(|((_, p), _)| p.name.clone()).collect();
    if bad.is_empty() {
        return Ok(());
    }
    Err(Error::diverged(list(&bad), "its gradient is no finite number")
        .with_remedy("lower train.lr or look at the step's examples"))
}

fn list(names: &[String]) -> String {
    let shown = names[..names.len().min(NAMES)].join(", ");
    match names.len().saturating_sub(NAMES) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::TrainSpec;
    use crate::tensor::Tensor;
    use crate::train::adamw::AdamW;
    use crate::train::toy::{Toy, batch};
    use crate::train::{StepOptions, step};

    /// Trains for `steps` steps, after `plant` has spoilt something; what the alarm said, and when.
    fn train(
        steps: usize,
        plant: impl FnOnce(&mut Parameters),
        lr: f32,
    ) -> Result<(), (usize, Error)> {
        let (toy, mut params) = Toy::new();
        plant(&mut params);
        let spec = TrainSpec { weight_decay: 0.0, ..TrainSpec::default() };
        let mut optimizer = AdamW::new(&params, &spec);
        let mut alarm = Alarm::new(&params);
        for n in 1..=steps {
            let batches = std::iter::once(Ok(batch(&[4, 5, 6])));
            step(
                &toy,
                &mut params,
                &mut optimizer,
                batches,
                StepOptions { spec: &spec, seed: 3, lr },
            )
            .and_then(|done| alarm.observe(&params, &done, (n, steps)))
            .map_err(|error| (n, error))?;
        }
        Ok(())
    }

    fn parameter<'a>(params: &'a mut Parameters, name: &str) -> &'a mut crate::tensor::Parameter {
        let id = params.find(name).unwrap();
        params.get_mut(id)
    }

    #[test]
    fn it_is_silent_where_all_is_well() {
        train(30, |_| {}, 0.01).unwrap();
    }

    #[test]
    fn a_cut_graph_is_named_at_step_20_or_at_the_end() {
        for (steps, at) in [(30, 20), (7, 7)] {
            let cut = |params: &mut Parameters| parameter(params, "norm.loose").trained = true;
            let (step, error) = train(steps, cut, 0.01).unwrap_err();
            assert_eq!((step, error.exit_code()), (at, 1));
            assert!(error.to_string().starts_with("norm.loose: trained, but no grad"), "{error}");
        }
    }

    #[test]
    fn steps_that_round_away_are_named() {
        let far = |params: &mut Parameters| {
            let p = parameter(params, "norm.bias");
            p.set(Tensor::new(&p.shape.clone(), vec![1e9; p.len()]));
        };
        let (step, error) = train(30, far, 1e-6).unwrap_err();
        assert_eq!(step, 20);
        assert!(error.to_string().contains("norm.bias"), "{error}");
        assert!(error.to_string().contains("did not change it"), "{error}");
    }

    #[test]
    fn a_nan_stops_at_once_and_names_its_example() {
        // Token 5 is an input of examples 4 and 5, and not of 6.
        let plant = |params: &mut Parameters| {
            parameter(params, "words").value_mut().data_mut()[5 * 8] = f32::NAN;
        };
        let (step, error) = train(30, plant, 0.01).unwrap_err();
        assert_eq!(step, 1);
        let text = error.to_string();
        assert!(text.starts_with("example example-5: its loss is NaN"), "{text}");
    }

    #[test]
    fn an_infinite_gradient_is_named() {
        let (_, params) = Toy::new();
        let error = check_gradients(&params, &[1.0, 1.0, f64::INFINITY, 1.0, 1.0]).unwrap_err();
        assert!(error.to_string().starts_with("norm.weight: its gradient"), "{error}");
    }

    #[test]
    fn a_long_list_is_cut() {
        let names: Vec<String> = (0..8).map(|i| i.to_string()).collect();
        assert_eq!(list(&names), "0, 1, 2, 3, 4 and 3 more");
    }
}
