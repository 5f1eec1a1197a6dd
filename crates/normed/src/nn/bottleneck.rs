//! A linear layer that ends a sublayer, with an adapter behind or beside the sublayer.

use crate::ops::{self, Activation, Output};
use crate::tensor::{Bottleneck, Graph, ParamId, Var};

/// The layer's output for `x`, with what the adapter makes of it or, where it stands beside, of the
/// sublayer's `input`; f32.
pub(super) fn output(
    g: &mut Graph<'_>,
    x: &Var,
    input: &Var,
    layer: (ParamId, Option<ParamId>),
    adapter: Bottleneck,
    output: Output<'_>,
) -> Var {
    if adapter.parallel {
        let y = ops::linear(g, x, layer.0, layer.1, output);
        return raised(g, input, adapter, &y);
    }
    let y = ops::linear(g, x, layer.0, layer.1, Output::Wide);
    let sum = match output {
        Output::AddedTo(residual) => ops::add(g, y.clone(), residual),
        Output::Wide | Output::Inner => y.clone(),
    };
    raised(g, &y, adapter, &sum)
}

/// `sum + up(gelu(down(x)))`.
fn raised(g: &mut Graph<'_>, x: &Var, adapter: Bottleneck, sum: &Var) -> Var {
    let Bottleneck { down, up, .. } = adapter;
    let h = ops::linear(g, x, down[0], Some(down[1]), Output::Inner);
    let h = ops::activate(g, &h, Activation::Gelu);
    ops::linear(g, &h, up[0], Some(up[1]), Output::AddedTo(sum))
}
