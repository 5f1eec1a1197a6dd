//! Prompt tuning: virtual tokens that a tuning method puts before a tower's sequences.

use crate::ops;
use crate::tensor::{Graph, ParamId, Var};

/// The number of virtual tokens before those that `table` embeds; 0 without a prompt.
pub fn prompt_length(g: &Graph<'_>, table: ParamId) -> usize {
    g.soft_prompt(table).map_or(0, |tokens| g.param(tokens).shape()[0])
}

/// Embeddings `[B, P + T, C]`: the virtual tokens, if there are any, and then `x [B, T, C]`, the embeddings that
/// `table` gives the first tokens of the sequences.
pub fn prepend_prompt(g: &mut Graph<'_>, table: ParamId, x: Var) -> Var {
    let Some(tokens) = g.soft_prompt(table) else { return x };
    let tokens = g.parameter(tokens);
    ops::prepend_rows(g, &tokens, 0, &x)
}
