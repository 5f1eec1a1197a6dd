//! BLIP's transformer blocks: the vision transformer's, with norms before each sublayer, and BERT's, with
//! norms after it.

use super::{
    Attention, AttentionMask, DropoutSite, DropoutStreams, FusedAttention, LayerNorm, Mlp,
};
use crate::ops::{Activation, KvCache};
use crate::tensor::{Graph, NormPosition, Recompute, Scope, Var};

/// The sizes of a block.
#[derive(Debug, Clone, Copy)]
pub struct BlockConfig {
    /// Width of the residual stream.
    pub hidden: usize,
    /// Width inside the feed-forward network.
    pub intermediate: usize,
    /// Number of attention heads.
    pub heads: usize,
    /// Epsilon of the norms.
    pub eps: f32,
    /// The activation inside the feed-forward network.
    pub activation: Activation,
}

/// `x + attention(norm(x))`, then `x + mlp(norm(x))` (Dosovitskiy et al. 2020, arXiv 2010.11929,
/// eq. 2 and 3).
#[derive(Debug, Clone)]
pub struct PreNormBlock {
    attention: FusedAttention,
    norm1: LayerNorm,
    mlp: Mlp,
    norm2: LayerNorm,
}

impl PreNormBlock {
    /// Declares `self_attn`, `layer_norm1`, `mlp`, `layer_norm2`.
    pub fn declare(scope: &mut Scope<'_>, w: BlockConfig) -> Self {
        Self {
            attention: FusedAttention::declare(&mut scope.sub("self_attn"), w.hidden, w.heads),
            norm1: LayerNorm::declare(
                scope,
                "layer_norm1",
                w.hidden,
                w.eps,
                NormPosition::Attention,
            ),
            mlp: Mlp::declare(
                &mut scope.sub("mlp"),
                ["fc1", "fc2"],
                [w.hidden, w.intermediate],
                w.activation,
            ),
            norm2: LayerNorm::declare(scope, "layer_norm2", w.hidden, w.eps, NormPosition::Ffn),
        }
    }

    /// The block's output `[B, T, C]` for `x [B, T, C]`.
    pub fn forward(&self, g: &mut Graph<'_>, x: &Var, dropout: &DropoutStreams) -> Var {
        let (block, dropout) = (self.clone(), dropout.clone());
        g.recompute_in_backward(Recompute::Blocks, [x], move |g, [x]| {
            block.sublayers(g, x, &dropout)
        })
    }

    fn sublayers(&self, g: &mut Graph<'_>, x: &Var, dropout: &DropoutStreams) -> Var {
        let h = self.norm1.forward_autocast(g, x);
        let x = self.attention.add_to_residual(g, &h, x, dropout);
        let h = self.norm2.forward_autocast(g, &x);
        g.as_final_op(|g| {
            self.mlp.add_with_drop_path(g, &h, &x, dropout.drop_path(DropoutSite::Ffn))
        })
    }
}

/// `norm(x + attention(x))`, `norm(x + cross_attention(x, source))`, `norm(x + mlp(x))`: BERT's block with
/// BLIP's cross-attention in the middle (Li et al. 2022, arXiv 2201.12086, section 3.1).
#[derive(Debug, Clone)]
pub struct PostNormBlock {
    attention: Attention,
    cross_attention: Attention,
    mlp: Mlp,
    norm: LayerNorm,
}

/// A block's cached keys and values while a batch is decoded.
#[derive(Debug, Clone)]
pub struct BlockCache {
    /// The keys and values of the self-attention, for the tokens so far.
    pub own: KvCache,
    /// The keys and values of the cross-attention, for the source.
    pub cross: KvCache,
}

impl PostNormBlock {
    /// Declares `attention`, `crossattention` to states of width `source`, `intermediate` and `output`.
    pub fn declare(scope: &mut Scope<'_>, w: BlockConfig, source: usize) -> Self {
        let attention = &mut scope.sub("attention");
        let attention = Attention::declare_self(attention, w.hidden, w.heads, w.eps);
        let cross = &mut scope.sub("crossattention");
        let names = ["intermediate.dense", "output.dense"];
        Self {
            attention,
            cross_attention: Attention::declare_cross(cross, w.hidden, source, w.heads, w.eps),
            mlp: Mlp::declare(scope, names, [w.hidden, w.intermediate], w.activation),
            norm: LayerNorm::declare(scope, "output.LayerNorm", w.hidden, w.eps, NormPosition::Ffn),
        }
    }

    /// The block's output `[B, T, C]` for `x [B, T, C]`, which attends to itself under `self_mask` and to
    /// `source [B, S, C']` under `cross_mask`.
    pub fn forward(
        &self,
        g: &mut Graph<'_>,
        x: &Var,
        self_mask: &AttentionMask,
        source: &Var,
        cross_mask: &AttentionMask,
        dropout: &DropoutStreams,
    ) -> Var {
        let (block, dropout) = (self.clone(), dropout.clone());
        let (self_mask, cross_mask) = (self_mask.clone(), cross_mask.clone());
        g.recompute_in_backward(Recompute::Blocks, [x, source], move |g, [x, source]| {
            let x = block.attention.forward(g, x, x, &self_mask, &dropout);
            let x = block.cross_attention.forward(g, &x, source, &cross_mask, &dropout);
            block.feed_forward(g, &x, &dropout)
        })
    }

    /// A cache with room for `room` tokens in each row of `source [B, S, C']`, whose keys and values it holds.
    pub fn new_cache(&self, g: &mut Graph<'_>, source: &Var, room: usize) -> BlockCache {
        let [keys, values] = self.cross_attention.project_keys_values(g, source);
        let mut cross = KvCache::new(&keys, keys.shape()[1]);
        cross.append(&keys, &values);
        BlockCache { own: self.attention.new_cache(g, &keys, room), cross }
    }

    /// As [`PostNormBlock::forward`] for tokens `x [B, T, C]` that follow those in the cache, without
    /// gradients. Their keys and values are appended to it.
    pub fn step(
        &self,
        g: &mut Graph<'_>,
        x: Var,
        cache: &mut BlockCache,
        cross_mask: &AttentionMask,
    ) -> Var {
        let [keys, values] = self.attention.project_keys_values(g, &x);
        cache.own.append(&keys, &values);
        let self_mask = AttentionMask { causal: true, lengths: None };
        let x = self.attention.forward_cached(g, &x, &cache.own, &self_mask);
        let x = self.cross_attention.forward_cached(g, &x, &cache.cross, cross_mask);
        self.feed_forward(g, &x, &DropoutStreams::none())
    }

    fn feed_forward(&self, g: &mut Graph<'_>, x: &Var, dropout: &DropoutStreams) -> Var {
        let y = self.mlp.add_with_dropout(g, x, x, dropout.hidden_dropout(DropoutSite::Ffn));
        self.norm.forward(g, &y)
    }
}
