//! IA3 (Liu et al. 2022, arXiv 2205.05638): keys, values and the inside of feed-forward networks, channel by
//! channel.

use serde::Serialize;

use super::Target;
use crate::tensor::{AttentionProjection, ChannelScale, Module, Parameters, Tensor};

/// What `method = "ia3"` can be told.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ia3Options {
    /// The layers. What leads back to the residual stream, `output` and `fc2`, has the channels of its input
    /// multiplied, any other those of its output.
    pub targets: Vec<Target>,
}

impl Default for Ia3Options {
    /// The paper's: keys, values, and what goes into `fc2`.
    fn default() -> Self {
        Self { targets: vec![Target::Key, Target::Value, Target::Fc2] }
    }
}

/// Whether the channels of such a layer's input are multiplied.
pub(super) fn multiplies_input(part: Module) -> bool {
    use AttentionProjection::Output;
    matches!(
        part,
        Module::Fc2 | Module::Down | Module::Attention(Output) | Module::CrossAttention(Output)
    )
}

/// Ones: nothing changes.
pub(super) fn initialize(params: &mut Parameters, delta: ChannelScale) {
    let vector = params.get_mut(delta.vector);
    vector.set(Tensor::new(&vector.shape.clone(), vec![1.0; vector.len()]));
}
