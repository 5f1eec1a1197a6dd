//! BERT (Devlin et al. 2018, arXiv 1810.04805) with cross-attention in every block, as BLIP's text
//! encoder and decoder have it, and the decoder's prediction head.

use crate::data::TokenRows;
use crate::models::miss::TextConfig;
use crate::nn::{
    AttentionMask, BlockCache, DropoutStreams, LayerNorm, Linear, PostNormBlock, TextEmbedding,
};
use crate::ops::{self, Activation, Output};
use crate::tensor::{Graph, Module, NormPosition, ParamId, ParamKind, Scope, Var};

/// A text tower.
#[derive(Debug, Clone)]
pub struct Bert {
    embeddings: TextEmbedding,
    blocks: Vec<PostNormBlock>,
}

impl Bert {
    /// Declares `embeddings` and `encoder.layer`, with cross-attention to a sequence `source` wide.
    pub fn declare(scope: &mut Scope<'_>, config: &TextConfig, source: usize) -> Self {
        let embeddings = TextEmbedding::declare(
            &mut scope.sub("embeddings"),
            config.vocab_size,
            config.max_position_embeddings,
            config.hidden_size,
            config.layer_norm_eps as f32,
        );
        let blocks = (0..config.num_hidden_layers)
            .map(|i| {
                let mut encoder = scope.sub("encoder");
                PostNormBlock::declare(
                    &mut encoder.layer("layer", i),
                    config.block_config(),
                    source,
                )
            })
            .collect();
        Self { embeddings, blocks }
    }

    /// The word embeddings, to which a prediction head is tied.
    pub fn words(&self) -> ParamId {
        self.embeddings.words
    }

    /// How many virtual tokens stand before those of every sequence.
    pub fn prompt_length(&self, g: &Graph<'_>) -> usize {
        self.embeddings.prompt_length(g)
    }

    /// `rows [B, T]` behind the virtual tokens, attending to itself as `own` says and to `source [B, S, C']`
    /// as `cross` says. Gives `[B, P + T, C]`.
    pub fn forward(
        &self,
        g: &mut Graph<'_>,
        rows: &TokenRows,
        own: &AttentionMask,
        source: &Var,
        cross: &AttentionMask,
        dropout: &DropoutStreams,
    ) -> Var {
        let mut x = self.embeddings.forward(g, &rows.ids, rows.width, dropout);
        for (i, block) in self.blocks.iter().enumerate() {
            x = block.forward(g, &x, own, source, cross, &dropout.at_layer(i, 0.0));
        }
        x
    }

    /// A cache for `room` tokens in each row of `source [B, S, C']`, attended to as `cross` says, that holds
    /// the virtual tokens.
    pub fn new_caches(
        &self,
        g: &mut Graph<'_>,
        source: &Var,
        room: usize,
        cross: &AttentionMask,
    ) -> Vec<BlockCache> {
        let before = self.prompt_length(g);
        let cache = |block: &PostNormBlock| block.new_cache(g, source, before + room);
        let mut caches: Vec<_> = self.blocks.iter().map(cache).collect();
        if before > 0 {
            let prompt = self.embeddings.embed_prompt(g, source.shape()[0]);
            self.forward_cached(g, prompt, &mut caches, cross);
        }
        caches
    }

    /// One more token a row, at `position`. Gives `[B, 1, C]`.
    pub fn step(
        &self,
        g: &mut Graph<'_>,
        tokens: &[u32],
        position: usize,
        caches: &mut [BlockCache],
        cross: &AttentionMask,
    ) -> Var {
        let x = self.embeddings.step(g, tokens, position);
        self.forward_cached(g, x, caches, cross)
    }

    /// Tokens `x [B, T, C]` behind those in the caches, into which they go.
    fn forward_cached(
        &self,
        g: &mut Graph<'_>,
        mut x: Var,
        caches: &mut [BlockCache],
        cross: &AttentionMask,
    ) -> Var {
        for (block, cache) in self.blocks.iter().zip(caches) {
            x = block.step(g, x, cache, cross);
        }
        x
    }
}

/// BERT's masked-language-model head, here predicting the next token:
/// `LayerNorm(gelu(dense(x))) Wᵀ + b`, where `W` are the word embeddings.
#[derive(Debug, Clone)]
pub struct Head {
    dense: Linear,
    norm: LayerNorm,
    words: ParamId,
    bias: ParamId,
}

impl Head {
    /// Declares `bias`, `transform.dense`, `transform.LayerNorm`.
    pub fn declare(scope: &mut Scope<'_>, config: &TextConfig, words: ParamId) -> Self {
        let (width, eps) = (config.hidden_size, config.layer_norm_eps as f32);
        let bias = scope.declare("bias", &[config.vocab_size], Module::Head, ParamKind::Bias);
        let transform = &mut scope.sub("transform");
        Self {
            dense: Linear::declare(transform, "dense", [width, width], Module::Head),
            norm: LayerNorm::declare(transform, "LayerNorm", width, eps, NormPosition::Head),
            words,
            bias,
        }
    }

    /// `[.., C] -> [.., V]`.
    pub fn forward(&self, g: &mut Graph<'_>, x: &Var) -> Var {
        let h = self.dense.forward(g, x);
        let h = ops::activate(g, &h, Activation::Gelu);
        let h = self.norm.forward(g, &h);
        ops::linear(g, &h, self.words, Some(self.bias), Output::F32)
    }
}
