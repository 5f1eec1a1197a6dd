//! Checks that losses and gradients are finite. A run stops at once if they are not.

use crate::data::PreparedExample;
use crate::ops::CrossEntropy;
use crate::tensor::Parameters;
use crate::{Error, Result};

/// How many names an error lists.
const NAMES: usize = 5;

/// Fails if the loss is not finite, and names the examples with such a loss.
pub(super) fn check_loss(loss: &CrossEntropy, examples: &[PreparedExample]) -> Result<()> {
    if loss.sum.is_finite() {
        return Ok(());
    }
    let per_example = (loss.position_losses.len() / examples.len().max(1)).max(1);
    let ids: Vec<String> = (loss.position_losses.chunks(per_example).zip(examples))
        .filter(|(positions, _)| positions.iter().any(|x| !x.is_finite()))
        .map(|(_, prepared)| prepared.example.id.clone())
        .collect();
    let place = format!("example {}", list_names(&ids));
    Err(Error::diverged(place, format!("the loss is {}", loss.sum))
        .with_remedy("lower train.lr, set train.max_grad_norm, or check the example"))
}

/// Fails if a gradient is not finite. `norms` has one norm for each trained parameter.
pub(super) fn check_gradients(params: &Parameters, norms: &[f64]) -> Result<()> {
    let trained = params.trained().zip(norms);
    let bad: Vec<String> =
        trained.filter(|(_, n)| !n.is_finite()).map(|((_, p), _)| p.name().to_owned()).collect();
    if bad.is_empty() {
        return Ok(());
    }
    Err(Error::diverged(list_names(&bad), "the gradient is not finite")
        .with_remedy("lower train.lr, or check the examples of the step"))
}

/// The first names, and how many more there are.
pub(super) fn list_names(names: &[String]) -> String {
    let shown = names[..names.len().min(NAMES)].join(", ");
    match names.len().saturating_sub(NAMES) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::test_model::TestModel;

    #[test]
    fn an_infinite_gradient_is_named() {
        let (_, params) = TestModel::new();
        let error = check_gradients(&params, &[1.0, 1.0, f64::INFINITY, 1.0, 1.0]).unwrap_err();
        assert!(error.to_string().starts_with("norm.weight: the gradient"), "{error}");
    }

    #[test]
    fn a_long_list_is_cut() {
        let names: Vec<String> = (0..8).map(|i| i.to_string()).collect();
        assert_eq!(list_names(&names), "0, 1, 2, 3, 4 and 3 more");
    }
}
