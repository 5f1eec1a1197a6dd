//! The projector, which turns an image encoder's states into tokens of a language model: one linear layer (Liu et
//! al. 2023, arXiv 2304.08485, section 4.1) or two with GELU between them (arXiv 2310.03744, section 3.3).

use crate::nn::{Linear, Mlp};
use crate::ops::Activation;
use crate::tensor::{Graph, Module, Scope, Var};

/// The kinds of projector; names are those of LLaVA's `mm_projector_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProjectorKind {
    /// One linear layer, `linear`: LLaVA 1.0's.
    Linear,
    /// Two linear layers, `mlp2x_gelu`: LLaVA 1.5's.
    Mlp2xGelu,
}

impl ProjectorKind {
    /// The number of linear layers.
    pub fn layers(self) -> usize {
        match self {
            Self::Linear => 1,
            Self::Mlp2xGelu => 2,
        }
    }
}

/// A projector: its layers, without their values.
#[derive(Debug, Clone)]
pub enum Projector {
    /// `linear_1(x)`.
    Linear(Linear),
    /// `linear_2(activation(linear_1(x)))`.
    Mlp(Mlp),
}

impl Projector {
    /// Declares `linear_1 [C', C]` and, if there are two layers, `linear_2 [C', C']`, as in transformers'
    /// `LlavaMultiModalProjector`; with biases if `has_bias`. The pair is `C` and `C'`; `activation` is between the
    /// two layers.
    pub fn declare(
        scope: &mut Scope<'_>,
        kind: ProjectorKind,
        [vision, text]: [usize; 2],
        has_bias: bool,
        activation: Activation,
    ) -> Self {
        let mut layer =
            |name, widths| Linear::declare_with(scope, name, widths, Module::Projector, has_bias);
        let linear_1 = layer("linear_1", [text, vision]);
        match kind {
            ProjectorKind::Linear => Self::Linear(linear_1),
            ProjectorKind::Mlp2xGelu => {
                let fc2 = layer("linear_2", [text, text]);
                Self::Mlp(Mlp { fc1: linear_1, fc2, activation })
            }
        }
    }

    /// `[P, N, C']` for `x [P, N, C]`, in f32.
    pub fn forward(&self, g: &mut Graph<'_>, x: &Var) -> Var {
        match self {
            Self::Linear(layer) => layer.forward(g, x),
            Self::Mlp(mlp) => mlp.forward(g, x),
        }
    }
}
