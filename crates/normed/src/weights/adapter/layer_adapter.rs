//! The tensors that an adapter adds to one layer.

use std::collections::BTreeMap;

use super::config::Config;
use super::layout::module_of;
use super::peft_parameter::PeftParameter;
use crate::tensor::{LowRankConfig, ParamId, Parameters, Tensor};

/// The tensors that an adapter adds to one layer, with checked shapes.
pub(super) struct LayerAdapter {
    weight: ParamId,
    tensors: PluggedTensors,
}

/// The tensors of one form.
enum PluggedTensors {
    LowRank { config: LowRankConfig, a: Tensor, b: Tensor, magnitude: Option<Tensor> },
    Scale { input: bool, vector: Tensor },
}

impl LayerAdapter {
    /// Checks the tensors `added` to the layer with this weight.
    ///
    /// # Errors
    /// If one is missing, superfluous or of the wrong shape.
    pub fn new(
        weight: ParamId,
        mut added: BTreeMap<PeftParameter, Tensor>,
        config: &Config,
        params: &Parameters,
    ) -> Result<Self, String> {
        let tensors = match added.remove(&PeftParameter::Scale) {
            Some(vector) => Self::scale(weight, vector, params)?,
            None => Self::low_rank(weight, added, config, params)?,
        };
        Ok(Self { weight, tensors })
    }

    fn scale(
        weight: ParamId,
        vector: Tensor,
        params: &Parameters,
    ) -> Result<PluggedTensors, String> {
        let layer = params.get(weight);
        let (out, inner) = layer.shape().split_at(1);
        let is_convolution = inner.len() > 1;
        let shape = vector.shape();
        let input = !is_convolution && shape == [1, inner[0]];
        let output = match is_convolution {
            false => shape == [out[0], 1],
            true => vector.len() == out[0] && shape.get(1) == Some(&out[0]),
        };
        match input || output {
            true => Ok(PluggedTensors::Scale { input, vector }),
            false => {
                let wanted = format!("a vector of {out:?} or {inner:?}");
                Err(wrong_shape(layer.name(), PeftParameter::Scale, shape, &wanted))
            }
        }
    }

    fn low_rank(
        weight: ParamId,
        mut added: BTreeMap<PeftParameter, Tensor>,
        config: &Config,
        params: &Parameters,
    ) -> Result<PluggedTensors, String> {
        let layer = params.get(weight);
        let module = module_of(layer.name());
        let (out, inner) = layer.shape().split_at(1);
        let config = config.low_rank(module)?;
        let mut take = |parameter: PeftParameter, wanted: &[usize]| {
            let suffix = parameter.suffix();
            let tensor =
                added.remove(&parameter).ok_or_else(|| format!("{module}{suffix} is missing"))?;
            let fits = match parameter {
                // A convolution's has more dimensions.
                PeftParameter::Magnitude => tensor.len() == wanted[0],
                _ => tensor.shape() == wanted,
            };
            let wrong =
                || wrong_shape(layer.name(), parameter, tensor.shape(), &format!("{wanted:?}"));
            if fits { Ok(tensor) } else { Err(wrong()) }
        };
        let a = take(PeftParameter::LowRankA, &[&[config.rank], inner].concat())?;
        let b_shape = match inner.len() > 1 {
            true => vec![out[0], config.rank, 1, 1],
            false => vec![out[0], config.rank],
        };
        let b = take(PeftParameter::LowRankB, &b_shape)?;
        let magnitude =
            config.has_magnitude.then(|| take(PeftParameter::Magnitude, out)).transpose()?;
        match added.is_empty() {
            true => Ok(PluggedTensors::LowRank { config, a, b, magnitude }),
            false => Err(format!("{module} has a magnitude, but use_dora is false")),
        }
    }

    /// Plugs the tensors into the layer's socket; returns the parameters that this adds.
    pub fn plug_in(self, params: &mut Parameters) -> Vec<ParamId> {
        let values: Vec<_> = match self.tensors {
            PluggedTensors::LowRank { config, a, b, magnitude } => {
                let added = params.plug_low_rank(self.weight, config);
                let magnitude = added.magnitude.zip(magnitude);
                [(added.a, a), (added.b, b)].into_iter().chain(magnitude).collect()
            }
            PluggedTensors::Scale { input, vector } => {
                vec![(params.plug_channel_scale(self.weight, input).vector, vector)]
            }
        };
        let mut ids = Vec::with_capacity(values.len());
        for (id, value) in values {
            let parameter = params.get_mut(id);
            parameter.set(value.reshape(parameter.shape()));
            ids.push(id);
        }
        ids
    }
}

fn wrong_shape(layer: &str, parameter: PeftParameter, found: &[usize], wanted: &str) -> String {
    format!("{}{} is {found:?} instead of {wanted}", module_of(layer), parameter.suffix())
}
