//! Attention against the plain formula and finite differences.

use super::spec::QUERY_BLOCK;
use super::*;
use crate::ops::DropoutStream;
use crate::ops::testing::{assert_close, check_gradients, random_parameters, random_values};
use crate::tensor::{Graph, Precision, Tensor, Var};

/// The formula, one number at a time.
fn plain_attention(
    q: &[f32],
    k: &[f32],
    v: &[f32],
    tq: usize,
    c: usize,
    spec: &AttentionSpec,
) -> Vec<f32> {
    let dim = c / spec.heads;
    let group = spec.heads / spec.kv_heads.unwrap_or(spec.heads);
    let kv_c = c / group;
    let tk = k.len() / kv_c / (q.len() / (tq * c));
    let mut out = vec![0.0; q.len()];
    for (b, h, i) in (0..q.len() / (tq * c))
        .flat_map(|b| (0..spec.heads).flat_map(move |h| (0..tq).map(move |i| (b, h, i))))
    {
        let length = spec.key_lengths.as_ref().map_or(tk, |l| l[b]);
        let scores: Vec<f64> = (0..tk)
            .map(|j| {
                let end = if spec.causal { length.min(i + tk - tq + 1) } else { length };
                if j >= end || spec.window.is_some_and(|window| j + window < end) {
                    return f64::NEG_INFINITY;
                }
                let dot: f64 = (0..dim)
                    .map(|d| {
                        f64::from(q[(b * tq + i) * c + h * dim + d])
                            * f64::from(k[(b * tk + j) * kv_c + h / group * dim + d])
                    })
                    .sum();
                dot / (dim as f64).sqrt()
            })
            .collect();
        let total: f64 = scores.iter().map(|s| s.exp()).sum();
        for (j, s) in scores.iter().enumerate() {
            for d in 0..dim {
                out[(b * tq + i) * c + h * dim + d] +=
                    (s.exp() / total) as f32 * v[(b * tk + j) * kv_c + h / group * dim + d];
            }
        }
    }
    out
}

fn spec(causal: bool, lengths: Option<&[usize]>) -> AttentionSpec {
    let key_lengths = lengths.map(Into::into);
    AttentionSpec { heads: 2, causal, key_lengths, ..AttentionSpec::default() }
}

#[test]
fn matches_the_plain_formula() {
    // More queries than a block has, and sizes around those of registers, panels and tiles.
    for (tq, tk, dim, s) in [
        (3, 5, 4, spec(false, Some(&[5, 2]))),
        (4, 4, 4, spec(true, Some(&[4, 3]))),
        (2, 6, 4, spec(true, None)),
        (QUERY_BLOCK + 9, QUERY_BLOCK + 9, 4, spec(true, None)),
        (QUERY_BLOCK + 9, 7, 4, spec(false, None)),
        (1, 1, 1, spec(true, None)),
        (15, 33, 17, spec(false, Some(&[33, 1]))),
        (17, 31, 15, spec(true, Some(&[16, 31]))),
        (31, 65, 33, spec(false, None)),
        (
            2 * QUERY_BLOCK + 1,
            2 * QUERY_BLOCK + 1,
            31,
            spec(true, Some(&[QUERY_BLOCK, 2 * QUERY_BLOCK + 1])),
        ),
    ] {
        let c = 2 * dim;
        let (q, k, v) = (
            random_values(2 * tq * c, 1),
            random_values(2 * tk * c, 2),
            random_values(2 * tk * c, 3),
        );
        let (params, _) = random_parameters(&[]);
        let mut g = Graph::inference(&params);
        let var = |x: &[f32], t| Var::constant(Tensor::new(&[2, t, c], x.to_vec()));
        let y = attention(&mut g, &var(&q, tq), &var(&k, tk), &var(&v, tk), s.clone());
        assert_close(y.value.data(), &plain_attention(&q, &k, &v, tq, c, &s), 1e-5);
    }
}

fn grouped(heads: usize, kv_heads: usize, window: Option<usize>) -> AttentionSpec {
    AttentionSpec { heads, kv_heads: Some(kv_heads), window, causal: true, ..spec(true, None) }
}

#[test]
fn grouped_heads_and_sliding_windows_match_the_plain_formula() {
    for (t, dim, s) in [
        (5, 4, grouped(4, 2, None)),
        (9, 6, grouped(6, 2, Some(4))),
        (33, 17, grouped(3, 1, Some(1))),
        (QUERY_BLOCK + 9, 4, grouped(4, 2, Some(QUERY_BLOCK - 3))),
        (
            QUERY_BLOCK + 9,
            4,
            AttentionSpec { key_lengths: Some([60, 99].into()), ..grouped(4, 2, Some(7)) },
        ),
    ] {
        let kv = s.kv_heads.unwrap_or_default() * dim;
        let c = s.heads * dim;
        let (q, k, v) = (
            random_values(2 * t * c, 1),
            random_values(2 * t * kv, 2),
            random_values(2 * t * kv, 3),
        );
        let (params, _) = random_parameters(&[]);
        let mut g = Graph::inference(&params);
        let var = |x: &[f32], c| Var::constant(Tensor::new(&[2, t, c], x.to_vec()));
        let y = attention(&mut g, &var(&q, c), &var(&k, kv), &var(&v, kv), s.clone());
        assert_close(y.value.data(), &plain_attention(&q, &k, &v, t, c, &s), 1e-5);

        // The last query alone, over a cache.
        if s.key_lengths.is_none() {
            let like = Tensor::new(&[2, t, kv], k.clone());
            let mut cache = KvCache::new(&like, t);
            cache.append(&like, &Tensor::new(&[2, t, kv], v.clone()));
            let last: Vec<f32> = q.chunks(t * c).flat_map(|q| q[(t - 1) * c..].to_vec()).collect();
            let q = Tensor::new(&[2, 1, c], last);
            let got = cached_attention(&q, &cache, &s, Precision::F32);
            let want = y.value.data().chunks(t * c).flat_map(|y| y[(t - 1) * c..].to_vec());
            assert_close(got.data(), &want.collect::<Vec<_>>(), 1e-5);
        }
    }
}

#[test]
fn gradients_of_grouped_heads_match_finite_differences() {
    for s in [grouped(4, 2, None), grouped(4, 1, Some(2))] {
        let kv = 2 * s.kv_heads.unwrap_or_default();
        let (mut params, id) = random_parameters(&[&[2, 5, 8], &[2, 5, kv], &[2, 5, kv]]);
        let dropout = Some(DropoutStream::new(&[1, 2], 3, 4, 0.3));
        for s in [AttentionSpec { dropout, ..s.clone() }, s] {
            check_gradients(
                &mut params,
                |g| {
                    let [q, k, v] = [0, 1, 2].map(|i| g.parameter(id[i]));
                    attention(g, &q, &k, &v, s.clone())
                },
                5e-3,
            );
        }
    }
}

#[test]
fn self_attention_and_cached_attention_match_the_plain_formula() {
    let (params, _) = random_parameters(&[]);
    let mut g = Graph::inference(&params);
    let qkv = Tensor::new(&[2, 5, 24], random_values(240, 4));
    let part = |n: usize| {
        let data = qkv.data().chunks(8).skip(n).step_by(3).flatten().copied().collect();
        Tensor::new(&[2, 5, 8], data)
    };
    let [q, k, v] = [0, 1, 2].map(part);
    let s = spec(true, None);
    let want = plain_attention(q.data(), k.data(), v.data(), 5, 8, &s);
    let y = self_attention(&mut g, &Var::constant(qkv.clone()), s.clone());
    assert_close(y.value.data(), &want, 1e-5);

    let mut cache = KvCache::new(&k, 6);
    cache.append(&k, &v);
    assert_close(cached_attention(&q, &cache, &s, Precision::F32).data(), &want, 1e-5);
    cache.reorder(&[1, 0]);
    let swapped = cached_attention(&q, &cache, &s, Precision::F32);
    assert!(swapped.data()[0] != want[0]);
}

#[test]
fn gradients_match_finite_differences() {
    for (causal, lengths) in [(false, None), (true, Some(&[3, 2][..]))] {
        let (mut params, id) = random_parameters(&[&[2, 3, 8], &[2, 3, 8], &[2, 3, 8]]);
        check_gradients(
            &mut params,
            |g| {
                let [q, k, v] = [0, 1, 2].map(|i| g.parameter(id[i]));
                attention(g, &q, &k, &v, spec(causal, lengths))
            },
            5e-3,
        );
    }
    let (mut params, id) = random_parameters(&[&[2, 4, 24]]);
    check_gradients(
        &mut params,
        |g| {
            let x = g.parameter(id[0]);
            let dropout = Some(DropoutStream::new(&[1, 2], 3, 4, 0.3));
            self_attention(g, &x, AttentionSpec { heads: 2, dropout, ..Default::default() })
        },
        5e-3,
    );
}

#[test]
fn gradients_are_summed_over_query_blocks() {
    let t = QUERY_BLOCK + 3;
    let (mut params, id) = random_parameters(&[&[1, t, 2], &[1, 2, 2], &[1, 2, 2]]);
    let spec = AttentionSpec { heads: 1, ..Default::default() };
    check_gradients(
        &mut params,
        |g| {
            let [q, k, v] = [0, 1, 2].map(|i| g.parameter(id[i]));
            attention(g, &q, &k, &v, spec.clone())
        },
        2e-2,
    );
}
