//! Attention layers: a vision transformer's, with one matrix for queries, keys and values, and
//! BERT's, with three, over its own tower or another.

use std::sync::Arc;

use super::{DropoutSite, DropoutStreams, LayerNorm, Linear, prefix};
use crate::ops::{self, AttentionSpec, DropoutStream, KvCache};
use crate::tensor::{
    AttentionProjection, Graph, Module, NormPosition, Recompute, Scope, Tensor, Var,
};

/// Why a key bias is never trained: it adds the same to every score of a query's row.
pub(super) const KEY_BIAS: &str =
    "a key bias shifts all scores of a row alike, and softmax undoes that";

/// Self-attention whose queries, keys and values come from one matrix.
#[derive(Debug, Clone)]
pub struct FusedAttention {
    qkv: Linear,
    projection: Linear,
    heads: usize,
}

impl FusedAttention {
    /// Declares `qkv [3C, C]` and `projection [C, C]`. (The key third of the qkv bias gets no
    /// gradient, but it is no parameter of its own.)
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

    /// `residual + attention(x)`, both `[B, T, C]`.
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

/// Which keys a query sees.
#[derive(Debug, Clone, Default)]
pub struct AttentionMask {
    /// Only those up to its own position.
    pub causal: bool,
    /// `[B]`: only the first so many; all of them if absent.
    pub lengths: Option<Arc<[usize]>>,
}

impl AttentionMask {
    /// The same of keys behind `before` others, which every query sees.
    fn after(&self, before: usize) -> Self {
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
    /// Where its probabilities and its output are dropped.
    places: [DropoutSite; 2],
}

impl Attention {
    /// Self-attention: declares `self.{query,key,value}` and `output.{dense,LayerNorm}`.
    pub fn declare_self(scope: &mut Scope<'_>, width: usize, heads: usize, eps: f32) -> Self {
        let places = [DropoutSite::Probabilities, DropoutSite::Attention];
        let role = (Module::Attention as fn(_) -> _, NormPosition::Attention, places);
        Self::declare(scope, [width; 2], heads, eps, role)
    }

    /// Cross-attention to a sequence `source` wide: the same names.
    pub fn declare_cross(
        scope: &mut Scope<'_>,
        width: usize,
        source: usize,
        heads: usize,
        eps: f32,
    ) -> Self {
        let places = [DropoutSite::CrossProbabilities, DropoutSite::CrossAttention];
        let role = (Module::CrossAttention as fn(_) -> _, NormPosition::CrossAttention, places);
        Self::declare(scope, [width, source], heads, eps, role)
    }

    fn declare(
        scope: &mut Scope<'_>,
        [width, source]: [usize; 2],
        heads: usize,
        eps: f32,
        (part, norm, places): (fn(AttentionProjection) -> Module, NormPosition, [DropoutSite; 2]),
    ) -> Self {
        let mut linear = |name: &str, inner: usize, which: AttentionProjection| {
            Linear::declare(scope, name, [width, inner], part(which))
        };
        let query = linear("self.query", width, AttentionProjection::Query);
        let key = linear("self.key", source, AttentionProjection::Key);
        let value = linear("self.value", source, AttentionProjection::Value);
        let dense = linear("output.dense", width, AttentionProjection::Output);
        let norm = LayerNorm::declare(scope, "output.LayerNorm", width, eps, norm);
        key.mark_bias_inert(scope, KEY_BIAS);
        Self { query, key, value, dense, norm, heads, places }
    }

    /// Queries from `x [B, Tq, C]`, keys and values from `source [B, Tk, S]` (`x` itself in
    /// self-attention). Gives `[B, Tq, C]`.
    pub fn forward(
        &self,
        g: &mut Graph<'_>,
        x: &Var,
        source: &Var,
        seen: &AttentionMask,
        dropout: &DropoutStreams,
    ) -> Var {
        let before = prefix::prefix_length(g, &self.key);
        let spec = self.spec(&seen.after(before), dropout.attention_dropout(self.places[0]));
        let [query, key, value] = [&self.query, &self.key, &self.value].map(Linear::clone);
        let context =
            g.recompute_in_backward(Recompute::Attention, [x, source], move |g, [x, source]| {
                let q = query.forward_autocast(g, x);
                let own = [key.forward_autocast(g, source), value.forward_autocast(g, source)];
                let [k, v] = prefix::prepend_prefix(g, &key, own);
                ops::attention(g, &q, &k, &v, spec.clone())
            });
        let y =
            self.dense.add_with_dropout(g, &context, x, x, dropout.hidden_dropout(self.places[1]));
        self.norm.forward(g, &y)
    }

    /// Keys and values of `source [B, T, S]`, each `[B, T, C]`, for a cache.
    pub fn project_keys_values(&self, g: &mut Graph<'_>, source: &Var) -> [Tensor; 2] {
        [&self.key, &self.value].map(|layer| layer.forward(g, source).value)
    }

    /// A cache of keys and values like `like [B, T, C]`, with room for `room` rows more than a prefix has,
    /// which is all it holds.
    pub fn new_cache(&self, g: &mut Graph<'_>, like: &Tensor, room: usize) -> KvCache {
        let mut cache = KvCache::new(like, prefix::prefix_length(g, &self.key) + room);
        let none = like.empty_like(&[like.shape()[0], 0, like.width()], like.precision());
        let none = [none.clone(), none].map(Var::constant);
        let [keys, values] = prefix::prepend_prefix(g, &self.key, none);
        cache.append(&keys.value, &values.value);
        cache
    }

    /// Queries from `x [B, Tq, C]` over cached keys and values, without gradients.
    pub fn forward_cached(
        &self,
        g: &mut Graph<'_>,
        x: &Var,
        cache: &KvCache,
        seen: &AttentionMask,
    ) -> Var {
        let q = self.query.forward_autocast(g, x);
        let context = ops::cached_attention(&q.value, cache, &self.spec(seen, None), g.precision());
        let y = self.dense.add_with_dropout(g, &Var::constant(context), x, x, None);
        self.norm.forward(g, &y)
    }

    fn spec(&self, seen: &AttentionMask, dropout: Option<DropoutStream>) -> AttentionSpec {
        AttentionSpec {
            heads: self.heads,
            causal: seen.causal,
            key_lengths: seen.lengths.clone(),
            dropout,
            ..AttentionSpec::default()
        }
    }
}
