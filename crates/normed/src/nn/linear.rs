//! A linear layer, and the residual sum that it often ends in.

use super::{bottleneck, plug, residual};
use crate::ops::{self, DropoutStream, Output};
use crate::tensor::{Graph, Module, ParamId, ParamKind, Plug, Scope, Var};

/// A linear layer, `y = x Wᵀ + b`, or without `b`.
#[derive(Debug, Clone)]
pub struct Linear {
    /// `[out, in]`.
    pub weight: ParamId,
    /// `[out]`; none for a layer without bias.
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

    /// Declares `name.weight [out, in]`, and `name.bias [out]` if `has_bias`.
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

    /// Marks the bias, if there is one, as a parameter that no loss can move, with the reason.
    pub(super) fn mark_bias_inert(&self, scope: &mut Scope<'_>, why: &'static str) {
        if let Some(bias) = self.bias {
            scope.mark_inert(bias, why);
        }
    }

    /// The ids of weight and bias, as operations over several layers take them.
    pub(super) fn ids(&self) -> (ParamId, Option<ParamId>) {
        (self.weight, self.bias)
    }

    /// `[.., out]` for `x [.., in]`, in f32.
    pub fn forward(&self, g: &mut Graph<'_>, x: &Var) -> Var {
        self.output(g, x, Output::F32)
    }

    /// As [`Linear::forward`], in the run's precision: for an attention or an activation.
    pub fn forward_autocast(&self, g: &mut Graph<'_>, x: &Var) -> Var {
        self.output(g, x, Output::RunPrecision)
    }

    /// `residual + dropout(forward(x))`, for a layer that ends a sublayer with this `input`, which a parallel
    /// adapter reads.
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

    /// As [`Linear::add_with_dropout`], but whole examples are dropped (stochastic depth).
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

    /// The output of a layer that ends a sublayer with this `input`, which a parallel adapter reads.
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

    /// Whether a tuning method has plugged something in.
    pub(super) fn has_plug(&self, g: &Graph<'_>) -> bool {
        g.plug(self.weight).is_some()
    }

    /// The output in one of the forms of [`Output`].
    pub(super) fn output(&self, g: &mut Graph<'_>, x: &Var, output: Output<'_>) -> Var {
        match g.plug(self.weight) {
            None => ops::linear(g, x, self.weight, self.bias, output),
            Some(plug) => plug::output(g, x, self.ids(), plug, output),
        }
    }
}
