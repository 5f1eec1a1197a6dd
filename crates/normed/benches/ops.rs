//! Single operations with the shapes of ViT-B: 197 tokens, batch 4, frozen parameters, and an input that
//! needs its gradient.
//!
//!     cargo bench --workspace --bench ops [-- FILTER]
//!
//! For operations with matrix products, an item is a floating-point operation of a product; the rest of the
//! operation is included in the time. For gelu and layer_norm, an item is an element. RAYON_NUM_THREADS sets
//! the number of threads.

use divan::Bencher;
use divan::counter::ItemsCount;
use normed::nn::{LayerNorm, Linear, Mlp};
use normed::ops::{self, Activation, AttentionSpec};
use normed::tensor::{
    Gradients, Graph, Module, NormPosition, Parameters, Precision, Quantization, QuantizedMatrix,
    Scope, Tensor, Tower, Var,
};

const BATCH: usize = 4;
const TOKENS: usize = 197;
const ROWS: usize = BATCH * TOKENS;
const HIDDEN: usize = 768;
const INTERMEDIATE: usize = 4 * HIDDEN;
const PRECISIONS: [Precision; 2] = [Precision::F32, Precision::Bf16];

/// Rows, outputs and inputs of the linear layers: those of a block, and one with 577 tokens.
const LINEAR: [[usize; 3]; 4] = [
    [ROWS, HIDDEN, HIDDEN],
    [ROWS, INTERMEDIATE, HIDDEN],
    [ROWS, HIDDEN, INTERMEDIATE],
    [BATCH * 577, INTERMEDIATE, HIDDEN],
];

fn main() -> Result<(), rayon::ThreadPoolBuildError> {
    rayon::ThreadPoolBuilder::new().use_current_thread().build_global()?;
    println!("{} threads", rayon::current_num_threads());
    divan::main();
    Ok(())
}

#[divan::bench(args = shapes())]
fn linear_forward(bencher: Bencher, (precision, shape): (Precision, [usize; 3])) {
    linear(shape, precision).forward(bencher);
}

#[divan::bench(args = shapes())]
fn linear_backward(bencher: Bencher, (precision, shape): (Precision, [usize; 3])) {
    linear(shape, precision).backward(bencher);
}

/// Rows, outputs and inputs of a linear layer of a 7B language model with 640 tokens, to measure the cost of
/// reading quantized weights.
const LARGE: [usize; 3] = [640, 14336, 4096];

#[divan::bench(args = kinds(), sample_count = 10)]
fn large_forward(bencher: Bencher, (precision, kind): (Precision, WeightKind)) {
    large(precision, kind).forward(bencher);
}

#[divan::bench(args = kinds(), sample_count = 10)]
fn large_backward(bencher: Bencher, (precision, kind): (Precision, WeightKind)) {
    large(precision, kind).backward(bencher);
}

#[divan::bench(args = PRECISIONS)]
fn gelu_forward(bencher: Bencher, precision: Precision) {
    gelu(precision).forward(bencher);
}

#[divan::bench(args = PRECISIONS)]
fn gelu_backward(bencher: Bencher, precision: Precision) {
    gelu(precision).backward(bencher);
}

#[divan::bench(args = PRECISIONS)]
fn mlp_forward(bencher: Bencher, precision: Precision) {
    mlp(precision).forward(bencher);
}

#[divan::bench(args = PRECISIONS)]
fn mlp_backward(bencher: Bencher, precision: Precision) {
    mlp(precision).backward(bencher);
}

#[divan::bench(args = PRECISIONS)]
fn attention_forward(bencher: Bencher, precision: Precision) {
    attention(precision).forward(bencher);
}

#[divan::bench(args = PRECISIONS)]
fn attention_backward(bencher: Bencher, precision: Precision) {
    attention(precision).backward(bencher);
}

#[divan::bench(args = PRECISIONS)]
fn layer_norm_forward(bencher: Bencher, precision: Precision) {
    layer_norm(precision).forward(bencher);
}

#[divan::bench(args = PRECISIONS)]
fn layer_norm_backward(bencher: Bencher, precision: Precision) {
    layer_norm(precision).backward(bencher);
}

fn shapes() -> impl Iterator<Item = (Precision, [usize; 3])> {
    PRECISIONS.into_iter().flat_map(|precision| LINEAR.map(|shape| (precision, shape)))
}

fn linear([rows, outputs, inputs]: [usize; 3], precision: Precision) -> Operation {
    let operations = 2 * rows * outputs * inputs;
    Operation::new(precision, precision, &[rows, inputs], [operations; 2], |scope| {
        let layer = Linear::declare(scope, "linear", [outputs, inputs], Module::Fc1);
        Box::new(move |g, x| layer.forward(g, x))
    })
}

/// The quantization of a weight, if any.
type WeightKind = Option<Quantization>;

fn kinds() -> impl Iterator<Item = (Precision, WeightKind)> {
    let kinds = [None, Some(Quantization::Int8), Some(Quantization::Nf4)];
    PRECISIONS.into_iter().flat_map(move |precision| kinds.map(|kind| (precision, kind)))
}

fn large(precision: Precision, kind: WeightKind) -> Operation {
    let mut operation = linear(LARGE, precision);
    let [_, outputs, inputs] = LARGE;
    if let Some(to) = kind {
        let (_, weight) = operation.params.iter_mut().next().expect("the weight is declared first");
        let quantized = QuantizedMatrix::quantize(weight.value().factor(), outputs, inputs, to);
        weight.set(Tensor::quantized(quantized.expect("all values are finite")));
    }
    operation
}

fn gelu(precision: Precision) -> Operation {
    let elements = ROWS * INTERMEDIATE;
    let shape = [ROWS, INTERMEDIATE];
    Operation::new(precision, precision, &shape, [elements; 2], |_| {
        Box::new(|g, x| ops::activate(g, x, Activation::Gelu))
    })
}

fn mlp(precision: Precision) -> Operation {
    let operations = 4 * ROWS * HIDDEN * INTERMEDIATE;
    Operation::new(precision, precision, &[ROWS, HIDDEN], [operations; 2], |scope| {
        let mlp = Mlp::declare(scope, ["fc1", "fc2"], [HIDDEN, INTERMEDIATE], Activation::Gelu);
        let residual = Var::constant(ramp(&[ROWS, HIDDEN]));
        Box::new(move |g, x| mlp.add_with_dropout(g, x, &residual, None))
    })
}

/// Two products in forward, five in backward, which computes the scores again.
fn attention(precision: Precision) -> Operation {
    let product = 2 * BATCH * TOKENS * TOKENS * HIDDEN;
    let (shape, counts) = ([BATCH, TOKENS, 3 * HIDDEN], [2 * product, 5 * product]);
    Operation::new(precision, precision, &shape, counts, |_| {
        let spec = || AttentionSpec { heads: HIDDEN / 64, ..AttentionSpec::default() };
        Box::new(move |g, qkv| ops::self_attention(g, qkv, spec()))
    })
}

fn layer_norm(precision: Precision) -> Operation {
    let counts = [ROWS * HIDDEN; 2];
    Operation::new(precision, Precision::F32, &[ROWS, HIDDEN], counts, |scope| {
        let norm = LayerNorm::declare(scope, "norm", HIDDEN, 1e-6, NormPosition::Final);
        Box::new(move |g, x| norm.forward_autocast(g, x))
    })
}

type Run = Box<dyn Fn(&mut Graph<'_>, &Var) -> Var>;

/// An operation and an input that needs its gradient.
struct Operation {
    params: Parameters,
    input: Tensor,
    run: Run,
    /// Items in forward and in backward.
    counts: [usize; 2],
}

impl Operation {
    fn new(
        precision: Precision,
        input: Precision,
        shape: &[usize],
        counts: [usize; 2],
        declare: impl FnOnce(&mut Scope<'_>) -> Run,
    ) -> Self {
        let mut params = Parameters::new();
        let run = declare(&mut params.scope(Tower::Vision, ""));
        for (_, p) in params.iter_mut() {
            p.set(ramp(p.shape()));
        }
        params.set_precision(precision);
        Self { params, input: ramp(shape).to_precision(input), run, counts }
    }

    /// Runs the forward pass.
    fn pass(&self) -> (Graph<'_>, Var) {
        let mut g = Graph::training(&self.params);
        let x = g.record(self.input.clone(), true, |_, _| ());
        let y = (self.run)(&mut g, &x);
        (g, y)
    }

    fn forward(&self, bencher: Bencher) {
        bencher.counter(ItemsCount::new(self.counts[0])).bench_local(|| self.pass());
    }

    fn backward(&self, bencher: Bencher) {
        let forward = || {
            let (g, y) = self.pass();
            let seed = ramp(y.shape()).to_precision(y.value.precision());
            (g, y, seed)
        };
        let bencher = bencher.counter(ItemsCount::new(self.counts[1])).with_inputs(forward);
        bencher.bench_local_values(|(g, y, seed)| {
            g.backward(y.gradient_slot(), seed, &mut Gradients::new())
        });
    }
}

/// Values in [-1, 1).
fn ramp(shape: &[usize]) -> Tensor {
    let count: usize = shape.iter().product();
    Tensor::new(shape, (0..count).map(|i| (i % 997) as f32 / 498.5 - 1.0).collect())
}
