//! Token and position embeddings, as `torch.nn.Embedding`.
//!
//! Keeps for backward: the ids. Backward adds the gradient of each row to its row of the table, in order.

use crate::tensor::{Elements, Graph, Operation, ParamId, Precision, Tensor, Var};

/// The token embedding of every id plus its position embedding: `[B, T, C]`, f32, for `ids [B * T]`.
///
/// `T` is `width`. The tables are `words [V, C]` and `positions [P, C]`; the first token of each sequence
/// has the position `first`.
///
/// # Panics
/// If an id or a position is outside its table.
pub fn embedding(
    g: &mut Graph<'_>,
    ids: &[u32],
    width: usize,
    words: ParamId,
    positions: ParamId,
    first: usize,
) -> Var {
    let (w, p) = (g.param(words).value().clone(), g.param(positions).value().clone());
    let channels = w.width();
    let shape = [ids.len() / width, width, channels];
    let mut out = w.empty_like(&shape, Precision::F32);
    out.count(Operation::Elementwise(ids.len() * channels));
    if !out.is_planned() {
        let rows = out.data_mut().chunks_exact_mut(channels).zip(ids);
        for (i, (out, &id)) in rows.enumerate() {
            let row = id as usize * channels..(id as usize + 1) * channels;
            let position = &p.data()[(first + i % width) * channels..][..channels];
            let each = out.iter_mut().zip(position);
            match w.elements() {
                Elements::F32(w) => each.zip(&w[row]).for_each(|((y, p), w)| *y = w + p),
                Elements::Bf16(w) => each.zip(&w[row]).for_each(|((y, p), w)| *y = w.to_f32() + p),
            }
        }
    }
    let (train_words, train_positions) =
        (g.needs_gradient_of(words), g.needs_gradient_of(positions));
    let ids = ids.to_vec();
    g.record(out, train_words || train_positions, move |dy, gradients| {
        let mut scatter = |id: ParamId, table: &Tensor, row_of: &dyn Fn(usize) -> usize| {
            let mut dt = dy.zeros_like(table.shape());
            dt.count(Operation::Elementwise(dy.len()));
            if !dt.is_planned() {
                let sums = dt.data_mut();
                for (i, dy) in dy.data().chunks_exact(channels).enumerate() {
                    for (t, d) in sums[row_of(i) * channels..][..channels].iter_mut().zip(dy) {
                        *t += d;
                    }
                }
            }
            gradients.add_param(id, dt);
        };
        if train_words {
            scatter(words, &w, &|i| ids[i] as usize);
        }
        if train_positions {
            scatter(positions, &p, &|i| first + i % width);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{check_gradients, random_parameters};

    #[test]
    fn adds_the_token_and_the_position_embedding() {
        let (params, id) = random_parameters(&[&[5, 3], &[4, 3]]);
        let y = embedding(&mut Graph::inference(&params), &[4, 0, 2, 2], 2, id[0], id[1], 1);
        let (w, p) = (params.get(id[0]).value().data(), params.get(id[1]).value().data());
        assert_eq!(y.shape(), [2, 2, 3]);
        assert_eq!(y.value.data()[0], w[12] + p[3]);
        assert_eq!(y.value.data()[11], w[8] + p[8]);
    }

    #[test]
    fn gradients_match_finite_differences() {
        let (mut params, id) = random_parameters(&[&[5, 3], &[4, 3]]);
        check_gradients(
            &mut params,
            |g| embedding(g, &[4, 0, 2, 2, 2, 1], 3, id[0], id[1], 1),
            1e-3,
        );
    }
}
