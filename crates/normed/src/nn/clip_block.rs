//! CLIP's block (Radford et al. 2021, arXiv 2103.00020): the vision transformer's, but with separate matrices
//! for queries, keys and values, and another activation.

use super::{BlockConfig, DropoutSite, DropoutStreams, LayerNorm, Mlp, SelfAttention};
use crate::tensor::{Graph, NormPosition, Recompute, Scope, Var};

/// `x + attention(norm(x))`, then `x + mlp(norm(x))`.
#[derive(Debug, Clone)]
pub struct ClipBlock {
    self_attn: SelfAttention,
    layer_norm1: LayerNorm,
    mlp: Mlp,
    layer_norm2: LayerNorm,
}

impl ClipBlock {
    /// Declares `self_attn`, `layer_norm1`, `mlp` and `layer_norm2`.
    pub fn declare(scope: &mut Scope<'_>, w: BlockConfig) -> Self {
        let self_attn = SelfAttention::declare_clip(&mut scope.sub("self_attn"), w.hidden, w.heads);
        let norm = |scope: &mut Scope<'_>, name, place| {
            LayerNorm::declare(scope, name, w.hidden, w.eps, place)
        };
        let layer_norm1 = norm(scope, "layer_norm1", NormPosition::Attention);
        let names = ["fc1", "fc2"];
        let widths = [w.hidden, w.intermediate];
        let mlp = Mlp::declare(&mut scope.sub("mlp"), names, widths, w.activation);
        let layer_norm2 = norm(scope, "layer_norm2", NormPosition::Ffn);
        Self { self_attn, layer_norm1, mlp, layer_norm2 }
    }

    /// The block's output `[B, T, C]` for `x [B, T, C]`.
    pub fn forward(&self, g: &mut Graph<'_>, x: &Var, dropout: &DropoutStreams) -> Var {
        let (block, dropout) = (self.clone(), dropout.clone());
        g.recompute_in_backward(Recompute::Blocks, [x], move |g, [x]| {
            let h = block.layer_norm1.forward_autocast(g, x);
            let x = block.self_attn.add_to_residual(g, &h, x, None, &dropout);
            let h = block.layer_norm2.forward_autocast(g, &x);
            g.as_final_op(|g| {
                block.mlp.add_with_drop_path(g, &h, &x, dropout.drop_path(DropoutSite::Ffn))
            })
        })
    }
}
