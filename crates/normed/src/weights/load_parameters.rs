//! Loads a checkpoint into a model's parameters, by name.

use std::collections::BTreeSet;

use super::bitsandbytes::{StoredMatrix, find_quantized};
use super::names_list::list_names;
use super::stored::Checkpoint;
use crate::tensor::{Parameter, Parameters, Tensor};
use crate::{Error, Result};

/// Gives every parameter its value from `checkpoint`, whose names are Hugging Face's (see
/// [`Checkpoint::canonical`]). A matrix that is quantized there stays quantized. `show` turns a name into the one
/// that error messages use.
///
/// # Errors
/// If names are missing, if the model has no parameter for a name, or if shapes or types differ: one error for
/// all of them. No parameter is changed then.
pub fn load_parameters(
    params: &mut Parameters,
    checkpoint: &Checkpoint,
    show: impl Fn(&str) -> String,
) -> Result<()> {
    let mut problems = Problems::default();
    let mut statistics = BTreeSet::new();
    let mut values = Vec::with_capacity(params.len());
    for (_, parameter) in params.iter() {
        let name = show(parameter.name());
        match find_value(parameter, checkpoint, &name, &mut problems) {
            Some(Found::Plain(value)) => values.push(value),
            Some(Found::Quantized(matrix)) => {
                statistics.extend(matrix.names);
                values.push(matrix.value);
            }
            None => {}
        }
    }
    let unexpected = checkpoint.tensors.keys();
    let unexpected =
        unexpected.filter(|name| params.find(name).is_none() && !statistics.contains(*name));
    problems.unexpected = unexpected.map(|name| show(name)).collect();
    if let Some(error) = problems.into_error(checkpoint) {
        return Err(error);
    }
    for ((_, parameter), value) in params.iter_mut().zip(values) {
        parameter.set(value);
    }
    Ok(())
}

/// The value of a parameter in a checkpoint.
enum Found {
    Plain(Tensor),
    Quantized(StoredMatrix),
}

/// Finds the value of a parameter, which errors call `name`, or notes the problem with it.
fn find_value(
    parameter: &Parameter,
    checkpoint: &Checkpoint,
    name: &str,
    problems: &mut Problems,
) -> Option<Found> {
    let Some(stored) = checkpoint.tensors.get(parameter.name()) else {
        problems.missing.push(name.to_owned());
        return None;
    };
    if let Some(found) = find_quantized(checkpoint, parameter.name(), parameter.shape()) {
        let problem = match found {
            Ok(matrix) if parameter.role().is_linear_weight() => {
                return Some(Found::Quantized(matrix));
            }
            Ok(_) => format!("`{name}` is quantized, which only matrices of linear layers can be"),
            Err(cause) => cause,
        };
        problems.quantized.push(problem);
        return None;
    }
    let (file, model) = (stored.shape(), parameter.shape());
    if file != model {
        problems.different.push(format!("{name} {file:?} instead of {model:?}"));
        return None;
    }
    let value = stored.view();
    if value.is_none() {
        problems.different.push(format!("{name} of type {:?}", stored.dtype()));
    }
    value.map(Found::Plain)
}

/// What does not fit, by kind.
#[derive(Default)]
struct Problems {
    missing: Vec<String>,
    unexpected: Vec<String>,
    /// Of a different shape or type.
    different: Vec<String>,
    /// Quantized matrices that cannot be read.
    quantized: Vec<String>,
}

impl Problems {
    /// One error for all problems; none if there are none.
    fn into_error(self, checkpoint: &Checkpoint) -> Option<Error> {
        let error = |cause: String| Error::invalid(checkpoint.path.display(), cause);
        if !self.quantized.is_empty() {
            let cause = format!("the weights cannot be read\n  {}", list_names(&self.quantized));
            return Some(error(cause).with_remedy(
                "create them with `normed quantize`, or save them again with bitsandbytes",
            ));
        }
        let kinds = [
            ("missing", self.missing),
            ("unexpected", self.unexpected),
            ("of a different shape or type", self.different),
        ];
        let lines: Vec<_> = kinds
            .into_iter()
            .filter(|(_, names)| !names.is_empty())
            .map(|(kind, names)| format!("{} {kind}: {}", names.len(), list_names(&names)))
            .collect();
        (!lines.is_empty()).then(|| {
            error(format!("the weights do not fit the model\n  {}", lines.join("\n  ")))
                .with_remedy("config.json in the same folder must describe the same model")
        })
    }
}
