//! The attention layers of BLIP: the vision transformer's, with one matrix for queries, keys and values, and
//! BERT's, with three matrices, as self-attention and as cross-attention.

use std::sync::Arc;

use super::{DropoutSite, DropoutStreams, LayerNorm, Linear, prefix};
use crate::ops::{self, AttentionSpec, DropoutStream, KvCache};
use crate::tensor::{
    AttentionProjection, Graph, Module, NormPosition, Recompute, Scope, Tensor, Var,
};

/// Why the bias of keys is never trained: it adds the same to every score of a query.
pub(super) const KEY_BIAS: &str =
    "a key bias adds the same to all scores of a query, which softmax cancels";

/// Self-attention whose queries, keys and values come from one matrix.
#[derive(Debug, Clone)]
pub struct FusedAttention {
    qkv: Linear,
    projection: Linear,
    heads: usize,
}

impl FusedAttention {
    /// Declares `qkv [3C, C]` and `projection [C, C]`. (The keys' third of the qkv bias gets no gradient, but
    /// is not a parameter by itself.)
    pub fn declare(scope: &mut Scope<'_>, width: usize, heads: usize) -> Self {
        let (qkv, output) = (AttentionProjection::QueryKeyValue, AttentionProjection::Output);
        Self {
            qkv: Linear::declare(scope, "qkv", [3 * width, width], Module::Attention(qkv)),
            projection: Linear::declare(
                scope,
                "projection",
                [width, width],
                Module::Attention(output),
            ),
            heads,
        }
    }

    /// `residual + attention(x)`, both `[B, T, C]`, with stochastic depth.
    pub fn add_to_residual(
        &self,
        g: &mut Graph<'_>,
        x: &Var,
        residual: &Var,
        dropout: &DropoutStreams,
    ) -> Var {
        let spec = AttentionSpec {
            heads: self.heads,
            dropout: dropout.attention_dropout(DropoutSite::Probabilities),
            ..AttentionSpec::default()
        };
        let layer = self.qkv.clone();
        let context = g.recompute_in_backward(Recompute::Attention, [x], move |g, [x]| {
            let qkv = layer.forward_autocast(g, x);
            ops::self_attention(g, &qkv, spec.clone())
        });
        self.projection.add_with_drop_path(
            g,
            &context,
            x,
            residual,
            dropout.drop_path(DropoutSite::Attention),
        )
    }
}

/// Which keys a query attends to.
#[derive(Debug, Clone, Default)]
pub struct AttentionMask {
    /// Only the keys up to the query's own position.
    pub causal: bool,
    /// `[B]`: only the first keys, this many in each sequence; all keys if absent.
    pub lengths: Option<Arc<[usize]>>,
}

impl AttentionMask {
    /// The mask for the same keys after `before` others, which every query attends to.
    fn shift_by(&self, before: usize) -> Self {
        let lengths = self.lengths.as_ref().map(|all| all.iter().map(|n| n + before).collect());
        Self { causal: self.causal, lengths }
    }
}

/// BERT's attention: `LayerNorm(x + dropout(dense(attention(x, source))))`.
#[derive(Debug, Clone)]
pub struct Attention {
    query: Linear,
    key: Linear,
    value: Linear,
    dense: Linear,
    norm: LayerNorm,
    heads: usize,
    /// Where dropout acts on its probabilities and on its output.
    sites: [DropoutSite; 2],
}

impl Attention {
    /// A self-attention: declares `self.{query,key,value}` and `output.{dense,LayerNorm}`.
    pub fn declare_self(scope: &mut Scope<'_>, width: usize, heads: usize, eps: f32) -> Self {
        let sites = [DropoutSite::Probabilities, DropoutSite::Attention];
        let role = (Module::Attention as fn(_) -> _, NormPosition::Attention, sites);
        Self::declare(scope, [width; 2], heads, eps, role)
    }

    /// A cross-attention to states of width `source`: declares the same names.
    pub fn declare_cross(
        scope: &mut Scope<'_>,
        width: usize,
        source: usize,
        heads: usize,
        eps: f32,
    ) -> Self {
        let sites = [DropoutSite::CrossProbabilities, DropoutSite::CrossAttention];
        let role = (Module::CrossAttention as fn(_) -> _, NormPosition::CrossAttention, sites);
        Self::declare(scope, [width, source], heads, eps, role)
    }

    fn declare(
        scope: &mut Scope<'_>,
        [width, source]: [usize; 2],
        heads: usize,
        eps: f32,
        (module, norm, sites): (fn(AttentionProjection) -> Module, NormPosition, [DropoutSite; 2]),
    ) -> Self {
        let mut linear = |name: &str, inner: usize, which: AttentionProjection| {
            Linear::declare(scope, name, [width, inner], module(which))
        };
        let query = linear("self.query", width, AttentionProjection::Query);
        let key = linear("self.key", source, AttentionProjection::Key);
        let value = linear("self.value", source, AttentionProjection::Value);
        let dense = linear("output.dense", width, AttentionProjection::Output);
        let norm = LayerNorm::declare(scope, "output.LayerNorm", width, eps, norm);
        key.mark_bias_inert(scope, KEY_BIAS);
        Self { query, key, value, dense, norm, heads, sites }
    }

    /// `[B, Tq, C]`: queries come from `x [B, Tq, C]`, keys and values from `source [B, Tk, S]`, which is `x`
    /// itself in self-attention.
    pub fn forward(
        &self,
        g: &mut Graph<'_>,
        x: &Var,
        source: &Var,
        mask: &AttentionMask,
        dropout: &DropoutStreams,
    ) -> Var {
        let before = prefix::prefix_length(g, &self.key);
        let spec = self.spec(&mask.shift_by(before), dropout.attention_dropout(self.sites[0]));
        let [query, key, value] = [&self.query, &self.key, &self.value].map(Linear::clone);
        let context =
            g.recompute_in_backward(Recompute::Attention, [x, source], move |g, [x, source]| {
                let q = query.forward_autocast(g, x);
                let own = [key.forward_autocast(g, source), value.forward_autocast(g, source)];
                let [k, v] = prefix::prepend_prefix(g, &key, own);
                ops::attention(g, &q, &k, &v, spec.clone())
            });
        let y =
            self.dense.add_with_dropout(g, &context, x, x, dropout.hidden_dropout(self.sites[1]));
        self.norm.forward(g, &y)
    }

    /// The keys and values of `source [B, T, S]` for a cache, each `[B, T, C]`.
    pub fn project_keys_values(&self, g: &mut Graph<'_>, source: &Var) -> [Tensor; 2] {
        [&self.key, &self.value].map(|layer| layer.forward(g, source).value)
    }

    /// A cache of keys and values in the form of `like [B, T, C]`. It holds the prefix, if there is one, and has
    /// room for `room` more rows.
    pub fn new_cache(&self, g: &mut Graph<'_>, like: &Tensor, room: usize) -> KvCache {
        let mut cache = KvCache::new(like, prefix::prefix_length(g, &self.key) + room);
        let none = like.empty_like(&[like.shape()[0], 0, like.width()], like.precision());
        let none = [none.clone(), none].map(Var::constant);
        let [keys, values] = prefix::prepend_prefix(g, &self.key, none);
        cache.append(&keys.value, &values.value);
        cache
    }

    /// `[B, Tq, C]`: queries from `x [B, Tq, C]` attend to cached keys and values. No gradients.
    pub fn forward_cached(
        &self,
        g: &mut Graph<'_>,
        x: &Var,
        cache: &KvCache,
        mask: &AttentionMask,
    ) -> Var {
        let q = self.query.forward_autocast(g, x);
        let context = ops::cached_attention(&q.value, cache, &self.spec(mask, None), g.precision());
        let y = self.dense.add_with_dropout(g, &Var::constant(context), x, x, None);
        self.norm.forward(g, &y)
    }

    fn spec(&self, mask: &AttentionMask, dropout: Option<DropoutStream>) -> AttentionSpec {
        AttentionSpec {
            heads: self.heads,
            causal: mask.causal,
            key_lengths: mask.lengths.clone(),
            dropout,
            ..AttentionSpec::default()
        }
    }
}
