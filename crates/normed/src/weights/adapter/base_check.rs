//! The check that an adapter belongs to a base.

use std::path::Path;

use crate::{Error, Result};

/// Which base an adapter must belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BaseCheck<'a> {
    /// The base has this [`content_hash`](crate::weights::content_hash). An adapter with another one is an error.
    Is(&'a str),
    /// Any base with the right names and shapes.
    Skip,
}

/// Checks the base hash `named` in an adapter's file; returns warnings.
///
/// # Errors
/// If the adapter names another base.
pub(super) fn check_base(
    path: &Path,
    named: Option<&String>,
    base: BaseCheck<'_>,
) -> Result<Vec<String>> {
    match (named, base) {
        (_, BaseCheck::Skip) => Ok(Vec::new()),
        (None, BaseCheck::Is(_)) => Ok(vec![format!(
            "{}: it does not name the base that it was trained on, so the base is not checked",
            path.display()
        )]),
        (Some(named), BaseCheck::Is(hash)) if named == hash => Ok(Vec::new()),
        (Some(named), BaseCheck::Is(hash)) => {
            let cause =
                format!("it was trained on the base {named:.12}, and this base is {hash:.12}");
            Err(Error::invalid(path.display(), cause).with_remedy(
                "use the base that it was trained on; a model that it was merged into has another hash",
            ))
        }
    }
}
