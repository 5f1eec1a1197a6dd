//! What a text tower starts from.

use super::{DropoutSite, DropoutStreams, LayerNorm, prepend_prompt, prompt_length};
use crate::ops;
use crate::tensor::{
    EmbeddingKind, Graph, Module, NormPosition, ParamId, ParamKind, Precision, Scope, Var,
};

/// BERT's embeddings without token types: `dropout(LayerNorm(word + position))`.
#[derive(Debug, Clone)]
pub struct TextEmbedding {
    /// `[V, C]`.
    pub words: ParamId,
    /// `[P, C]`.
    pub positions: ParamId,
    /// Over the sum.
    pub norm: LayerNorm,
}

impl TextEmbedding {
    /// Declares the tables `[vocab_size, width]` and `[positions, width]`, and the norm.
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

    /// `ids [B * T]` in rows of `width`, which open the sequences. Gives `[B, P + T, C]`: what of virtual
    /// tokens stands before them is normalised and dropped as they are, and has no positions, which begin
    /// where they do without.
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

    /// How many virtual tokens there are.
    pub fn prompt_length(&self, g: &Graph<'_>) -> usize {
        prompt_length(g, self.words)
    }

    /// The virtual tokens of `sequences` sequences alone, `[B, P, C]`, without noise.
    pub fn embed_prompt(&self, g: &mut Graph<'_>, sequences: usize) -> Var {
        let words = g.param(self.words).value();
        let none = words.empty_like(&[sequences, 0, words.width()], Precision::F32);
        let x = prepend_prompt(g, self.words, Var::constant(none));
        self.norm.forward(g, &x)
    }

    /// One more token a sequence, `ids [B]`, all at `position`. Gives `[B, 1, C]`.
    pub fn step(&self, g: &mut Graph<'_>, ids: &[u32], position: usize) -> Var {
        let x = ops::embedding(g, ids, 1, self.words, self.positions, position);
        self.norm.forward(g, &x)
    }
}
