//! What a text tower starts from.

use super::{Drops, LayerNorm, Place};
use crate::ops;
use crate::tensor::{EmbeddingPart, Graph, NormPlace, ParamId, Part, Scope, Term, Var};

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
            scope.declare(name, &[rows, width], Part::Embedding(part), Term::Weight)
        };
        Self {
            words: table("word_embeddings.weight", vocab_size, EmbeddingPart::Token),
            positions: table("position_embeddings.weight", positions, EmbeddingPart::Position),
            norm: LayerNorm::declare(scope, "LayerNorm", width, eps, NormPlace::Embedding),
        }
    }

    /// `ids [B * T]` in rows of `width`, the first at position `first`. Gives `[B, T, C]`.
    pub fn forward(
        &self,
        g: &mut Graph<'_>,
        ids: &[u32],
        width: usize,
        first: usize,
        drops: &Drops,
    ) -> Var {
        let x = ops::embedding(g, ids, width, self.words, self.positions, first);
        let x = self.norm.forward(g, &x);
        ops::dropout(g, x, drops.hidden(Place::Embedding))
    }
}
