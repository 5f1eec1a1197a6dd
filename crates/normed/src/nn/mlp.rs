//! The feed-forward network of a block.

use super::Linear;
use crate::ops;
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

    /// `gelu(fc1(x)) [.., intermediate]`: the block says how [`Mlp::fc2`] joins the residual stream.
    pub fn activations(&self, g: &mut Graph<'_>, x: &Var) -> Var {
        let h = self.fc1.inner(g, x);
        ops::gelu(g, &h)
    }
}
