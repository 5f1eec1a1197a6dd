//! Prefix tuning: keys and values that a tuning method puts before an attention's own.

use super::Linear;
use crate::ops::{self, Activation, Output};
use crate::tensor::{Graph, PrefixKv, Var};

/// The number of prefix keys before those of the layer `key`; 0 without a prefix.
pub(super) fn prefix_length(g: &Graph<'_>, key: &Linear) -> usize {
    g.prefix(key.weight).map_or(0, |prefix| g.param(prefix.table()).shape()[0])
}

/// The keys and values `[B, P + T, C]`: those of the prefix, if there is one, then `k` and `v` `[B, T, C]`. The
/// layer `key` is the one that computed `k`.
pub(super) fn prepend_prefix(g: &mut Graph<'_>, key: &Linear, [k, v]: [Var; 2]) -> [Var; 2] {
    let Some(prefix) = g.prefix(key.weight) else { return [k, v] };
    let rows = prefix_rows(g, prefix);
    let width = k.value.width();
    [ops::prepend_rows(g, &rows, 0, &k), ops::prepend_rows(g, &rows, width, &v)]
}

/// The prefix's keys and values `[P, 2C]`, side by side.
fn prefix_rows(g: &mut Graph<'_>, prefix: PrefixKv) -> Var {
    let table = g.parameter(prefix.table());
    match prefix {
        PrefixKv::Table(_) => table,
        PrefixKv::Projected { first, second, .. } => {
            let h = ops::linear(g, &table, first[0], Some(first[1]), Output::F32);
            let h = ops::activate(g, &h, Activation::Tanh);
            ops::linear(g, &h, second[0], Some(second[1]), Output::F32)
        }
    }
}
