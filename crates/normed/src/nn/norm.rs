//! LayerNorm and RMSNorm, the layers that this project tunes.

use crate::ops;
use crate::tensor::{Graph, Module, NormPosition, ParamId, ParamKind, Precision, Scope, Var};

/// LayerNorm over the last dimension (Ba et al. 2016, arXiv 1607.06450).
#[derive(Debug, Clone)]
pub struct LayerNorm {
    /// The scale `[C]`.
    pub weight: ParamId,
    /// The shift `[C]`.
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

    /// `[.., C]` for `x [.., C]`, in f32.
    pub fn forward(&self, g: &mut Graph<'_>, x: &Var) -> Var {
        ops::layer_norm(g, x, self.weight, self.bias, self.eps, Precision::F32)
    }

    /// As [`LayerNorm::forward`], in the run's precision: for linear layers.
    pub fn forward_autocast(&self, g: &mut Graph<'_>, x: &Var) -> Var {
        let precision = g.precision();
        ops::layer_norm(g, x, self.weight, self.bias, self.eps, precision)
    }
}

/// RMSNorm over the last dimension (Zhang & Sennrich 2019, arXiv 1910.07467).
#[derive(Debug, Clone)]
pub struct RmsNorm {
    /// The scale `[C]`.
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

    /// `[.., C]` for `x [.., C]`, in the run's precision: for linear layers.
    pub fn forward_autocast(&self, g: &mut Graph<'_>, x: &Var) -> Var {
        let precision = g.precision();
        ops::rms_norm(g, x, self.weight, self.eps, precision)
    }
}
