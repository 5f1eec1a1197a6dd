//! BERT (Devlin et al. 2018, arXiv 1810.04805) with cross-attention in every block, as BLIP's text encoder and
//! decoder have it, and the decoder's prediction head.

use crate::data::TokenRows;
use crate::models::config_keys::{check_multiple, check_rates, check_sizes};
use crate::nn::{
    AttentionMask, BlockCache, BlockConfig, DropoutStreams, LayerNorm, Linear, PostNormBlock,
    TextEmbedding,
};
use crate::ops::{self, Activation, Output};
use crate::tensor::{Graph, Module, NormPosition, ParamId, ParamKind, Scope, Var};
use crate::{Error, Result};

/// The configuration of BLIP's text towers; encoder and decoder share it: the keys of transformers'
/// `BlipTextConfig`, and two of our own.
#[derive(Debug, Clone, PartialEq)]
pub struct BertConfig {
    /// Tokens of the vocabulary.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width inside the feed-forward networks.
    pub intermediate_size: usize,
    /// Number of blocks.
    pub num_hidden_layers: usize,
    /// Attention heads of each block.
    pub num_attention_heads: usize,
    /// Tokens of the longest text.
    pub max_position_embeddings: usize,
    /// Epsilon of the norms.
    pub layer_norm_eps: f64,
    /// The activation inside the feed-forward networks and the prediction head.
    pub hidden_act: Activation,
    /// Whether the prediction head is the table of word embeddings.
    pub tie_word_embeddings: bool,
    /// Dropout rate of embeddings and of the output of every sublayer.
    pub hidden_dropout_prob: f64,
    /// Dropout rate of attention probabilities.
    pub attention_probs_dropout_prob: f64,
    /// The first token of the decoder's input, `[DEC]`.
    pub bos_token_id: u32,
    /// The last token of a text, `[SEP]`.
    pub sep_token_id: u32,
    /// Fills short rows, `[PAD]`.
    pub pad_token_id: u32,
    /// The first token of a question: `[CLS]` in Hugging Face's layout, `[ENC]` in the original one. A key
    /// of our own: transformers leaves it to the tokenizer.
    pub question_token_id: u32,
    /// Tokens of the longest question, special tokens included. A key of our own: transformers takes all
    /// that the positions allow, MISS 35.
    pub max_question_tokens: usize,
}

impl BertConfig {
    /// The sizes of a block.
    pub fn block_config(&self) -> BlockConfig {
        BlockConfig {
            hidden: self.hidden_size,
            intermediate: self.intermediate_size,
            heads: self.num_attention_heads,
            eps: self.layer_norm_eps as f32,
            activation: self.hidden_act,
        }
    }

    /// Checks that towers of these sizes can exist; `place` names the config file in errors.
    ///
    /// # Errors
    /// If a size or a rate is out of range, or a token id is outside the vocabulary.
    pub(in crate::models) fn check(&self, place: &str) -> Result<()> {
        let place = &format!("{place}: text_config");
        check_sizes(
            place,
            &[
                ("vocab_size", self.vocab_size, 1 << 24),
                ("hidden_size", self.hidden_size, 1 << 16),
                ("intermediate_size", self.intermediate_size, 1 << 20),
                ("num_hidden_layers", self.num_hidden_layers, 1000),
                ("num_attention_heads", self.num_attention_heads, 1 << 16),
                ("max_position_embeddings", self.max_position_embeddings, 1 << 20),
            ],
        )?;
        let heads = ("num_attention_heads", self.num_attention_heads);
        check_multiple(place, ("hidden_size", self.hidden_size), heads)?;
        let rates = [
            ("hidden_dropout_prob", self.hidden_dropout_prob),
            ("attention_probs_dropout_prob", self.attention_probs_dropout_prob),
        ];
        check_rates(place, ("layer_norm_eps", self.layer_norm_eps), &rates)?;
        for (key, id) in [
            ("bos_token_id", self.bos_token_id),
            ("sep_token_id", self.sep_token_id),
            ("pad_token_id", self.pad_token_id),
            ("question_token_id", self.question_token_id),
        ] {
            if id as usize >= self.vocab_size {
                let cause = format!("{key} {id} is outside a vocabulary of {}", self.vocab_size);
                return Err(Error::invalid(place, cause));
            }
        }
        Ok(())
    }
}

/// A text tower: its layers, without their values.
#[derive(Debug, Clone)]
pub struct Bert {
    embeddings: TextEmbedding,
    blocks: Vec<PostNormBlock>,
}

impl Bert {
    /// Declares the parameters `embeddings` and `encoder.layer`; every block cross-attends to states of width
    /// `source`.
    pub fn declare(scope: &mut Scope<'_>, config: &BertConfig, source: usize) -> Self {
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

    /// The table of word embeddings `[V, C]`, which a prediction head shares.
    pub fn word_embeddings(&self) -> ParamId {
        self.embeddings.words
    }

    /// The number of virtual tokens before those of every sequence; 0 without prompt tuning.
    pub fn prompt_length(&self, g: &Graph<'_>) -> usize {
        self.embeddings.prompt_length(g)
    }

    /// The states `[B, P + T, C]` of `P` virtual tokens and `rows [B, T]`: they attend to each other under
    /// `self_mask` and to `source [B, S, C']` under `cross_mask`.
    pub fn forward(
        &self,
        g: &mut Graph<'_>,
        rows: &TokenRows,
        self_mask: &AttentionMask,
        source: &Var,
        cross_mask: &AttentionMask,
        dropout: &DropoutStreams,
    ) -> Var {
        let mut x = self.embeddings.forward(g, &rows.ids, rows.width, dropout);
        for (i, block) in self.blocks.iter().enumerate() {
            x = block.forward(g, &x, self_mask, source, cross_mask, &dropout.at_layer(i, 0.0));
        }
        x
    }

    /// Caches, one for each block, with room for `room` tokens in each row of `source [B, S, C']`, which tokens
    /// attend to under `cross_mask`. They hold the virtual tokens already.
    pub fn new_caches(
        &self,
        g: &mut Graph<'_>,
        source: &Var,
        room: usize,
        cross_mask: &AttentionMask,
    ) -> Vec<BlockCache> {
        let before = self.prompt_length(g);
        let cache = |block: &PostNormBlock| block.new_cache(g, source, before + room);
        let mut caches: Vec<_> = self.blocks.iter().map(cache).collect();
        if before > 0 {
            let prompt = self.embeddings.embed_prompt(g, source.shape()[0]);
            self.forward_cached(g, prompt, &mut caches, cross_mask);
        }
        caches
    }

    /// The states `[B, 1, C]` of one more token in each row, at `position`; no gradients.
    pub fn step(
        &self,
        g: &mut Graph<'_>,
        tokens: &[u32],
        position: usize,
        caches: &mut [BlockCache],
        cross_mask: &AttentionMask,
    ) -> Var {
        let x = self.embeddings.step(g, tokens, position);
        self.forward_cached(g, x, caches, cross_mask)
    }

    /// The states of tokens `x [B, T, C]` that follow those in the caches; their keys and values are appended.
    fn forward_cached(
        &self,
        g: &mut Graph<'_>,
        mut x: Var,
        caches: &mut [BlockCache],
        cross_mask: &AttentionMask,
    ) -> Var {
        for (block, cache) in self.blocks.iter().zip(caches) {
            x = block.step(g, x, cache, cross_mask);
        }
        x
    }
}

/// BERT's masked-language-model head, which here predicts the next token:
/// `LayerNorm(activation(dense(x))) Wᵀ + b`, where `W` is the table of word embeddings, or a matrix of its own.
#[derive(Debug, Clone)]
pub struct PredictionHead {
    dense: Linear,
    activation: Activation,
    norm: LayerNorm,
    weight: ParamId,
    bias: ParamId,
}

impl PredictionHead {
    /// Declares the parameters `bias`, `transform.dense` and `transform.LayerNorm`; and, if the head is not tied to
    /// the table `words`, `decoder.weight` and `decoder.bias`, which takes the place of `bias`.
    pub fn declare(scope: &mut Scope<'_>, config: &BertConfig, words: ParamId) -> Self {
        let (width, eps) = (config.hidden_size, config.layer_norm_eps as f32);
        let bias = scope.declare("bias", &[config.vocab_size], Module::Head, ParamKind::Bias);
        let transform = &mut scope.sub("transform");
        let dense = Linear::declare(transform, "dense", [width, width], Module::Head);
        let norm = LayerNorm::declare(transform, "LayerNorm", width, eps, NormPosition::Head);
        let activation = config.hidden_act;
        if config.tie_word_embeddings {
            return Self { dense, activation, norm, weight: words, bias };
        }
        scope.mark_inert(bias, "the head has another bias, decoder.bias");
        let widths = [config.vocab_size, width];
        let own = Linear::declare(scope, "decoder", widths, Module::Head);
        let bias = own.bias.unwrap_or(bias);
        Self { dense, activation, norm, weight: own.weight, bias }
    }

    /// States `[.., C]` to logits `[.., V]`, f32.
    pub fn forward(&self, g: &mut Graph<'_>, x: &Var) -> Var {
        let h = self.dense.forward(g, x);
        let h = ops::activate(g, &h, self.activation);
        let h = self.norm.forward(g, &h);
        ops::linear(g, &h, self.weight, Some(self.bias), Output::F32)
    }
}
