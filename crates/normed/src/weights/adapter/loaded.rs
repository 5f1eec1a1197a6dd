//! The result of loading an adapter.

use std::path::Path;

use crate::Error;
use crate::tensor::ParamId;
use crate::weights::names_list::list_names;

/// What loading an adapter changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedAdapter {
    /// The parameters that it set or added, in the order of declaration.
    pub set: Vec<ParamId>,
    /// Warnings for the user.
    pub warnings: Vec<String>,
}

/// The error for an adapter that does not fit the model.
pub(super) fn does_not_fit(path: &Path, problems: &[String]) -> Error {
    let n = problems.len();
    let cause =
        format!("the adapter does not fit the model; problems ({n}): {}", list_names(problems));
    Error::invalid(path.display(), cause)
}
