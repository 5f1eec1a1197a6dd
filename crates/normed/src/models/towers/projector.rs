//! What makes a language model's tokens of an image encoder's states: one layer (Liu et al. 2023, arXiv
//! 2304.08485, section 4.1) or two with GELU between (arXiv 2310.03744, section 3.3).

use crate::nn::{Linear, Mlp};
use crate::ops::Activation;
use crate::tensor::{Graph, Module, Scope, Var};

/// Which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProjectorKind {
    /// LLaVA 1.0's, `linear`.
    Linear,
    /// LLaVA 1.5's, `mlp2x_gelu`.
    Mlp2xGelu,
}

impl ProjectorKind {
    /// Its layers.
    pub fn layers(self) -> usize {
        match self {
            Self::Linear => 1,
            Self::Mlp2xGelu => 2,
        }
    }
}

/// A projector.
#[derive(Debug, Clone)]
pub enum Projector {
    /// `linear_1(x)`.
    Linear(Linear),
    /// `linear_2(gelu(linear_1(x)))`.
    Mlp(Mlp),
}

impl Projector {
    /// Declares `linear_1 [C', C]` and, where there are two, `linear_2 [C', C']`, under the names of
    /// transformers' `LlavaMultiModalProjector`, with biases if it is to have them.
    pub fn declare(
        scope: &mut Scope<'_>,
        kind: ProjectorKind,
        [vision, text]: [usize; 2],
        has_bias: bool,
    ) -> Self {
        let mut layer =
            |name, widths| Linear::declare_with(scope, name, widths, Module::Projector, has_bias);
        let linear_1 = layer("linear_1", [text, vision]);
        match kind {
            ProjectorKind::Linear => Self::Linear(linear_1),
            ProjectorKind::Mlp2xGelu => {
                let fc2 = layer("linear_2", [text, text]);
                Self::Mlp(Mlp { fc1: linear_1, fc2, activation: Activation::Gelu })
            }
        }
    }

    /// `[B, N, C] -> [B, N, C']`, f32.
    pub fn forward(&self, g: &mut Graph<'_>, x: &Var) -> Var {
        match self {
            Self::Linear(layer) => layer.forward(g, x),
            Self::Mlp(mlp) => mlp.forward(g, x),
        }
    }
}
