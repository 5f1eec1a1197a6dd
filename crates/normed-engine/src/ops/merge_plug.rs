//! A linear layer and its plug merged into a plain linear layer, to export a model without plugs. No pass
//! uses this.

use rayon::prelude::*;

use crate::tensor::{ChannelScale, LowRank, ParamId, Parameters, Plug, Precision, Tensor};

/// A plain linear layer that computes what a layer with a plug does.
#[derive(Debug)]
pub struct MergedLayer {
    /// The weight, f32, in the shape of the layer's weight.
    pub weight: Tensor,
    /// What every element of the bias must be multiplied by, `[out]`.
    pub bias_factors: Option<Tensor>,
}

/// Merges `plug` into the layer with this weight. `None` if no plain linear layer computes the same, because
/// the plug is a bottleneck with an activation.
pub fn merge_plug(params: &Parameters, weight: ParamId, plug: Plug) -> Option<MergedLayer> {
    let w = params.get(weight).value().to_precision(Precision::F32);
    match plug {
        Plug::LowRank(path) => Some(merge_low_rank(params, w, path)),
        Plug::ChannelScale(scale) => Some(merge_channel_scale(params, w, scale)),
        Plug::Bottleneck(_) => None,
    }
}

/// The value, in f32, that the parameter `id` gets from the plug of its layer: of the layer's weight, or of its bias.
/// `None` if no plug changes it, or if no plain layer computes the same as the layer with its plug.
pub fn merged_value(params: &Parameters, id: ParamId) -> Option<Tensor> {
    if let Some(plug) = params.plug(id) {
        return merge_plug(params, id, plug).map(|merged| merged.weight);
    }
    let parameter = params.get(id);
    let weight = params.find(&format!("{}.weight", parameter.name().strip_suffix(".bias")?))?;
    let factors = merge_plug(params, weight, params.plug(weight)?)?.bias_factors?;
    let mut value = parameter.value().to_precision(Precision::F32);
    value.data_mut().iter_mut().zip(factors.data()).for_each(|(bias, factor)| *bias *= factor);
    Some(value)
}

/// `W + s B A`. With a magnitude `m` (DoRA), every row of the sum is divided by its norm and multiplied by its
/// element of `m`.
fn merge_low_rank(params: &Parameters, mut w: Tensor, path: LowRank) -> MergedLayer {
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
    MergedLayer { weight: w, bias_factors: None }
}

/// Multiplies the columns by the factors of input channels, or the rows and the bias by those of output
/// channels.
fn merge_channel_scale(params: &Parameters, mut w: Tensor, scale: ChannelScale) -> MergedLayer {
    let factors = params.get(scale.vector).value();
    let inner = w.len() / w.shape()[0];
    let values = factors.data();
    w.data_mut().par_chunks_mut(inner).enumerate().for_each(|(o, row)| match scale.input {
        true => row.iter_mut().zip(values).for_each(|(w, factor)| *w *= factor),
        false => row.iter_mut().for_each(|w| *w *= values[o]),
    });
    let bias_factors = (!scale.input).then(|| factors.clone().reshape(&[factors.len()]));
    MergedLayer { weight: w, bias_factors }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{assert_close, random_parameters};
    use crate::ops::{Output, linear, low_rank_linear, merged_row_norms, scale_channels};
    use crate::tensor::Graph;

    /// The parameters are x, W, b, A, B, magnitudes, factors of input channels and of output channels.
    #[test]
    fn a_merged_layer_matches_the_layer_with_its_plug() {
        let shapes: [&[usize]; 8] =
            [&[5, 6], &[7, 6], &[7], &[2, 6], &[7, 2], &[7], &[1, 6], &[7, 1]];
        let (params, id) = random_parameters(&shapes);
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
        let with = |plug: Plug| {
            let g = &mut Graph::inference(&params);
            let x = g.parameter(id[0]);
            match plug {
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
                Plug::Bottleneck(_) => unreachable!("a bottleneck cannot be merged"),
            }
        };
        for plug in [
            Plug::LowRank(path(None)),
            Plug::LowRank(path(Some(id[5]))),
            Plug::ChannelScale(ChannelScale { vector: id[6], input: true }),
            Plug::ChannelScale(ChannelScale { vector: id[7], input: false }),
        ] {
            let merged = merge_plug(&params, id[1], plug).unwrap();
            let mut plain = params.clone();
            plain.get_mut(id[1]).set(merged.weight);
            if let Some(factors) = merged.bias_factors {
                let bias = plain.get_mut(id[2]).value_mut().data_mut();
                bias.iter_mut().zip(factors.data()).for_each(|(b, factor)| *b *= factor);
            }
            let g = &mut Graph::inference(&plain);
            let x = g.parameter(id[0]);
            let y = linear(g, &x, layer.0, layer.1, Output::F32);
            assert_close(y.value.data(), with(plug).value.data(), 1e-6);
        }
    }
}
