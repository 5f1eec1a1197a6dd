//! A linear layer, and the sum that it often ends in.

use crate::ops::{self, DropoutStream, Output};
use crate::tensor::{Graph, ParamId, Part, Scope, Term, Var};

/// `y = x Wᵀ + b`.
#[derive(Debug, Clone)]
pub struct Linear {
    /// `[out, in]`.
    pub weight: ParamId,
    /// `[out]`.
    pub bias: ParamId,
}

impl Linear {
    /// Declares `name.weight [out, in]` and `name.bias [out]`.
    pub fn declare(
        scope: &mut Scope<'_>,
        name: &str,
        [out, inner]: [usize; 2],
        part: Part,
    ) -> Self {
        let mut scope = scope.sub(name);
        let weight = scope.declare("weight", &[out, inner], part, Term::Weight);
        let bias = scope.declare("bias", &[out], part, Term::Bias);
        Self { weight, bias }
    }

    /// `x [.., in] -> [.., out]`, f32.
    pub fn forward(&self, g: &mut Graph<'_>, x: &Var) -> Var {
        ops::linear(g, x, self.weight, Some(self.bias), Output::Wide)
    }

    /// As [`Linear::forward`] in the run's precision, for an attention or an activation.
    pub fn inner(&self, g: &mut Graph<'_>, x: &Var) -> Var {
        ops::linear(g, x, self.weight, Some(self.bias), Output::Inner)
    }

    /// `residual + forward(x)`, elements of the latter dropped. Without dropout it is one operation.
    pub fn add(
        &self,
        g: &mut Graph<'_>,
        x: &Var,
        residual: &Var,
        drop: Option<DropoutStream>,
    ) -> Var {
        match drop {
            None => ops::linear(g, x, self.weight, Some(self.bias), Output::AddedTo(residual)),
            Some(_) => {
                let y = self.forward(g, x);
                ops::add_dropped(g, y, residual, drop)
            }
        }
    }

    /// `residual + forward(x)`, the latter dropped for whole examples (stochastic depth).
    pub fn add_path(
        &self,
        g: &mut Graph<'_>,
        x: &Var,
        residual: &Var,
        drop: Option<DropoutStream>,
    ) -> Var {
        match drop {
            None => ops::linear(g, x, self.weight, Some(self.bias), Output::AddedTo(residual)),
            Some(drop) => {
                let y = self.forward(g, x);
                ops::drop_path_add(g, y, residual, drop)
            }
        }
    }
}
