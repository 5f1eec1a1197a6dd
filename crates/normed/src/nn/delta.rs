//! A linear layer with something plugged in.

use super::bottleneck;
use crate::ops::{self, DropoutStream, Output};
use crate::tensor::{ChannelScale, Graph, LowRank, ParamId, Plug, Var};

/// What tells the random streams of sockets from those of the model's own [`DropoutSite`](super::DropoutSite)s.
const SOCKETS: u64 = 1 << 48;

/// The layer's output with `delta`; `layer` is its weight and bias.
pub(super) fn output(
    g: &mut Graph<'_>,
    x: &Var,
    layer: (ParamId, Option<ParamId>),
    delta: Plug,
    output: Output<'_>,
) -> Var {
    match delta {
        Plug::LowRank(path) => low_rank(g, x, layer, path, output),
        Plug::ChannelScale(ChannelScale { vector, input: true }) => {
            let x = ops::scale_channels(g, x, vector, None, None, Output::RunPrecision);
            ops::linear(g, &x, layer.0, layer.1, output)
        }
        Plug::ChannelScale(ChannelScale { vector, input: false }) => {
            let y = ops::linear(g, x, layer.0, layer.1, Output::RunPrecision);
            ops::scale_channels(g, &y, vector, None, None, output)
        }
        // Such a layer ends a sublayer, and is asked by `Linear::ending`; on its own it is behind itself.
        Plug::Bottleneck(adapter) => bottleneck::output(g, x, x, layer, adapter, output),
    }
}

fn low_rank(
    g: &mut Graph<'_>,
    x: &Var,
    layer: (ParamId, Option<ParamId>),
    path: LowRank,
    output: Output<'_>,
) -> Var {
    let stream = g.dropout_seeds().filter(|_| path.dropout > 0.0).map(|draws| {
        let site = SOCKETS | path.a.index() as u64;
        DropoutStream::new(&draws.keys, draws.seed, site, path.dropout)
    });
    let dropped = stream.map(|stream| ops::dropout(g, x.clone(), Some(stream)));
    let Some(magnitude) = path.magnitude else {
        return ops::low_rank_linear(g, x, dropped.as_ref(), layer, path, output);
    };
    let norms = ops::merged_row_norms(g, layer.0, path);
    let y =
        ops::low_rank_linear(g, x, dropped.as_ref(), (layer.0, None), path, Output::RunPrecision);
    ops::scale_channels(g, &y, magnitude, Some(&norms), layer.1, output)
}
