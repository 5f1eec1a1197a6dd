//! The values that parameters start from when there is no checkpoint.

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::tensor::{
    EmbeddingKind, Module, ParamKind, Parameter, Parameters, Tensor, random_normal,
};

/// The standard deviation of tables, and of matrices with [`WIDTH`] inputs, as in BERT and BLIP's ViT.
const DEVIATION: f32 = 0.02;

/// The width that [`DEVIATION`] belongs to. Narrower matrices start larger, so that their outputs have the same
/// size: a model of 128 channels that starts at 0.02 never learns to use the image.
const WIDTH: f32 = 768.0;

/// Gives every parameter a value. Embedding tables are normal with standard deviation 0.02, matrices with
/// `0.02 sqrt(768 / inputs)`; the weights of norms are 1, and biases 0. A parameter's values depend on `seed`
/// and its name alone.
pub fn initialize(params: &mut Parameters, seed: u64) {
    let mut list: Vec<_> = params.iter_mut().map(|(_, p)| p).collect();
    list.par_iter_mut().for_each(|p| {
        let n = p.len();
        let data = match (p.role().module, p.role().kind) {
            (_, ParamKind::Bias) => vec![0.0; n],
            (Module::Norm(_), ParamKind::Weight) => vec![1.0; n],
            (Module::Embedding(EmbeddingKind::Patch), ParamKind::Weight) => {
                random_normal(n, matrix_deviation(p), seed, p.name())
            }
            (Module::Embedding(_), ParamKind::Weight) => {
                random_normal(n, DEVIATION, seed, p.name())
            }
            (_, ParamKind::Weight) => random_normal(n, matrix_deviation(p), seed, p.name()),
        };
        p.set(Tensor::new(p.shape(), data));
    });
}

/// The standard deviation of a matrix `[out, in..]`.
fn matrix_deviation(p: &Parameter) -> f32 {
    let inputs: usize = p.shape()[1..].iter().product();
    DEVIATION * (WIDTH / inputs as f32).sqrt()
}

/// SHA-256 of the names and values of all parameters, in hexadecimal.
pub(super) fn hash_parameters(params: &Parameters) -> String {
    let mut hash = Sha256::new();
    for (_, p) in params.iter() {
        hash.update((p.name().len() as u64).to_le_bytes());
        hash.update(p.name());
        hash.update((p.len() as u64).to_le_bytes());
        for block in p.value().data().chunks(1 << 12) {
            hash.update(block.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>());
        }
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::{AttentionProjection, NormPosition, Tower};

    fn parameters(names: &[&str]) -> Parameters {
        let mut params = Parameters::new();
        let mut scope = params.scope(Tower::Text, "");
        for name in names {
            let part = Module::Attention(AttentionProjection::Query);
            scope.declare(name, &[101, 99], part, ParamKind::Weight);
        }
        scope.declare("gain", &[4], Module::Norm(NormPosition::Final), ParamKind::Weight);
        scope.declare("shift", &[4], Module::Norm(NormPosition::Final), ParamKind::Bias);
        params
    }

    fn value<'p>(params: &'p Parameters, name: &str) -> &'p [f32] {
        params.get(params.find(name).unwrap()).value().data()
    }

    #[test]
    fn weights_are_normal_and_known_by_seed_and_name() {
        let (mut one, mut two) = (parameters(&["a", "b"]), parameters(&["b"]));
        initialize(&mut one, 1);
        initialize(&mut two, 1);
        assert_eq!(value(&one, "b"), value(&two, "b"));
        assert_ne!(value(&one, "b"), value(&one, "a"));
        initialize(&mut two, 2);
        assert_ne!(value(&one, "b"), value(&two, "b"));
        assert_eq!((value(&one, "gain"), value(&one, "shift")), (&[1.0; 4][..], &[0.0; 4][..]));

        let a = value(&one, "a");
        let deviation = DEVIATION * (WIDTH / 99.0).sqrt();
        let moment = |k| a.iter().map(|x| (x / deviation).powi(k)).sum::<f32>() / a.len() as f32;
        for (k, expected, tolerance) in [(1, 0.0, 0.04), (2, 1.0, 0.06), (4, 3.0, 0.5)] {
            assert!((moment(k) - expected).abs() < tolerance, "moment {k}: {}", moment(k));
        }
    }
}
