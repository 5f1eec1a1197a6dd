//! Token embedding tables that stay in their file: a run reads only the rows of its data's tokens.

use std::path::Path;

use crate::models::UnloadedModel;
use crate::tensor::{EmbeddingKind, Module, Parameter, Parameters, Precision, Tower};

/// Bytes that Linux maps around a byte that is read.
const MAPPED_PER_READ: usize = 64 << 10;

/// Bytes of embedding tables that a run leaves unread in the files in `dir`, if it runs in `precision` on
/// data with `tokens` distinct tokens.
pub(super) fn unread_bytes(
    declared: &UnloadedModel,
    dir: &Path,
    precision: Precision,
    tokens: usize,
) -> usize {
    let params = &declared.params;
    let tables =
        params.iter().map(|(_, p)| p).filter(|p| is_looked_up(params, p) && !p.is_trained());
    tables
        .filter(|table| declared.stored_precision(dir, table) == Some(precision))
        .map(|table| (table.len() * precision.size()).saturating_sub(tokens * MAPPED_PER_READ))
        .sum()
}

/// Whether a parameter is an embedding table that is not the head's matrix as well, of which a product
/// would read every row.
fn is_looked_up(params: &Parameters, p: &Parameter) -> bool {
    let is_table = p.role().module == Module::Embedding(EmbeddingKind::Token);
    let is_its_head = |head: &Parameter| {
        head.role().module == Module::Head
            && head.role().tower == p.role().tower
            && head.shape() == p.shape()
    };
    is_table && (p.role().tower != Tower::Decoder || params.iter().any(|(_, h)| is_its_head(h)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::ParamKind;

    #[test]
    fn a_table_that_is_also_the_head_is_read_completely() {
        let mut params = Parameters::new();
        let table = Module::Embedding(EmbeddingKind::Token);
        let mut declare = |tower, name, shape: &[usize], part| {
            params.scope(tower, "").declare(name, shape, part, ParamKind::Weight)
        };
        let question = declare(Tower::Text, "question", &[9, 4], table);
        let answer = declare(Tower::Decoder, "answer", &[9, 4], table);
        declare(Tower::Decoder, "transform", &[4, 4], Module::Head);
        let looked_up = |params: &Parameters, id| is_looked_up(params, params.get(id));
        assert!(looked_up(&params, question) && !looked_up(&params, answer));
        params.scope(Tower::Decoder, "").declare("head", &[9, 4], Module::Head, ParamKind::Weight);
        assert!(looked_up(&params, answer));
    }
}
