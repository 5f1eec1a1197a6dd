//! The residual sum `residual + branch`, with dropout of the branch's elements or of the whole branch.

use crate::ops::{self, DropoutStream, Output};
use crate::tensor::{Graph, Var};

/// `residual + dropout(branch)`. `branch` computes its last operation with the output that it is given: without
/// dropout, that operation also adds the residual.
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

/// As [`add_with_dropout`], but whole examples are dropped (stochastic depth).
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
