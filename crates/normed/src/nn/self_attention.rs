//! Self-attention with separate matrices for queries, keys and values, as in CLIP and LLaMA.

use super::attention::KEY_BIAS;
use super::{DropoutSite, DropoutStreams, Linear, prefix};
use crate::ops::{self, AttentionSpec, DropoutStream, KvCache, RotaryTable};
use crate::tensor::{AttentionProjection, Graph, Module, Recompute, Scope, Var};

/// The heads of a self-attention, and which keys its queries attend to.
#[derive(Debug, Clone, Copy)]
pub struct AttentionShape {
    /// Number of query heads.
    pub heads: usize,
    /// Number of key and value heads; each serves `heads / kv_heads` query heads.
    pub kv_heads: usize,
    /// Width of a head.
    pub dim: usize,
    /// Whether a query attends only to keys up to its own position.
    pub causal: bool,
    /// Sliding window: a query attends only to the last keys, this many; to all if absent.
    pub window: Option<usize>,
}

/// Self-attention with `q_proj`, `k_proj`, `v_proj` and a projection of the output.
#[derive(Debug, Clone)]
pub struct SelfAttention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    output: Linear,
    heads: AttentionShape,
}

impl SelfAttention {
    /// CLIP's self-attention: declares `k_proj`, `v_proj`, `q_proj` and `out_proj`, all with biases.
    pub fn declare_clip(scope: &mut Scope<'_>, width: usize, heads: usize) -> Self {
        let dim = width / heads;
        let heads = AttentionShape { heads, kv_heads: heads, dim, causal: false, window: None };
        let mut layer =
            |name, part| Linear::declare(scope, name, [width, width], Module::Attention(part));
        let k_proj = layer("k_proj", AttentionProjection::Key);
        let v_proj = layer("v_proj", AttentionProjection::Value);
        let q_proj = layer("q_proj", AttentionProjection::Query);
        let output = layer("out_proj", AttentionProjection::Output);
        k_proj.mark_bias_inert(scope, KEY_BIAS);
        Self { q_proj, k_proj, v_proj, output, heads }
    }

    /// LLaMA's self-attention: declares `q_proj`, `k_proj`, `v_proj` and `o_proj`, with biases if `has_bias`.
    /// (The bias of keys is not inert here: rotation by position keeps it from canceling.)
    pub fn declare_llama(
        scope: &mut Scope<'_>,
        width: usize,
        heads: AttentionShape,
        has_bias: bool,
    ) -> Self {
        let mut layer = |name, widths, part| {
            Linear::declare_with(scope, name, widths, Module::Attention(part), has_bias)
        };
        let (queries, keys) = (heads.heads * heads.dim, heads.kv_heads * heads.dim);
        Self {
            q_proj: layer("q_proj", [queries, width], AttentionProjection::Query),
            k_proj: layer("k_proj", [keys, width], AttentionProjection::Key),
            v_proj: layer("v_proj", [keys, width], AttentionProjection::Value),
            output: layer("o_proj", [width, queries], AttentionProjection::Output),
            heads,
        }
    }

    /// `residual + attention(x)`, both `[B, T, C]`, with stochastic depth. `rotation` turns queries and keys by
    /// their positions.
    pub fn add_to_residual(
        &self,
        g: &mut Graph<'_>,
        x: &Var,
        residual: &Var,
        rotation: Option<&RotaryTable>,
        dropout: &DropoutStreams,
    ) -> Var {
        let (layer, rotation) = (self.clone(), rotation.cloned());
        let spec = self.spec(dropout.attention_dropout(DropoutSite::Probabilities));
        let context = g.recompute_in_backward(Recompute::Attention, [x], move |g, [x]| {
            let [q, k, v] = layer.project(g, x, rotation.as_ref());
            let [k, v] = prefix::prepend_prefix(g, &layer.k_proj, [k, v]);
            ops::attention(g, &q, &k, &v, spec.clone())
        });
        self.output.add_with_drop_path(
            g,
            &context,
            x,
            residual,
            dropout.drop_path(DropoutSite::Attention),
        )
    }

    /// As [`SelfAttention::add_to_residual`] for the start `x` of sequences, without gradients. Also gives the
    /// cache of their keys and values, with room for `room` more rows.
    pub fn prefill(
        &self,
        g: &mut Graph<'_>,
        x: &Var,
        residual: &Var,
        rotation: Option<&RotaryTable>,
        room: usize,
    ) -> (Var, KvCache) {
        let [q, k, v] = self.project(g, x, rotation);
        let [k, v] = prefix::prepend_prefix(g, &self.k_proj, [k, v]);
        let mut cache = KvCache::new(&k.value, k.shape()[1] + room);
        cache.append(&k.value, &v.value);
        let context = ops::attention(g, &q, &k, &v, self.spec(None));
        (self.output.add_with_dropout(g, &context, x, residual, None), cache)
    }

    /// As [`SelfAttention::add_to_residual`] for one more row `x [B, 1, C]` of each sequence, without gradients.
    /// Its keys and values are appended to the cache.
    pub fn step(
        &self,
        g: &mut Graph<'_>,
        x: &Var,
        residual: &Var,
        rotation: Option<&RotaryTable>,
        cache: &mut KvCache,
    ) -> Var {
        let [q, k, v] = self.project(g, x, rotation);
        cache.append(&k.value, &v.value);
        // The last row of a sequence attends to all of it.
        let key_lengths = Some(cache.lengths());
        let spec = AttentionSpec { causal: false, key_lengths, ..self.spec(None) };
        let context = ops::cached_attention(&q.value, cache, &spec, g.precision());
        self.output.add_with_dropout(g, &Var::constant(context), x, residual, None)
    }

    /// The number of prefix keys before those of the sequences; 0 without prefix tuning.
    pub fn prefix_length(&self, g: &Graph<'_>) -> usize {
        prefix::prefix_length(g, &self.k_proj)
    }

    /// Queries, keys and values, in the run's precision.
    fn project(&self, g: &mut Graph<'_>, x: &Var, rotation: Option<&RotaryTable>) -> [Var; 3] {
        let [mut q, mut k] = [&self.q_proj, &self.k_proj].map(|layer| layer.forward_autocast(g, x));
        if let Some(rotation) = rotation {
            q = ops::apply_rotary(g, q, rotation);
            k = ops::apply_rotary(g, k, rotation);
        }
        [q, k, self.v_proj.forward_autocast(g, x)]
    }

    fn spec(&self, dropout: Option<DropoutStream>) -> AttentionSpec {
        let AttentionShape { heads, kv_heads, causal, window, .. } = self.heads;
        AttentionSpec {
            heads,
            kv_heads: Some(kv_heads),
            causal,
            window,
            dropout,
            key_lengths: None,
        }
    }
}
