//! A linear layer into which a tuning method has plugged something.

use super::bottleneck;
use crate::ops::{self, DropoutStream, Output};
use crate::tensor::{ChannelScale, Graph, LowRank, ParamId, Plug, Var};

/// Set in the random streams of plugs, so that they differ from those of every [`DropoutSite`](super::DropoutSite).
const PLUGS: u64 = 1 << 48;

/// The layer's output with what is plugged in; `layer` is its weight and bias.
pub(super) fn output(
    g: &mut Graph<'_>,
    x: &Var,
    layer: (ParamId, Option<ParamId>),
    plug: Plug,
    output: Output<'_>,
) -> Var {
    match plug {
        Plug::LowRank(path) => low_rank(g, x, layer, path, output),
        Plug::ChannelScale(ChannelScale { vector, input: true }) => {
            let x = ops::scale_channels(g, x, vector, None, None, Output::RunPrecision);
            ops::linear(g, &x, layer.0, layer.1, output)
        }
        Plug::ChannelScale(ChannelScale { vector, input: false }) => {
            let y = ops::linear(g, x, layer.0, layer.1, Output::RunPrecision);
            ops::scale_channels(g, &y, vector, None, None, output)
        }
        // A layer with an adapter ends a sublayer and goes through `Linear::forward_as_sublayer_end`. By
        // itself, the layer is the whole sublayer.
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
        let site = PLUGS | path.a.index() as u64;
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
