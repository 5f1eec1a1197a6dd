//! From a checkpoint into a model's parameters, by name, with nothing missing and nothing left over.

use std::collections::BTreeSet;

use super::bitsandbytes;
use super::stored::Checkpoint;
use crate::tensor::Parameters;
use crate::{Error, Result};

/// How many names of a kind an error lists.
const LISTED: usize = 20;

/// Gives every parameter its value out of `checkpoint`, whose names are Hugging Face's (see
/// [`Checkpoint::canonical`]), a quantised one where it is quantised there. Names that are missing, that
/// no parameter has, and shapes that differ are one error, and then no parameter is changed; `show` says
/// how it spells a name.
pub fn fill(
    params: &mut Parameters,
    checkpoint: &Checkpoint,
    show: impl Fn(&str) -> String,
) -> Result<()> {
    let mut missing = Vec::new();
    let mut misfits = Vec::new();
    let mut misquantised = Vec::new();
    let mut beside = BTreeSet::new();
    let mut values = Vec::with_capacity(params.len());
    for (_, parameter) in params.iter() {
        let Some(stored) = checkpoint.tensors.get(&parameter.name) else {
            missing.push(show(&parameter.name));
            continue;
        };
        if let Some(found) = bitsandbytes::find(checkpoint, &parameter.name, &parameter.shape) {
            match found {
                Ok(found) if parameter.role.is_linear_weight() => {
                    beside.extend(found.names);
                    values.push(found.value);
                }
                Ok(_) => misquantised.push(format!(
                    "`{}` is quantised, and only matrices of linear layers may be",
                    show(&parameter.name)
                )),
                Err(cause) => misquantised.push(cause),
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
    if !misquantised.is_empty() {
        let cause = format!("the weights cannot be read\n  {}", list(&misquantised));
        return Err(Error::invalid(checkpoint.path.display(), cause).with_remedy(
            "make them with `normed quantize`, or save them again with bitsandbytes",
        ));
    }
    let unexpected: Vec<_> = checkpoint
        .tensors
        .keys()
        .filter(|name| params.find(name).is_none() && !beside.contains(*name))
        .map(|name| show(name))
        .collect();
    let complaints: Vec<_> =
        [("missing", missing), ("unexpected", unexpected), ("of another shape or type", misfits)]
            .into_iter()
            .filter(|(_, names)| !names.is_empty())
            .map(|(what, names)| format!("{} {what}: {}", names.len(), list(&names)))
            .collect();
    if !complaints.is_empty() {
        let cause = format!("the weights do not fit the model\n  {}", complaints.join("\n  "));
        return Err(Error::invalid(checkpoint.path.display(), cause)
            .with_remedy("config.json beside it must describe the same model"));
    }
    for ((_, parameter), value) in params.iter_mut().zip(values) {
        parameter.set(value);
    }
    Ok(())
}

/// The first few of `names`, and how many more there are.
pub(super) fn list(names: &[String]) -> String {
    let mut text = names[..names.len().min(LISTED)].join(", ");
    if names.len() > LISTED {
        text += &format!(", and {} more", names.len() - LISTED);
    }
    text
}
