//! LayerNorm and RMSNorm: what this project tunes.

use crate::ops;
use crate::tensor::{Graph, Module, NormPosition, ParamId, ParamKind, Precision, Scope, Var};

/// LayerNorm over the last dimension.
#[derive(Debug, Clone)]
pub struct LayerNorm {
    /// `[C]`, the gain.
    pub weight: ParamId,
    /// `[C]`.
    pub bias: ParamId,
    eps: f32,
}

impl LayerNorm {
    /// Declares `name.weight [C]` and `name.bias [C]`.
    pub fn declare(
        scope: &mut Scope<'_>,
        name: &str,
        width: usize,
        eps: f32,
        place: NormPosition,
    ) -> Self {
        let mut scope = scope.sub(name);
        let weight = scope.declare("weight", &[width], Module::Norm(place), ParamKind::Weight);
        let bias = scope.declare("bias", &[width], Module::Norm(place), ParamKind::Bias);
        Self { weight, bias, eps }
    }

    /// `x [.., C] -> [.., C]`, f32.
    pub fn forward(&self, g: &mut Graph<'_>, x: &Var) -> Var {
        ops::layer_norm(g, x, self.weight, self.bias, self.eps, Precision::F32)
    }

    /// As [`LayerNorm::forward`] in the run's precision, where only linear layers read it.
    pub fn forward_autocast(&self, g: &mut Graph<'_>, x: &Var) -> Var {
        let precision = g.precision();
        ops::layer_norm(g, x, self.weight, self.bias, self.eps, precision)
    }
}

/// RMSNorm over the last dimension.
#[derive(Debug, Clone)]
pub struct RmsNorm {
    /// `[C]`, the gain.
    pub weight: ParamId,
    eps: f32,
}

impl RmsNorm {
    /// Declares `name.weight [C]`.
    pub fn declare(
        scope: &mut Scope<'_>,
        name: &str,
        width: usize,
        eps: f32,
        place: NormPosition,
    ) -> Self {
        let mut scope = scope.sub(name);
        Self {
            weight: scope.declare("weight", &[width], Module::Norm(place), ParamKind::Weight),
            eps,
        }
    }

    /// `x [.., C] -> [.., C]` in the run's precision, where only linear layers read it.
    pub fn forward_autocast(&self, g: &mut Graph<'_>, x: &Var) -> Var {
        let precision = g.precision();
        ops::rms_norm(g, x, self.weight, self.eps, precision)
    }
}
