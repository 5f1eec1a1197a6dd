//! Self-attention with matrices of its own for queries, keys and values, as CLIP and LLaMA have it.

use super::attention::KEY_BIAS;
use super::{DropoutSite, DropoutStreams, Linear, prefix};
use crate::ops::{self, AttentionSpec, DropoutStream, KvCache, RotaryTable};
use crate::tensor::{AttentionProjection, Graph, Module, Recompute, Scope, Var};

/// What a self-attention is like.
#[derive(Debug, Clone, Copy)]
pub struct AttentionShape {
    /// Of queries.
    pub heads: usize,
    /// Of keys and values.
    pub kv_heads: usize,
    /// Elements of a head.
    pub dim: usize,
    /// Whether a query sees only keys up to its own position.
    pub causal: bool,
    /// Of the keys that a query would see, it sees only the last so many.
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
    /// CLIP's: declares `k_proj`, `v_proj`, `q_proj` and `out_proj`, all with biases.
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

    /// LLaMA's: declares `q_proj`, `k_proj`, `v_proj` and `o_proj`, with biases if it is to have them.
    /// (A key's bias is turned with its position here, and so does not cancel.)
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

    /// `residual + attention(x)`, both `[B, T, C]`; queries and keys turned if there is a rotation.
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
            let [q, k, v] = layer.projected(g, x, rotation.as_ref());
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

    /// As [`SelfAttention::add`] without gradients, where `x` opens the sequences; their keys and values
    /// go into the cache that is given back, which has room for `room` rows more.
    pub fn prefill(
        &self,
        g: &mut Graph<'_>,
        x: &Var,
        residual: &Var,
        rotation: Option<&RotaryTable>,
        room: usize,
    ) -> (Var, KvCache) {
        let [q, k, v] = self.projected(g, x, rotation);
        let [k, v] = prefix::prepend_prefix(g, &self.k_proj, [k, v]);
        let mut cache = KvCache::new(&k.value, k.shape()[1] + room);
        cache.append(&k.value, &v.value);
        let context = ops::attention(g, &q, &k, &v, self.spec(None));
        (self.output.add_with_dropout(g, &context, x, residual, None), cache)
    }

    /// As [`SelfAttention::add`] without gradients, of one more row `x [B, 1, C]` a sequence.
    pub fn step(
        &self,
        g: &mut Graph<'_>,
        x: &Var,
        residual: &Var,
        rotation: Option<&RotaryTable>,
        cache: &mut KvCache,
    ) -> Var {
        let [q, k, v] = self.projected(g, x, rotation);
        cache.append(&k.value, &v.value);
        // The last of a sequence sees all of it.
        let key_lengths = Some(cache.lengths());
        let spec = AttentionSpec { causal: false, key_lengths, ..self.spec(None) };
        let context = ops::cached_attention(&q.value, cache, &spec, g.precision());
        self.output.add_with_dropout(g, &Var::constant(context), x, residual, None)
    }

    /// How many keys stand before those of the sequences.
    pub fn prefix_length(&self, g: &Graph<'_>) -> usize {
        prefix::prefix_length(g, &self.k_proj)
    }

    /// Queries, keys and values in the run's precision.
    fn projected(&self, g: &mut Graph<'_>, x: &Var, rotation: Option<&RotaryTable>) -> [Var; 3] {
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
