//! Prefix-tuning (Li & Liang 2021, arXiv 2101.00190) and P-tuning v2 (Liu et al. 2021, arXiv 2110.07602):
//! virtual tokens, of which every self-attention sees keys and values of its own.

use serde::Serialize;

use crate::tensor::{
    AddedKind, Module, ParamId, Parameters, Role, Tensor, random_normal, random_uniform,
};

/// What `method = "prefix"` and `method = "p_tuning_v2"` can be told.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PrefixOptions {
    /// Virtual tokens.
    pub length: usize,
    /// Whether keys and values come out of a network over the tokens (as PEFT's `prefix_projection`), or
    /// are trained themselves, as `p_tuning_v2` has it whatever this says.
    pub projection: bool,
}

impl Default for PrefixOptions {
    fn default() -> Self {
        Self { length: 10, projection: true }
    }
}

/// As PyTorch starts tables and linear layers, and so PEFT a prefix: normal numbers of deviation 1, and
/// uniform ones within `1 / sqrt(in)`.
pub(super) fn initialize(params: &mut Parameters, seed: u64) {
    let prefixes: Vec<_> = params.prefixes().map(|(_, prefix)| prefix).collect();
    for id in prefixes.into_iter().flat_map(|prefix| prefix.parameters()) {
        start(params, id, seed);
    }
}

/// Gives a table or a part of a linear layer the values that PyTorch would draw such from. (A bias has
/// the bound of its matrix, which is as wide as it is long in a prefix.)
fn start(params: &mut Parameters, id: ParamId, seed: u64) {
    let p = params.get_mut(id);
    let shape = p.shape.clone();
    let values = match p.role.module {
        Module::Added(AddedKind::PrefixTable) => random_normal(p.len(), 1.0, seed, &p.name),
        _ => {
            let inputs = if shape.len() > 1 { shape[1] } else { bias_inputs(&shape, p.role) };
            random_uniform(p.len(), 1.0 / (inputs as f32).sqrt(), seed, &p.name)
        }
    };
    p.set(Tensor::new(&shape, values));
}

/// The inputs of the layer that a bias is of: the first has as many as outputs, the second, which is a
/// block's, half as many.
fn bias_inputs(shape: &[usize], role: Role) -> usize {
    if role.layer.is_some() { shape[0] / 2 } else { shape[0] }
}
