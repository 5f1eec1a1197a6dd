//! Helpers for the tests of operations: seeded values, random parameters, gradient checks.

use crate::tensor::{
    AttentionProjection, Gradients, Graph, Module, ParamId, ParamKind, Parameters, Precision,
    Tensor, Tower, Var,
};

/// `n` values in [-1, 1), determined by a seed.
pub(crate) fn random_values(n: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(1);
    (0..n)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            ((state >> 40) as f32) / 8_388_608.0 - 1.0
        })
        .collect()
}

/// Trained parameters `p0`, `p1`, ... of the given shapes with random values.
pub(crate) fn random_parameters(shapes: &[&[usize]]) -> (Parameters, Vec<ParamId>) {
    let mut params = Parameters::new();
    let part = Module::Attention(AttentionProjection::Query);
    let ids: Vec<_> = (0..shapes.len())
        .map(|i| {
            params.scope(Tower::Vision, "").declare(
                &format!("p{i}"),
                shapes[i],
                part,
                ParamKind::Weight,
            )
        })
        .collect();
    for (i, &id) in ids.iter().enumerate() {
        let parameter = params.get_mut(id);
        parameter.set_trained(true);
        let n = parameter.len();
        parameter.set(Tensor::new(shapes[i], random_values(n, 100 + i as u64)));
    }
    (params, ids)
}

/// The gradient of [`loss`]: a different weight for every element of `out`.
fn loss_weights(out: &Tensor) -> Tensor {
    Tensor::new(out.shape(), random_values(out.len(), 7))
}

/// A weighted sum of the elements of `out`.
fn loss(out: &Tensor) -> f64 {
    let weights = loss_weights(out);
    out.data().iter().zip(weights.data()).map(|(x, w)| f64::from(*x) * f64::from(*w)).sum()
}

/// Checks the backward pass of `f` over `params`, all of which must be trained:
///
/// - each parameter's gradient agrees with central differences to `tolerance`, relative to its
///   largest element;
/// - it has the same bits when the parameter is the only trained one;
/// - nothing is recorded when no parameter is trained;
/// - in bf16 it differs from f32 by at most [`BF16_TOLERANCE`].
pub(crate) fn check_gradients(
    params: &mut Parameters,
    f: impl Fn(&mut Graph<'_>) -> Var,
    tolerance: f64,
) {
    let gradients = gradients(params, &f);
    let ids: Vec<_> = params.iter().map(|(id, _)| id).collect();
    for &id in &ids {
        let analytic = gradients.param(id).expect("a gradient for every trained parameter").clone();
        let scale = analytic.data().iter().fold(0.0f32, |a, b| a.max(b.abs())).max(1e-3);
        for i in 0..analytic.len() {
            let step = 2e-3f32;
            let at = |params: &mut Parameters, delta: f32| {
                let before = params.get(id).value().data()[i];
                params.get_mut(id).value_mut().data_mut()[i] = before + delta;
                let out = f(&mut Graph::inference(params)).value;
                params.get_mut(id).value_mut().data_mut()[i] = before;
                loss(&out)
            };
            let numeric = (at(params, step) - at(params, -step)) / f64::from(2.0 * step);
            let error = (numeric - f64::from(analytic.data()[i])).abs() / f64::from(scale);
            let name = params.get(id).name();
            assert!(
                error < tolerance,
                "{name}[{i}]: backward gives {}, finite differences give {numeric}",
                analytic.data()[i]
            );
        }
    }
    for &only in &ids {
        for &id in &ids {
            params.get_mut(id).set_trained(id == only);
        }
        let alone = self::gradients(params, &f);
        for &id in &ids {
            assert_eq!(alone.param(id).is_some(), id == only);
        }
        let (a, b) = (alone.param(only).expect("trained"), gradients.param(only).expect("trained"));
        assert!(a.data() == b.data(), "the gradient depends on which other parameters are trained");
    }
    for &id in &ids {
        params.get_mut(id).set_trained(false);
    }
    let mut graph = Graph::training(params);
    f(&mut graph);
    assert_eq!(
        graph.recorded_operations(),
        0,
        "an operation was recorded although nothing is trained"
    );
    for &id in &ids {
        params.get_mut(id).set_trained(true);
    }
    params.set_precision(Precision::Bf16);
    let in_bf16 = self::gradients(params, &f);
    params.set_precision(Precision::F32);
    for &id in &ids {
        let [a, b] = [&in_bf16, &gradients].map(|g| g.param(id).expect("trained"));
        assert_close(a.data(), b.data(), BF16_TOLERANCE);
    }
}

/// How far a gradient in bf16, whose significand has 8 bits, may differ from f32, relative to its
/// largest element.
const BF16_TOLERANCE: f32 = 3e-2;

/// The parameters' gradients of [`loss`] of `f`.
fn gradients(params: &Parameters, f: impl Fn(&mut Graph<'_>) -> Var) -> Gradients {
    let mut graph = Graph::training(params);
    let out = f(&mut graph);
    let mut gradients = Gradients::new();
    let seed = loss_weights(&out.value).to_precision(out.value.precision());
    graph.backward(out.gradient_slot(), seed, &mut gradients);
    gradients
}

/// Asserts that `a` and `b` differ by at most `tolerance` times the largest magnitude in `b`.
pub(crate) fn assert_close(a: &[f32], b: &[f32], tolerance: f32) {
    assert_eq!(a.len(), b.len());
    let scale = b.iter().fold(1e-6f32, |m, x| m.max(x.abs()));
    for (i, (x, y)) in a.iter().zip(b).enumerate() {
        assert!((x - y).abs() <= tolerance * scale, "element {i}: {x} is not close to {y}");
    }
}
