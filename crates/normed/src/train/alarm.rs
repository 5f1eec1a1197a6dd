//! The alarm: silent non-learning and a loss that is no number stop the run at once.

use serde::{Deserialize, Serialize};

use super::step::Stepped;
use crate::data::Prepared;
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
            return Err(Error::failed(
                list(&unreached),
                format!("trained, but no gradient reached it in {step} steps"),
            )
            .hint("the loss does not depend on it: choose other parameters in [tuning]"));
        }
        let unmoved = missed(&self.moved);
        if !unmoved.is_empty() {
            return Err(Error::failed(
                list(&unmoved),
                format!("trained, but {step} steps did not change it"),
            )
            .hint("its steps round away: raise train.lr"));
        }
        Ok(())
    }
}

/// Fails if the loss is no finite number, naming the examples whose loss is none.
pub(super) fn check_loss(loss: &CrossEntropy, examples: &[Prepared]) -> Result<()> {
    if loss.sum.is_finite() {
        return Ok(());
    }
    let per_example = (loss.positions.len() / examples.len().max(1)).max(1);
    let ids: Vec<String> = (loss.positions.chunks(per_example).zip(examples))
        .filter(|(positions, _)| positions.iter().any(|x| !x.is_finite()))
        .map(|(_, prepared)| prepared.example.id.clone())
        .collect();
    Err(Error::failed(format!("example {}", list(&ids)), format!("its loss is {}", loss.sum))
        .hint("lower train.lr, set train.max_grad_norm, or look at the example"))
}

/// Fails if a gradient is no finite number; `norms` has one norm for each trained parameter.
pub(super) fn check_gradients(params: &Parameters, norms: &[f64]) -> Result<()> {
    let trained = params.trained().zip(norms);
    let bad: Vec<String> =
        trained.filter(|(_, n)| !n.is_finite()).map(|((_, p), _)| p.name.clone()).collect();
    if bad.is_empty() {
        return Ok(());
    }
    Err(Error::failed(list(&bad), "its gradient is no finite number")
        .hint("lower train.lr or look at the step's examples"))
}

fn list(names: &[String]) -> String {
    let shown = names[..names.len().min(NAMES)].join(", ");
    match names.len().saturating_sub(NAMES) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
