//! Loads a checkpoint into a model's parameters, by name.

use std::collections::BTreeSet;

use super::bitsandbytes::find_quantized;
use super::names_list::list_names;
use super::stored::Checkpoint;
use crate::tensor::Parameters;
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
    let mut missing = Vec::new();
    let mut misfits = Vec::new();
    let mut misquantized = Vec::new();
    let mut statistics = BTreeSet::new();
    let mut values = Vec::with_capacity(params.len());
    for (_, parameter) in params.iter() {
        let Some(stored) = checkpoint.tensors.get(&parameter.name) else {
            missing.push(show(&parameter.name));
            continue;
        };
        if let Some(found) = find_quantized(checkpoint, &parameter.name, &parameter.shape) {
            match found {
                Ok(found) if parameter.role.is_linear_weight() => {
                    statistics.extend(found.names);
                    values.push(found.value);
                }
                Ok(_) => misquantized.push(format!(
                    "`{}` is quantized, which only matrices of linear layers can be",
                    show(&parameter.name)
                )),
                Err(cause) => misquantized.push(cause),
            }
            continue;
        }
        if stored.shape() != parameter.shape {
            let (file, model) = (stored.shape(), &parameter.shape);
            misfits.push(format!("{} {file:?} instead of {model:?}", show(&parameter.name)));
        } else if let Some(value) = stored.view() {
            values.push(value);
        } else {
            misfits.push(format!("{} of type {:?}", show(&parameter.name), stored.dtype()));
        }
    }
    if !misquantized.is_empty() {
        let cause = format!("the weights cannot be read\n  {}", list_names(&misquantized));
        return Err(Error::invalid(checkpoint.path.display(), cause).with_remedy(
            "create them with `normed quantize`, or save them again with bitsandbytes",
        ));
    }
    let unexpected: Vec<_> = checkpoint
        .tensors
        .keys()
        .filter(|name| params.find(name).is_none() && !statistics.contains(*name))
        .map(|name| show(name))
        .collect();
    let complaints: Vec<_> = [
        ("missing", missing),
        ("unexpected", unexpected),
        ("of a different shape or type", misfits),
    ]
    .into_iter()
    .filter(|(_, names)| !names.is_empty())
    .map(|(what, names)| format!("{} {what}: {}", names.len(), list_names(&names)))
    .collect();
    if !complaints.is_empty() {
        let cause = format!("the weights do not fit the model\n  {}", complaints.join("\n  "));
        return Err(Error::invalid(checkpoint.path.display(), cause)
            .with_remedy("config.json in the same folder must describe the same model"));
    }
    for ((_, parameter), value) in params.iter_mut().zip(values) {
        parameter.set(value);
    }
    Ok(())
}
