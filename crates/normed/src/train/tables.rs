//! Tables of tokens that stay in their file: a run reads the rows of its own data's tokens alone.

use std::path::Path;

use crate::models::UnloadedModel;
use crate::tensor::{EmbeddingKind, Module, Parameter, Parameters, Precision, Tower};

/// What Linux maps around a byte that is asked for.
const AROUND: usize = 64 << 10;

/// Bytes of the tables of `declared` that a run in `precision`, over data of so many different `tokens`,
/// leaves unread in the files in `dir`.
pub(super) fn unread(
    declared: &UnloadedModel,
    dir: &Path,
    precision: Precision,
    tokens: usize,
) -> usize {
    let params = &declared.params;
    let tables = params.iter().map(|(_, p)| p).filter(|p| is_looked_up(params, p) && !p.trained);
    tables
        .filter(|table| declared.stored_precision(dir, table) == Some(precision))
        .map(|table| (table.len() * precision.size()).saturating_sub(tokens * AROUND))
        .sum()
}

/// Whether rows of it are looked up, and no product reads it as the head's matrix.
fn is_looked_up(params: &Parameters, p: &Parameter) -> bool {
    let is_table = p.role.module == Module::Embedding(EmbeddingKind::Token);
    let is_its_head = |head: &Parameter| {
        head.role.module == Module::Head && head.role.tower == p.role.tower && head.shape == p.shape
    };
    is_table && (p.role.tower != Tower::Decoder || params.iter().any(|(_, h)| is_its_head(h)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::ParamKind;

    #[test]
    fn a_table_that_is_the_head_too_is_read_whole() {
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
