//! The feed-forward networks of transformer blocks.

use super::{Linear, residual};
use crate::ops::{self, Activation, DropoutStream, Output};
use crate::tensor::{Graph, Module, Recompute, Scope, Var};

/// `fc2(activation(fc1(x)))`.
#[derive(Debug, Clone)]
pub struct Mlp {
    /// `[intermediate, hidden]`.
    pub fc1: Linear,
    /// `[hidden, intermediate]`.
    pub fc2: Linear,
    /// The activation between the two layers.
    pub activation: Activation,
}

impl Mlp {
    /// Declares the two layers under these names.
    pub fn declare(
        scope: &mut Scope<'_>,
        [fc1, fc2]: [&str; 2],
        [hidden, intermediate]: [usize; 2],
        activation: Activation,
    ) -> Self {
        Self {
            fc1: Linear::declare(scope, fc1, [intermediate, hidden], Module::Fc1),
            fc2: Linear::declare(scope, fc2, [hidden, intermediate], Module::Fc2),
            activation,
        }
    }

    /// `fc2(activation(fc1(x)))`, in f32.
    pub fn forward(&self, g: &mut Graph<'_>, x: &Var) -> Var {
        self.output(g, x, Output::F32)
    }

    /// `residual + dropout(forward(x))`.
    pub fn add_with_dropout(
        &self,
        g: &mut Graph<'_>,
        x: &Var,
        residual: &Var,
        drop: Option<DropoutStream>,
    ) -> Var {
        residual::add_with_dropout(g, residual, drop, |g, output| self.output(g, x, output))
    }

    /// As [`Mlp::add_with_dropout`], but whole examples are dropped (stochastic depth).
    pub fn add_with_drop_path(
        &self,
        g: &mut Graph<'_>,
        x: &Var,
        residual: &Var,
        drop: Option<DropoutStream>,
    ) -> Var {
        residual::add_with_drop_path(g, residual, drop, |g, output| self.output(g, x, output))
    }

    fn output(&self, g: &mut Graph<'_>, x: &Var, output: Output<'_>) -> Var {
        if ![&self.fc1, &self.fc2].iter().any(|layer| layer.has_plug(g)) {
            return ops::mlp(g, x, self.fc1.ids(), self.fc2.ids(), self.activation, output);
        }
        let (fc1, activation) = (self.fc1.clone(), self.activation);
        let h = g.recompute_in_backward(Recompute::Ffn, [x], move |g, [x]| {
            let h = fc1.forward_autocast(g, x);
            ops::activate(g, &h, activation)
        });
        self.fc2.forward_as_sublayer_end(g, &h, x, output)
    }
}

/// LLaMA's feed-forward network, `down_proj(activation(gate_proj(x)) ∘ up_proj(x))`.
#[derive(Debug, Clone)]
pub struct GatedMlp {
    gate_proj: Linear,
    up_proj: Linear,
    down_proj: Linear,
    activation: Activation,
}

impl GatedMlp {
    /// Declares `gate_proj`, `up_proj` and `down_proj`, with biases if `has_bias`.
    pub fn declare(
        scope: &mut Scope<'_>,
        [hidden, intermediate]: [usize; 2],
        has_bias: bool,
        activation: Activation,
    ) -> Self {
        let mut layer =
            |name, widths, part| Linear::declare_with(scope, name, widths, part, has_bias);
        Self {
            gate_proj: layer("gate_proj", [intermediate, hidden], Module::Gate),
            up_proj: layer("up_proj", [intermediate, hidden], Module::Up),
            down_proj: layer("down_proj", [hidden, intermediate], Module::Down),
            activation,
        }
    }

    /// `residual + down_proj(activation(gate_proj(x)) ∘ up_proj(x))`.
    pub fn add_to_residual(&self, g: &mut Graph<'_>, x: &Var, residual: &Var) -> Var {
        let layers = [&self.gate_proj, &self.up_proj, &self.down_proj];
        let output = Output::AddTo(residual);
        let is_plain = !layers.iter().any(|layer| layer.has_plug(g));
        if is_plain && self.activation == Activation::Silu {
            return ops::gated_mlp(g, x, layers.map(Linear::ids), output);
        }
        let [gate, up] = [&self.gate_proj, &self.up_proj].map(Linear::clone);
        let activation = self.activation;
        let h = g.recompute_in_backward(Recompute::Ffn, [x], move |g, [x]| {
            let (gated, raised) = (gate.forward_autocast(g, x), up.forward_autocast(g, x));
            ops::gated_linear_unit(g, &gated, &raised, activation)
        });
        self.down_proj.forward_as_sublayer_end(g, &h, x, output)
    }
}
