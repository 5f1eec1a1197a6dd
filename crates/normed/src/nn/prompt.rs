//! Virtual tokens that a tuning method puts before those of a tower's sequences.

use crate::ops;
use crate::tensor::{Graph, ParamId, Var};

/// How many stand before the tokens that `table` embeds.
pub fn prompt_length(g: &Graph<'_>, table: ParamId) -> usize {
    g.soft_prompt(table).map_or(0, |tokens| g.param(tokens).shape[0])
}

/// What `table` made of the tokens that open the sequences, `x [B, T, C]`, behind the virtual ones if there
/// are any: `[B, P + T, C]`.
pub fn prepend_prompt(g: &mut Graph<'_>, table: ParamId, x: Var) -> Var {
    let Some(tokens) = g.soft_prompt(table) else { return x };
    let tokens = g.parameter(tokens);
    ops::prepend_rows(g, &tokens, 0, &x)
}
