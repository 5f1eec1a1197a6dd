//! LLaMA (Touvron et al. 2023, arXiv 2302.13971) and Mistral (Jiang et al. 2023, arXiv 2310.06825), which differ
//! only in their config.

use super::llama_config::LlamaConfig;
use super::rope::Rope;
use crate::nn::{self, DropoutStreams, Linear, LlamaBlock, RmsNorm};
use crate::ops::{self, CrossEntropy, KvCache, RowSource};
use crate::tensor::{
    EmbeddingKind, Graph, Module, NormPosition, ParamId, ParamKind, Parameters, Tower, Var,
};

/// A language model: its layers, without their values.
#[derive(Debug, Clone)]
pub struct Llama {
    embed_tokens: ParamId,
    layers: Vec<LlamaBlock>,
    norm: RmsNorm,
    /// Shares the embedding table's weight if the two are tied.
    lm_head: Linear,
    rope: Rope,
}

impl Llama {
    /// Declares `prefix.embed_tokens`, `prefix.layers`, `prefix.norm`, and `lm_head` unless it is tied to the
    /// embedding table.
    pub fn declare(params: &mut Parameters, prefix: &str, config: &LlamaConfig) -> Self {
        let table = [config.vocab_size, config.hidden_size];
        let scope = &mut params.scope(Tower::Decoder, prefix);
        let part = Module::Embedding(EmbeddingKind::Token);
        let embed_tokens = scope.declare("embed_tokens.weight", &table, part, ParamKind::Weight);
        let layers = (0..config.num_hidden_layers)
            .map(|i| LlamaBlock::declare(&mut scope.layer("layers", i), config.block_config()))
            .collect();
        let (eps, place) = (config.rms_norm_eps as f32, NormPosition::Final);
        let norm = RmsNorm::declare(scope, "norm", config.hidden_size, eps, place);
        let weight = if config.tie_word_embeddings {
            embed_tokens
        } else {
            let scope = &mut params.scope(Tower::Decoder, "");
            scope.declare("lm_head.weight", &table, Module::Head, ParamKind::Weight)
        };
        let lm_head = Linear { weight, bias: None };
        let rope =
            Rope::new(&config.rope_parameters, config.head_dim, config.max_position_embeddings);
        Self { embed_tokens, layers, norm, lm_head, rope }
    }

    /// Replaces the rotary embedding.
    #[cfg(test)]
    pub(in crate::models) fn set_rope(
        &mut self,
        config: &super::rope::RopeConfig,
        dim: usize,
        context: usize,
    ) {
        self.rope = Rope::new(config, dim, context);
    }

    /// The embeddings `[B, T, C]` that the model reads, in sequences of `T = width` rows, each from the embedding
    /// table or from `value [.., C]`.
    pub fn embed(
        &self,
        g: &mut Graph<'_>,
        value: Option<&Var>,
        rows: &[RowSource],
        width: usize,
    ) -> Var {
        ops::assemble_rows(g, self.embed_tokens, value, rows, width)
    }

    /// The number of virtual tokens at the start of sequences; 0 without prompt tuning.
    pub fn prompt_length(&self, g: &Graph<'_>) -> usize {
        nn::prompt_length(g, self.embed_tokens)
    }

    /// Embeddings `[B, P + T, C]`: the virtual tokens, and then `x [B, T, C]`, the start of the sequences.
    pub fn prepend_prompt(&self, g: &mut Graph<'_>, x: Var) -> Var {
        nn::prepend_prompt(g, self.embed_tokens, x)
    }

    /// The states `[B, T, C]` before the final norm, for [`Llama::logits`]. Sequence `b` of `x [B, T, C]` has
    /// `lengths[b]` rows and is padded on the right.
    pub fn forward(
        &self,
        g: &mut Graph<'_>,
        x: Var,
        lengths: &[usize],
        dropout: &DropoutStreams,
    ) -> Var {
        let rotation =
            self.rope.rotation_for_sequences(lengths, x.shape()[1], self.prefix_length(g));
        let mut x = x;
        for (i, layer) in self.layers.iter().enumerate() {
            x = layer.forward(g, &x, &rotation, &dropout.at_layer(i, 0.0));
        }
        x
    }

    /// As [`Llama::forward`], but gives the caches of keys and values, one for each block, in which each sequence
    /// has room for `room` more rows. No gradients.
    pub fn prefill(
        &self,
        g: &mut Graph<'_>,
        x: Var,
        lengths: &[usize],
        room: usize,
    ) -> Vec<KvCache> {
        let before = self.prefix_length(g);
        let rotation = self.rope.rotation_for_sequences(lengths, x.shape()[1], before);
        let kept: Vec<_> = lengths.iter().map(|length| before + length).collect();
        let mut x = x;
        let mut caches = Vec::with_capacity(self.layers.len());
        for layer in &self.layers {
            let (y, mut cache) = layer.prefill(g, &x, &rotation, room);
            cache.truncate(&kept);
            caches.push(cache);
            x = y;
        }
        caches
    }

    /// Reads one more token of each sequence; gives the logits `[B, 1, V]` of the next.
    pub fn step(&self, g: &mut Graph<'_>, tokens: &[u32], caches: &mut [KvCache]) -> Var {
        let rows: Vec<_> = tokens.iter().map(|&id| RowSource::Table(id)).collect();
        let mut x = self.embed(g, None, &rows, 1);
        let positions = caches.first().map(KvCache::lengths).unwrap_or_default();
        let rotation = self.rope.rotation_at(&positions);
        for (layer, cache) in self.layers.iter().zip(caches) {
            x = layer.step(g, &x, &rotation, cache);
        }
        self.logits(g, &x)
    }

    /// The number of prefix keys. Sequences start at this position, as they do after a cache in transformers.
    fn prefix_length(&self, g: &Graph<'_>) -> usize {
        self.layers.first().map_or(0, |layer| layer.prefix_length(g))
    }

    /// The cross-entropy loss of [`Llama::logits`] of `x`.
    pub fn loss(
        &self,
        g: &mut Graph<'_>,
        x: &Var,
        labels: &[u32],
        label_smoothing: f32,
    ) -> CrossEntropy {
        let x = self.norm.forward_autocast(g, x);
        if g.plug(self.lm_head.weight).is_some() {
            let logits = self.lm_head.forward(g, &x);
            return ops::cross_entropy(g, logits, labels, label_smoothing);
        }
        ops::linear_cross_entropy(g, &x, self.lm_head.weight, labels, label_smoothing)
    }

    /// The logits `[.., V]` of states `x [.., C]`.
    pub fn logits(&self, g: &mut Graph<'_>, x: &Var) -> Var {
        let x = self.norm.forward_autocast(g, x);
        self.lm_head.forward(g, &x)
    }
}
