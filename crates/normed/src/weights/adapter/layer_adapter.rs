//! The tensors that an adapter adds to one layer.

use std::collections::BTreeMap;

use super::model_names::LayerKind;
use super::peft_parameter::PeftParameter;
use crate::ops::merged_value;
use crate::tensor::{
    LowRankConfig, Module, ParamId, ParamKind, Parameters, Precision, Tensor, Tower,
};

/// The tensors that an adapter adds to one layer, with checked shapes.
pub(super) struct LayerAdapter {
    tensors: PluggedTensors,
}

/// The tensors of one form.
enum PluggedTensors {
    LowRank { config: LowRankConfig, a: Tensor, b: Tensor, magnitude: Option<Tensor> },
    Scale { input: bool, vector: Tensor },
}

/// A layer that tensors are added to.
#[derive(Clone, Copy)]
pub(super) struct Layer<'a> {
    /// Its name.
    pub module: &'a str,
    /// Its kind.
    pub kind: LayerKind,
    /// The shape of its weight.
    pub shape: &'a [usize],
}

impl LayerAdapter {
    /// Checks the tensors `added` to a layer. `low_rank` gives the rank and scale of low-rank matrices.
    ///
    /// # Errors
    /// If one is missing, superfluous or of the wrong shape.
    pub fn new(
        layer: Layer<'_>,
        mut added: BTreeMap<PeftParameter, Tensor>,
        low_rank: impl FnOnce() -> Result<LowRankConfig, String>,
    ) -> Result<Self, String> {
        let tensors = match added.remove(&PeftParameter::Scale) {
            Some(vector) => scale(layer, vector)?,
            None => low_rank_matrices(layer, added, low_rank()?)?,
        };
        Ok(Self { tensors })
    }

    /// What the layer's bias grows by if `B` has this bias.
    pub fn bias_growth(&self, mut bias: Tensor) -> Tensor {
        if let PluggedTensors::LowRank { config, .. } = &self.tensors {
            bias.data_mut().iter_mut().for_each(|x| *x *= config.scale());
        }
        bias
    }

    /// Plugs the tensors into the socket of the layer with this weight; returns the parameters that this adds.
    pub fn plug_in(self, params: &mut Parameters, weight: ParamId) -> Vec<ParamId> {
        let values: Vec<_> = match self.tensors {
            PluggedTensors::LowRank { config, a, b, magnitude } => {
                let added = params.plug_low_rank(weight, config);
                let magnitude = added.magnitude.zip(magnitude);
                [(added.a, a), (added.b, b)].into_iter().chain(magnitude).collect()
            }
            PluggedTensors::Scale { input, vector } => {
                vec![(params.plug_channel_scale(weight, input).vector, vector)]
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

    /// The weight, in f32, with the tensors merged into it: of a layer of this kind, which has no socket. A table
    /// `[rows, C]` is the transpose of the matrix that PEFT adapts.
    pub fn merged_into(self, weight: &Tensor, kind: LayerKind) -> Tensor {
        let weight = weight.to_precision(Precision::F32);
        let weight = if kind == LayerKind::Table { transposed(&weight) } else { weight };
        let mut layer = Parameters::new();
        let id = layer.scope(Tower::Decoder, "").declare(
            "weight",
            weight.shape(),
            Module::Head,
            ParamKind::Weight,
        );
        layer.get_mut(id).set(weight);
        self.plug_in(&mut layer, id);
        let merged = merged_value(&layer, id).unwrap_or_else(|| layer.get(id).value().clone());
        if kind == LayerKind::Table { transposed(&merged) } else { merged }
    }
}

fn transposed(matrix: &Tensor) -> Tensor {
    let [rows, columns] = *matrix.shape() else { return matrix.clone() };
    let mut values = vec![0.0; matrix.len()];
    for (r, row) in matrix.data().chunks_exact(columns.max(1)).enumerate() {
        row.iter().enumerate().for_each(|(c, &x)| values[c * rows + r] = x);
    }
    Tensor::new(&[columns, rows], values)
}

fn scale(layer: Layer<'_>, vector: Tensor) -> Result<PluggedTensors, String> {
    let (out, inner) = layer.shape.split_at(1);
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
            Err(wrong_shape(layer, PeftParameter::Scale, shape, &wanted))
        }
    }
}

fn low_rank_matrices(
    layer: Layer<'_>,
    mut added: BTreeMap<PeftParameter, Tensor>,
    config: LowRankConfig,
) -> Result<PluggedTensors, String> {
    let Layer { module, kind, shape } = layer;
    let table = [shape[shape.len() - 1], shape[0]];
    let (out, inner) = if kind == LayerKind::Table { &table[..] } else { shape }.split_at(1);
    let mut take = |parameter: PeftParameter, wanted: &[usize]| {
        let suffix = parameter.suffix();
        let tensor = added.remove(&parameter);
        let tensor = tensor.ok_or_else(|| format!("{module}{suffix} is missing"))?;
        let fits = match parameter {
            // A convolution's has more dimensions.
            PeftParameter::Magnitude => tensor.len() == wanted[0],
            _ => tensor.shape() == wanted,
        };
        let wrong = || wrong_shape(layer, parameter, tensor.shape(), &format!("{wanted:?}"));
        if fits { Ok(tensor) } else { Err(wrong()) }
    };
    let [of_a, of_b] = match kind {
        LayerKind::Table => [PeftParameter::TableA, PeftParameter::TableB],
        LayerKind::Linear | LayerKind::TiedHead => {
            [PeftParameter::LowRankA, PeftParameter::LowRankB]
        }
    };
    let a = take(of_a, &[&[config.rank], inner].concat())?;
    let b_shape = match inner.len() > 1 {
        true => vec![out[0], config.rank, 1, 1],
        false => vec![out[0], config.rank],
    };
    let b = take(of_b, &b_shape)?;
    let magnitude =
        config.has_magnitude.then(|| take(PeftParameter::Magnitude, out)).transpose()?;
    match added.keys().next() {
        None => Ok(PluggedTensors::LowRank { config, a, b, magnitude }),
        Some(PeftParameter::Magnitude) => {
            Err(format!("{module} has a magnitude, but use_dora is false"))
        }
        Some(other) => Err(format!("{module}{} is unexpected", other.suffix())),
    }
}

fn wrong_shape(
    layer: Layer<'_>,
    parameter: PeftParameter,
    found: &[usize],
    wanted: &str,
) -> String {
    format!("{}{} is {found:?} instead of {wanted}", layer.module, parameter.suffix())
}
