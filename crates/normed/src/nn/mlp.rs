//! The feed-forward network of a block.

use super::{Linear, residual};
use crate::ops::{self, DropoutStream, Output};
use crate::tensor::{Graph, Part, Scope, Var};

/// `fc2(gelu(fc1(x)))`.
#[derive(Debug, Clone)]
pub struct Mlp {
    /// `[intermediate, hidden]`.
    pub fc1: Linear,
    /// `[hidden, intermediate]`.
    pub fc2: Linear,
}

impl Mlp {
    /// Declares the two layers under the names that the checkpoint gives them.
    pub fn declare(
        scope: &mut Scope<'_>,
        [fc1, fc2]: [&str; 2],
        hidden: usize,
        intermediate: usize,
    ) -> Self {
        Self {
            fc1: Linear::declare(scope, fc1, [intermediate, hidden], Part::Fc1),
            fc2: Linear::declare(scope, fc2, [hidden, intermediate], Part::Fc2),
        }
    }

    /// `residual + fc2(gelu(fc1(x)))`, elements of the latter dropped.
    pub fn add(
        &self,
        g: &mut Graph<'_>,
        x: &Var,
        residual: &Var,
        drop: Option<DropoutStream>,
    ) -> Var {
        residual::add(g, residual, drop, |g, output| self.output(g, x, output))
    }

    /// As [`Mlp::add`], dropped for whole examples.
    pub fn add_path(
        &self,
        g: &mut Graph<'_>,
        x: &Var,
        residual: &Var,
        drop: Option<DropoutStream>,
    ) -> Var {
        residual::add_path(g, residual, drop, |g, output| self.output(g, x, output))
    }

    fn output(&self, g: &mut Graph<'_>, x: &Var, output: Output<'_>) -> Var {
        let [fc1, fc2] = [&self.fc1, &self.fc2].map(|layer| (layer.weight, layer.bias));
        ops::mlp(g, x, fc1, fc2, output)
    }
}
