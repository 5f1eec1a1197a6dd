//! The sum that a branch ends in: `residual + branch`, the branch dropped in part or as a whole.

use crate::ops::{self, DropoutStream, Output};
use crate::tensor::{Graph, Var};

/// `residual + branch`, elements of the latter dropped. Without dropout the branch's last operation
/// adds; `branch` computes it with such an output.
pub(super) fn add_with_dropout(
    g: &mut Graph<'_>,
    residual: &Var,
    drop: Option<DropoutStream>,
    branch: impl FnOnce(&mut Graph<'_>, Output<'_>) -> Var,
) -> Var {
    if drop.is_none() {
        return branch(g, Output::AddTo(residual));
    }
    let y = branch(g, Output::F32);
    ops::dropout_add(g, y, residual, drop)
}

/// As [`add`], the branch dropped for whole examples (stochastic depth).
pub(super) fn add_with_drop_path(
    g: &mut Graph<'_>,
    residual: &Var,
    drop: Option<DropoutStream>,
    branch: impl FnOnce(&mut Graph<'_>, Output<'_>) -> Var,
) -> Var {
    let Some(drop) = drop else { return branch(g, Output::AddTo(residual)) };
    let y = branch(g, Output::F32);
    ops::drop_path_add(g, y, residual, drop)
}
