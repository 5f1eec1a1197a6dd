//! A linear layer, and the sum that it often ends in.

use super::{bottleneck, delta, residual};
use crate::ops::{self, DropoutStream, Output};
use crate::tensor::{Graph, Module, ParamId, ParamKind, Plug, Scope, Var};

/// `y = x Wᵀ (+ b)`.
#[derive(Debug, Clone)]
pub struct Linear {
    /// `[out, in]`.
    pub weight: ParamId,
    /// `[out]`, if it has one.
    pub bias: Option<ParamId>,
}

impl Linear {
    /// Declares `name.weight [out, in]` and `name.bias [out]`.
    pub fn declare(
        scope: &mut Scope<'_>,
        name: &str,
        [out, inner]: [usize; 2],
        part: Module,
    ) -> Self {
        Self::declare_with(scope, name, [out, inner], part, true)
    }

    /// Declares `name.weight [out, in]`, and `name.bias [out]` if it is to have one.
    pub fn declare_with(
        scope: &mut Scope<'_>,
        name: &str,
        [out, inner]: [usize; 2],
        part: Module,
        has_bias: bool,
    ) -> Self {
        let mut scope = scope.sub(name);
        let weight = scope.declare("weight", &[out, inner], part, ParamKind::Weight);
        let bias = has_bias.then(|| scope.declare("bias", &[out], part, ParamKind::Bias));
        Self { weight, bias }
    }

    /// Says that no loss can move the bias, if there is one, and why.
    pub(super) fn mark_bias_inert(&self, scope: &mut Scope<'_>, why: &'static str) {
        if let Some(bias) = self.bias {
            scope.mark_inert(bias, why);
        }
    }

    /// Weight and bias, as operations over several layers take them.
    pub(super) fn ids(&self) -> (ParamId, Option<ParamId>) {
        (self.weight, self.bias)
    }

    /// `x [.., in] -> [.., out]`, f32.
    pub fn forward(&self, g: &mut Graph<'_>, x: &Var) -> Var {
        self.output(g, x, Output::F32)
    }

    /// As [`Linear::forward`] in the run's precision, for an attention or an activation.
    pub fn forward_autocast(&self, g: &mut Graph<'_>, x: &Var) -> Var {
        self.output(g, x, Output::RunPrecision)
    }

    /// `residual + forward(x)`, elements of the latter dropped, of a layer that ends a sublayer, whose input
    /// was `input`.
    pub(super) fn add_with_dropout(
        &self,
        g: &mut Graph<'_>,
        x: &Var,
        input: &Var,
        residual: &Var,
        drop: Option<DropoutStream>,
    ) -> Var {
        residual::add_with_dropout(g, residual, drop, |g, output| {
            self.forward_as_sublayer_end(g, x, input, output)
        })
    }

    /// As [`Linear::end`], dropped for whole examples.
    pub(super) fn add_with_drop_path(
        &self,
        g: &mut Graph<'_>,
        x: &Var,
        input: &Var,
        residual: &Var,
        drop: Option<DropoutStream>,
    ) -> Var {
        residual::add_with_drop_path(g, residual, drop, |g, output| {
            self.forward_as_sublayer_end(g, x, input, output)
        })
    }

    /// The output of a layer that ends a sublayer, whose input was `input`.
    pub(super) fn forward_as_sublayer_end(
        &self,
        g: &mut Graph<'_>,
        x: &Var,
        input: &Var,
        output: Output<'_>,
    ) -> Var {
        match g.plug(self.weight) {
            Some(Plug::Bottleneck(adapter)) => {
                bottleneck::output(g, x, input, self.ids(), adapter, output)
            }
            _ => self.output(g, x, output),
        }
    }

    /// Whether something is plugged in.
    pub(super) fn has_delta(&self, g: &Graph<'_>) -> bool {
        g.plug(self.weight).is_some()
    }

    pub(super) fn output(&self, g: &mut Graph<'_>, x: &Var, output: Output<'_>) -> Var {
        match g.plug(self.weight) {
            None => ops::linear(g, x, self.weight, self.bias, output),
            Some(delta) => delta::output(g, x, self.ids(), delta, output),
        }
    }
}
