//! Operations whose frozen matrices are codes for products in int8, against f32.

use normed_engine::ops::{Activation, Output, gated_mlp, linear, low_rank_linear, mlp};
use normed_engine::tensor::{
    Gradients, Graph, LowRank, LowRankConfig, Meter, Module, NormPosition, ParamId, ParamKind,
    Parameters, Precision, Recompute, RunPrecision, Tensor, Tower, Var,
};

const ROWS: usize = 37;
const WIDTH: usize = 150;
const INNER: usize = 290;

type Layer = (ParamId, Option<ParamId>);

/// A trained input `[ROWS, WIDTH]` and frozen layers.
struct Case {
    params: Parameters,
    x: ParamId,
    up: Layer,
    gate: Layer,
    down: Layer,
    plugged: ParamId,
    path: LowRank,
}

/// Values like those of activations: most are small, and a few are large.
fn values(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let mut uniform = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / 8_388_608.0 - 1.0
    };
    (0..len).map(|_| uniform() * (1.0 + 3.0 * uniform().powi(8))).collect()
}

fn case(precision: RunPrecision) -> Case {
    let mut params = Parameters::new();
    let mut scope = params.scope(Tower::Text, "");
    let norm = Module::Norm(NormPosition::Ffn);
    let x = scope.declare("x", &[ROWS, WIDTH], norm, ParamKind::Weight);
    let mut layer = |name: &str, module, shape: [usize; 2]| {
        let weight = scope.declare(&format!("{name}.weight"), &shape, module, ParamKind::Weight);
        let bias = scope.declare(&format!("{name}.bias"), &shape[..1], module, ParamKind::Bias);
        (weight, Some(bias))
    };
    let up = layer("up", Module::Up, [INNER, WIDTH]);
    let gate = layer("gate", Module::Gate, [INNER, WIDTH]);
    let down = layer("down", Module::Down, [WIDTH, INNER]);
    let (plugged, _) = layer("plugged", Module::Fc1, [INNER, WIDTH]);
    let path = params.plug_low_rank(
        plugged,
        LowRankConfig {
            rank: 3,
            alpha: 6.0,
            use_rslora: false,
            dropout: 0.0,
            has_magnitude: false,
        },
    );
    for (i, (_, p)) in params.iter_mut().enumerate() {
        let scale = if p.role().module == norm { 1.0 } else { 0.1 };
        let values = values(p.len(), i as u64 + 1).into_iter().map(|x| scale * x).collect();
        p.set(Tensor::new(p.shape(), values));
        p.set_trained(p.role().module == norm || p.is_added());
    }
    params.set_precision(precision);
    Case { params, x, up, gate, down, plugged, path }
}

type Operation = fn(&mut Graph<'_>, &Var, &Case) -> Var;

const OPERATIONS: [(&str, Operation); 4] = [
    ("linear", |g, x, case| linear(g, x, case.up.0, case.up.1, Output::F32)),
    ("mlp", |g, x, case| mlp(g, x, case.up, case.down, Activation::Gelu, Output::AddTo(x))),
    ("gated_mlp", |g, x, case| gated_mlp(g, x, [case.gate, case.up, case.down], Output::AddTo(x))),
    ("low_rank_linear", |g, x, case| {
        low_rank_linear(g, x, None, (case.plugged, None), case.path, Output::F32)
    }),
];

/// The output, and the gradients of all trained parameters.
fn run(case: &Case, operation: Operation, recompute: Recompute) -> Vec<Vec<f32>> {
    let mut g = Graph::training(&case.params).with_recompute(recompute);
    let x = g.parameter(case.x);
    let y = operation(&mut g, &x, case);
    let seed = Tensor::new(y.shape(), values(y.value.len(), 99));
    let output = y.value.data().to_vec();
    let mut gradients = Gradients::new();
    g.backward(y.gradient_slot(), seed, &mut gradients);
    let trained = case.params.trained().filter_map(|(id, _)| gradients.param(id));
    [output].into_iter().chain(trained.map(|x| x.data().to_vec())).collect()
}

fn relative_error(got: &[f32], exact: &[f32]) -> f64 {
    let square = |x: f32| f64::from(x) * f64::from(x);
    let error: f64 = got.iter().zip(exact).map(|(a, b)| square(a - b)).sum();
    (error / exact.iter().map(|&x| square(x)).sum::<f64>()).sqrt()
}

#[test]
fn outputs_and_gradients_are_close_to_f32() {
    let (exact, coded) = (case(RunPrecision::F32), case(RunPrecision::Int8));
    for (name, operation) in OPERATIONS {
        let want = run(&exact, operation, Recompute::None);
        let got = run(&coded, operation, Recompute::None);
        assert_eq!(got.len(), want.len());
        for (got, want) in got.iter().zip(&want) {
            let error = relative_error(got, want);
            assert!(error < 0.02, "{name}: {error}");
        }
        assert!(relative_error(&got[0], &want[0]) > 1e-4, "{name} is not in int8");
        assert!(run(&coded, operation, Recompute::Ffn) == got, "{name}, recomputed");
    }
}

#[test]
fn exactly_the_frozen_matrices_of_linear_layers_are_codes() {
    let mut case = case(RunPrecision::Int8);
    let coded: Vec<_> = case
        .params
        .iter()
        .filter(|(_, p)| p.value().has_codes())
        .map(|(_, p)| p.name().to_owned())
        .collect();
    assert_eq!(coded, ["up.weight", "gate.weight", "down.weight", "plugged.weight"]);
    // A matrix that is trained after all is f32 again, with the values that the codes stand for.
    case.params.get_mut(case.up.0).set_trained(true);
    case.params.set_precision(RunPrecision::Int8);
    let value = case.params.get(case.up.0).value();
    assert!(!value.has_codes() && value.precision() == Precision::F32);
    let original = values(INNER * WIDTH, case.up.0.index() as u64 + 1);
    let original: Vec<_> = original.into_iter().map(|x| 0.1 * x).collect();
    assert!(relative_error(value.data(), &original) < 0.02);
}

/// The codes for the backward product are claimed from the first one on.
#[test]
fn a_plan_claims_the_codes_of_both_directions() {
    let (mut planned, mut real) = (case(RunPrecision::Int8), case(RunPrecision::Int8));
    let (meter, plan) = (Meter::new(), Meter::new());
    planned.params.plan_values(RunPrecision::Int8, &plan);
    for (_, p) in real.params.iter_mut() {
        let value = p.value().clone().with_meter(&meter);
        p.set(value);
    }
    let before = meter.live_bytes();
    assert_eq!(before, plan.live_bytes());
    for (_, operation) in OPERATIONS {
        for case in [&planned, &real] {
            let mut g = Graph::training(&case.params);
            let x = g.parameter(case.x);
            let y = operation(&mut g, &x, case);
            let seed = y.value.zeros_like(y.shape());
            g.backward(y.gradient_slot(), seed, &mut Gradients::new());
        }
        assert_eq!(meter.live_bytes(), plan.live_bytes());
        assert_eq!(meter.peak_bytes(), plan.peak_bytes());
        assert_eq!(meter.scratch_bytes(), plan.scratch_bytes());
    }
    // Four matrices, each of a byte an element, rounded up to panels and groups.
    let added = meter.live_bytes() - before;
    assert!((4 * INNER * WIDTH..8 * INNER * WIDTH).contains(&added), "{added}");
}
