//! The embeddings of a text tower.

use super::{DropoutSite, DropoutStreams, LayerNorm, prepend_prompt, prompt_length};
use crate::ops;
use crate::tensor::{
    EmbeddingKind, Graph, Module, NormPosition, ParamId, ParamKind, Precision, Scope, Var,
};

/// BERT's embeddings without token types: `dropout(LayerNorm(word + position))`.
#[derive(Debug, Clone)]
pub struct TextEmbedding {
    /// The word embeddings `[V, C]`.
    pub words: ParamId,
    /// The position embeddings `[P, C]`.
    pub positions: ParamId,
    /// The norm of the sum.
    pub norm: LayerNorm,
}

impl TextEmbedding {
    /// Declares the tables `word_embeddings.weight [vocab_size, width]` and `position_embeddings.weight
    /// [positions, width]`, and the norm `LayerNorm`.
    pub fn declare(
        scope: &mut Scope<'_>,
        vocab_size: usize,
        positions: usize,
        width: usize,
        eps: f32,
    ) -> Self {
        let mut table = |name, rows, part| {
            scope.declare(name, &[rows, width], Module::Embedding(part), ParamKind::Weight)
        };
        Self {
            words: table("word_embeddings.weight", vocab_size, EmbeddingKind::Token),
            positions: table("position_embeddings.weight", positions, EmbeddingKind::Position),
            norm: LayerNorm::declare(scope, "LayerNorm", width, eps, NormPosition::Embedding),
        }
    }

    /// The embeddings `[B, P + T, C]` of sequences that start with `ids [B * T]`, in rows of `width`. The `P`
    /// virtual tokens before them, if there are any, get the same norm and dropout, but no positions: the
    /// first of `ids` is at position 0 in any case.
    pub fn forward(
        &self,
        g: &mut Graph<'_>,
        ids: &[u32],
        width: usize,
        dropout: &DropoutStreams,
    ) -> Var {
        let x = ops::embedding(g, ids, width, self.words, self.positions, 0);
        let x = prepend_prompt(g, self.words, x);
        let x = self.norm.forward(g, &x);
        ops::dropout(g, x, dropout.hidden_dropout(DropoutSite::Embedding))
    }

    /// The number of virtual tokens; 0 without prompt tuning.
    pub fn prompt_length(&self, g: &Graph<'_>) -> usize {
        prompt_length(g, self.words)
    }

    /// The embeddings `[B, P, C]` of the virtual tokens alone, for `B = sequences`, without dropout.
    pub fn embed_prompt(&self, g: &mut Graph<'_>, sequences: usize) -> Var {
        let words = g.param(self.words).value();
        let none = words.empty_like(&[sequences, 0, words.width()], Precision::F32);
        let x = prepend_prompt(g, self.words, Var::constant(none));
        self.norm.forward(g, &x)
    }

    /// The embeddings `[B, 1, C]` of one more token in each sequence, `ids [B]`, all at `position`.
    pub fn step(&self, g: &mut Graph<'_>, ids: &[u32], position: usize) -> Var {
        let x = ops::embedding(g, ids, 1, self.words, self.positions, position);
        self.norm.forward(g, &x)
    }
}
