//! The alarm: a parameter that is trained but does not learn stops the run.

use serde::{Deserialize, Serialize};

use super::finite::list_names;
use super::step::StepResult;
use crate::tensor::{Parameter, Parameters};
use crate::{Error, Result};

/// By this step every trained parameter must have had a gradient other than zero and have changed.
const STEPS: usize = 20;

/// Records for each trained parameter, in the order of [`Parameters::trained`], whether the first steps
/// reached it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Alarm {
    /// Whether a step had a gradient other than zero for it.
    reached: Vec<bool>,
    /// Whether a step changed it.
    moved: Vec<bool>,
}

impl Alarm {
    /// The alarm before the first step.
    pub fn new(params: &Parameters) -> Self {
        let n = params.trained().count();
        Self { reached: vec![false; n], moved: vec![false; n] }
    }

    /// Records the result of step `step`, counted from 1, of `last`.
    ///
    /// A parameter that starts without a gradient, such as LoRA's `A`, has one only after another step changed
    /// its partner. It is excused until then.
    ///
    /// # Errors
    ///
    /// At the 20th step, or at the end of a shorter run, if a parameter never had a gradient or never changed.
    pub fn observe(
        &mut self,
        params: &Parameters,
        result: &StepResult,
        (step, last): (usize, usize),
    ) -> Result<()> {
        if step > STEPS {
            return Ok(());
        }
        let is_first_change = !self.any_moved(params);
        let all = self.reached.iter_mut().zip(&mut self.moved);
        for ((reached, moved), (&r, &m)) in all.zip(result.reached.iter().zip(&result.moved)) {
            *reached |= r;
            *moved |= m;
        }
        if step < STEPS.min(last) {
            return Ok(());
        }
        let missed = |flags: &[bool]| -> Vec<String> {
            let missed = params.trained().zip(flags).filter(|(_, ok)| !**ok).map(|((_, p), _)| p);
            let late = missed.filter(|p| !(is_first_change && starts_without_gradient(p)));
            late.map(|p| p.name().to_owned()).collect()
        };
        let unreached = missed(&self.reached);
        if !unreached.is_empty() {
            return Err(Error::diverged(
                list_names(&unreached),
                format!("trained, but its gradient was zero in all {step} steps"),
            )
            .with_remedy("the loss does not depend on it; select other parameters in [tuning]"));
        }
        let unmoved = missed(&self.moved);
        if !unmoved.is_empty() {
            return Err(Error::diverged(
                list_names(&unmoved),
                format!("trained, but unchanged after {step} steps"),
            )
            .with_remedy("the updates are too small to change an f32 value; raise train.lr"));
        }
        Ok(())
    }

    /// Whether a step has changed a parameter that has a gradient from the start.
    fn any_moved(&self, params: &Parameters) -> bool {
        let mut trained = params.trained().zip(&self.moved);
        trained.any(|((_, p), moved)| *moved && !starts_without_gradient(p))
    }
}

/// Whether the method that added this parameter says that its gradient is zero in the first step.
fn starts_without_gradient(parameter: &Parameter) -> bool {
    parameter.added_training().is_some_and(|training| training.starts_without_gradient)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::TrainSpec;
    use crate::tensor::{AddedTraining, Tensor};
    use crate::train::adamw::AdamW;
    use crate::train::test_model::{TestModel, batch};
    use crate::train::{StepOptions, train_step};

    /// Trains for `steps` steps after `plant` has changed parameters. An error comes with its step.
    fn train(
        steps: usize,
        plant: impl FnOnce(&mut Parameters),
        lr: f32,
    ) -> Result<(), (usize, Error)> {
        let (model, mut params) = TestModel::new();
        plant(&mut params);
        let spec = TrainSpec { weight_decay: 0.0, ..TrainSpec::default() };
        let mut optimizer = AdamW::new(&params, &spec);
        let mut alarm = Alarm::new(&params);
        for n in 1..=steps {
            let batches = std::iter::once(Ok(batch(&[4, 5, 6])));
            train_step(
                &model,
                &mut params,
                &mut optimizer,
                batches,
                StepOptions { spec: &spec, seed: 3, lr },
            )
            .and_then(|result| alarm.observe(&params, &result, (n, steps)))
            .map_err(|error| (n, error))?;
        }
        Ok(())
    }

    fn parameter<'a>(params: &'a mut Parameters, name: &str) -> &'a mut crate::tensor::Parameter {
        let id = params.find(name).unwrap();
        params.get_mut(id)
    }

    #[test]
    fn a_run_that_learns_passes() {
        train(30, |_| {}, 0.01).unwrap();
    }

    #[test]
    fn a_parameter_without_a_gradient_is_named_at_step_20_or_at_the_end() {
        for (steps, at) in [(30, 20), (7, 7)] {
            let cut = |params: &mut Parameters| parameter(params, "norm.loose").set_trained(true);
            let (step, error) = train(steps, cut, 0.01).unwrap_err();
            assert_eq!((step, error.exit_code()), (at, 1));
            assert!(
                error.to_string().starts_with("norm.loose: trained, but its gradient was zero"),
                "{error}"
            );
        }
    }

    /// As LoRA's `A`: after the first step its partner has changed, and it must have a gradient.
    #[test]
    fn a_parameter_that_starts_without_a_gradient_is_excused_for_one_step() {
        let plant = |params: &mut Parameters| {
            let p = parameter(params, "norm.loose");
            p.set_trained(true);
            p.set_added_training(AddedTraining { decays: false, starts_without_gradient: true });
        };
        train(1, plant, 0.01).unwrap();
        let (step, error) = train(2, plant, 0.01).unwrap_err();
        assert_eq!(step, 2);
        assert!(error.to_string().starts_with("norm.loose: trained, but"), "{error}");
    }

    #[test]
    fn a_parameter_that_never_changes_is_named() {
        let far = |params: &mut Parameters| {
            let p = parameter(params, "norm.bias");
            p.set(Tensor::new(p.shape(), vec![1e9; p.len()]));
        };
        let (step, error) = train(30, far, 1e-6).unwrap_err();
        assert_eq!(step, 20);
        assert!(error.to_string().contains("norm.bias"), "{error}");
        assert!(error.to_string().contains("unchanged after"), "{error}");
    }

    #[test]
    fn a_loss_that_is_not_finite_names_its_example_at_once() {
        // Token 5 is an input of examples 4 and 5, and not of 6.
        let plant = |params: &mut Parameters| {
            parameter(params, "words").value_mut().data_mut()[5 * 8] = f32::NAN;
        };
        let (step, error) = train(30, plant, 0.01).unwrap_err();
        assert_eq!(step, 1);
        let text = error.to_string();
        assert!(text.starts_with("example example-5: the loss is NaN"), "{text}");
    }
}
