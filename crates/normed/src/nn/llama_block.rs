//! LLaMA's block (Touvron et al. 2023, arXiv 2302.13971, section 2.2); Mistral's is the same.

use super::{AttentionShape, DropoutStreams, GatedMlp, RmsNorm, SelfAttention};
use crate::ops::{Activation, KvCache, RotaryTable};
use crate::tensor::{Graph, NormPosition, Recompute, Scope, Var};

/// The sizes of a LLaMA block.
#[derive(Debug, Clone, Copy)]
pub struct LlamaBlockConfig {
    /// Width of the residual stream.
    pub hidden: usize,
    /// Width inside the feed-forward network.
    pub intermediate: usize,
    /// Heads and mask of the attention.
    pub heads: AttentionShape,
    /// Epsilon of the norms.
    pub eps: f32,
    /// Whether the attention's linear layers have biases.
    pub attention_bias: bool,
    /// Whether the feed-forward network's linear layers have biases.
    pub mlp_bias: bool,
    /// The activation inside the feed-forward network.
    pub activation: Activation,
}

/// `x + attention(norm(x))`, then `x + mlp(norm(x))`.
#[derive(Debug, Clone)]
pub struct LlamaBlock {
    self_attn: SelfAttention,
    mlp: GatedMlp,
    input_layernorm: RmsNorm,
    post_attention_layernorm: RmsNorm,
}

impl LlamaBlock {
    /// Declares `self_attn`, `mlp`, `input_layernorm` and `post_attention_layernorm`.
    pub fn declare(scope: &mut Scope<'_>, w: LlamaBlockConfig) -> Self {
        let attention = &mut scope.sub("self_attn");
        let self_attn =
            SelfAttention::declare_llama(attention, w.hidden, w.heads, w.attention_bias);
        let widths = [w.hidden, w.intermediate];
        let mlp = GatedMlp::declare(&mut scope.sub("mlp"), widths, w.mlp_bias, w.activation);
        let mut norm = |name, place| RmsNorm::declare(scope, name, w.hidden, w.eps, place);
        let input_layernorm = norm("input_layernorm", NormPosition::Attention);
        let post_attention_layernorm = norm("post_attention_layernorm", NormPosition::Ffn);
        Self { self_attn, mlp, input_layernorm, post_attention_layernorm }
    }

    /// The block's output `[B, T, C]` for `x [B, T, C]`; `rotation` turns queries and keys.
    pub fn forward(
        &self,
        g: &mut Graph<'_>,
        x: &Var,
        rotation: &RotaryTable,
        dropout: &DropoutStreams,
    ) -> Var {
        let (block, rotation, dropout) = (self.clone(), rotation.clone(), dropout.clone());
        g.recompute_in_backward(Recompute::Blocks, [x], move |g, [x]| {
            let h = block.input_layernorm.forward_autocast(g, x);
            let x = block.self_attn.add_to_residual(g, &h, x, Some(&rotation), &dropout);
            block.feed_forward(g, &x)
        })
    }

    /// As [`LlamaBlock::forward`] for the start `x` of sequences, without gradients. Also gives the cache to
    /// continue from, with room for `room` more rows.
    pub fn prefill(
        &self,
        g: &mut Graph<'_>,
        x: &Var,
        rotation: &RotaryTable,
        room: usize,
    ) -> (Var, KvCache) {
        let h = self.input_layernorm.forward_autocast(g, x);
        let (x, cache) = self.self_attn.prefill(g, &h, x, Some(rotation), room);
        (self.feed_forward(g, &x), cache)
    }

    /// As [`LlamaBlock::forward`] for one more row `x [B, 1, C]` of each sequence, without gradients. Its keys
    /// and values are appended to the cache.
    pub fn step(
        &self,
        g: &mut Graph<'_>,
        x: &Var,
        rotation: &RotaryTable,
        cache: &mut KvCache,
    ) -> Var {
        let h = self.input_layernorm.forward_autocast(g, x);
        let x = self.self_attn.step(g, &h, x, Some(rotation), cache);
        self.feed_forward(g, &x)
    }

    /// The number of prefix keys before those of the sequences; 0 without prefix tuning.
    pub fn prefix_length(&self, g: &Graph<'_>) -> usize {
        self.self_attn.prefix_length(g)
    }

    fn feed_forward(&self, g: &mut Graph<'_>, x: &Var) -> Var {
        let h = self.post_attention_layernorm.forward_autocast(g, x);
        g.as_final_op(|g| self.mlp.add_to_residual(g, &h, x))
    }
}
