//! What a layer computes with something in its socket, as a layer without: `normed merge`. No pass uses it.

use rayon::prelude::*;

use crate::tensor::{ChannelScale, LowRank, ParamId, Parameters, Plug, Precision, Tensor};

/// The matrix, f32, that does in an empty socket what `weight`'s does with `delta`, and what its bias is
/// multiplied by, channel by channel, if by anything. None where no matrix does.
pub fn merge_plug(
    params: &Parameters,
    weight: ParamId,
    delta: Plug,
) -> Option<(Tensor, Option<Tensor>)> {
    let w = params.get(weight).value().to_precision(Precision::F32);
    match delta {
        Plug::LowRank(path) => Some((with_path(params, w, path), None)),
        Plug::ChannelScale(scaled) => Some(with_factors(params, w, scaled)),
        // A curve stands between its layers.
        Plug::Bottleneck(_) => None,
    }
}

/// `W + s B A`; with a magnitude `m`, every row of that divided by its norm and multiplied by its `m`.
fn with_path(params: &Parameters, mut w: Tensor, path: LowRank) -> Tensor {
    let value = |id| params.get(id).value();
    let (a, b) = (value(path.a).data(), value(path.b).data());
    let magnitude = path.magnitude.map(|id| value(id).data());
    let (out, inner) = (w.shape()[0], w.len() / w.shape()[0]);
    let rank = b.len() / out;
    w.data_mut().par_chunks_mut(inner).enumerate().for_each(|(o, row)| {
        for (a, b) in a.chunks_exact(inner).zip(&b[o * rank..][..rank]) {
            let factor = path.scale * b;
            row.iter_mut().zip(a).for_each(|(w, a)| *w += factor * a);
        }
        if let Some(magnitude) = magnitude {
            let norm = row.iter().map(|&w| f64::from(w) * f64::from(w)).sum::<f64>().sqrt();
            let factor = (f64::from(magnitude[o]) / norm) as f32;
            row.iter_mut().for_each(|w| *w *= factor);
        }
    });
    w
}

/// Every column multiplied by its factor, or every row and the bias by theirs.
fn with_factors(
    params: &Parameters,
    mut w: Tensor,
    scaled: ChannelScale,
) -> (Tensor, Option<Tensor>) {
    let factors = params.get(scaled.vector).value();
    let inner = w.len() / w.shape()[0];
    let each = factors.data();
    w.data_mut().par_chunks_mut(inner).enumerate().for_each(|(o, row)| match scaled.input {
        true => row.iter_mut().zip(each).for_each(|(w, l)| *w *= l),
        false => row.iter_mut().for_each(|w| *w *= each[o]),
    });
    let of_bias = (!scaled.input).then(|| factors.clone().reshape(&[factors.len()]));
    (w, of_bias)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::{close, parameters};
    use crate::ops::{Output, linear, low_rank_linear, merged_row_norms, scale_channels};
    use crate::tensor::Graph;

    /// x, W, b, A, B, magnitudes, factors of the input's channels, of the output's.
    #[test]
    fn equals_the_layer_with_something_in_its_socket() {
        let shapes: [&[usize]; 8] =
            [&[5, 6], &[7, 6], &[7], &[2, 6], &[7, 2], &[7], &[1, 6], &[7, 1]];
        let (params, id) = parameters(&shapes);
        let path = |magnitude| LowRank {
            a: id[3],
            b: id[4],
            magnitude,
            scale: 1.7,
            alpha: 3.4,
            use_rslora: false,
            dropout: 0.0,
        };
        let layer = (id[1], Some(id[2]));
        let with = |delta: Plug| {
            let g = &mut Graph::inference(&params);
            let x = g.parameter(id[0]);
            match delta {
                Plug::LowRank(path) if path.magnitude.is_none() => {
                    low_rank_linear(g, &x, None, layer, path, Output::F32)
                }
                Plug::LowRank(path) => {
                    let norms = merged_row_norms(g, id[1], path);
                    let y = low_rank_linear(g, &x, None, (id[1], None), path, Output::F32);
                    scale_channels(g, &y, id[5], Some(&norms), layer.1, Output::F32)
                }
                Plug::ChannelScale(ChannelScale { vector, input: true }) => {
                    let x = scale_channels(g, &x, vector, None, None, Output::F32);
                    linear(g, &x, layer.0, layer.1, Output::F32)
                }
                Plug::ChannelScale(ChannelScale { vector, input: false }) => {
                    let y = linear(g, &x, layer.0, layer.1, Output::F32);
                    scale_channels(g, &y, vector, None, None, Output::F32)
                }
                Plug::Bottleneck(_) => unreachable!("not among these"),
            }
        };
        for delta in [
            Plug::LowRank(path(None)),
            Plug::LowRank(path(Some(id[5]))),
            Plug::ChannelScale(ChannelScale { vector: id[6], input: true }),
            Plug::ChannelScale(ChannelScale { vector: id[7], input: false }),
        ] {
            let (weight, of_bias) = merge_plug(&params, id[1], delta).unwrap();
            let mut plain = params.clone();
            plain.get_mut(id[1]).set(weight);
            if let Some(factors) = of_bias {
                let bias = plain.get_mut(id[2]).value_mut().data_mut();
                bias.iter_mut().zip(factors.data()).for_each(|(b, l)| *b *= l);
            }
            let g = &mut Graph::inference(&plain);
            let x = g.parameter(id[0]);
            let y = linear(g, &x, layer.0, layer.1, Output::F32);
            close(y.value.data(), with(delta).value.data(), 1e-6);
        }
    }
}
