//! The speed of this machine, measured with the library's own operations in a second or two.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::ops::{self, AttentionSpec, Output};
use crate::tensor::{
    Gradients, Graph, Meter, Module, NormPosition, OperationCounts, ParamId, ParamKind, Parameters,
    Precision, RunPrecision, Tensor, Tower, Var,
};

/// How long the operations are timed, at least.
const DURATION: Duration = Duration::from_millis(1200);
/// Rows of a matrix product that is dominated by packing its right factor.
const FEW: usize = 32;
/// Bytes of the matrices that are multiplied in turn. A model's do not fit the processor's cache either.
const MATRICES: usize = 128 << 20;

/// Sizes of the timed operations.
#[derive(Debug, Clone, Copy)]
pub(super) struct BenchmarkSizes {
    /// Rows of a matrix product.
    pub rows: usize,
    /// Channels of the widest tower; a multiple of the heads.
    pub channels: usize,
    /// Channels inside the feed-forward network.
    pub inner: usize,
    /// Attention heads.
    pub heads: usize,
    /// Tokens of a sequence.
    pub tokens: usize,
    /// Elements of the model's parameters.
    pub parameters: usize,
}

/// Operations per second of a machine.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct MachineSpeed {
    /// Floating-point operations of matrix products.
    pub products: f64,
    /// Elements of matrix products' right factors that are packed.
    pub packed: f64,
    /// Floating-point operations of attention's matrix products, with the rest of attention included.
    pub attention: f64,
    /// Elements of all other operations.
    pub elements: f64,
}

impl MachineSpeed {
    /// Times matrix products, attention and a norm, forward and backward.
    pub(super) fn measure(sizes: BenchmarkSizes, precision: RunPrecision) -> Self {
        let heads = sizes.heads;
        let BenchmarkModel { mut params, matrices, gain, shift, many, few, qkv } =
            BenchmarkModel::new(sizes, precision);
        let spec = AttentionSpec { heads, ..AttentionSpec::default() };
        let turn = Cell::new(0);
        let product = |g: &mut Graph<'_>, id: ParamId| {
            let (x, matrix) = (g.parameter(id), matrices[turn.get() % matrices.len()]);
            turn.set(turn.get() + 1);
            ops::linear(g, &x, matrix, None, Output::RunPrecision)
        };
        let attention = |g: &mut Graph<'_>, id: ParamId| {
            let qkv = g.parameter(id);
            ops::self_attention(g, &qkv, spec.clone())
        };
        let pass = |g: &mut Graph<'_>, id: ParamId| {
            let x = g.parameter(id);
            ops::layer_norm(g, &x, gain, shift, 1e-6, Precision::F32)
        };
        let mut timed = [
            TimedOperation::new(many, &product),
            TimedOperation::new(few, &product),
            TimedOperation::new(qkv, &attention),
            TimedOperation::new(many, &pass),
        ];
        // They alternate, so that other load on the machine affects all of them alike.
        let began = Instant::now();
        while began.elapsed() < DURATION {
            timed.iter_mut().for_each(|timed| timed.time_once(&mut params));
        }
        let [(of_many, long), (of_few, short), (of_attention, attending), (of_pass, passing)] =
            timed.map(TimedOperation::median);
        // Packing costs the same for many rows as for few. Noise can make either difference negative.
        let flop = of_many.product_flops - of_few.product_flops;
        let each = (long - short).max(long / 10.0) / flop as f64;
        let packing = (short - each * of_few.product_flops as f64).max(short / 10.0);
        Self {
            products: 1.0 / each,
            packed: of_few.packed_elements as f64 / packing,
            attention: of_attention.attention_flops as f64 / attending,
            elements: of_pass.elementwise as f64 / passing,
        }
    }

    /// Estimated seconds for `work`.
    pub fn seconds(&self, work: OperationCounts) -> f64 {
        work.product_flops as f64 / self.products
            + work.packed_elements as f64 / self.packed
            + work.attention_flops as f64 / self.attention
            + work.elementwise as f64 / self.elements
    }
}

/// Parameters of the timed operations, and their inputs, which are parameters too.
struct BenchmarkModel {
    params: Parameters,
    /// Frozen matrices.
    matrices: Vec<ParamId>,
    /// Gain and shift of a norm.
    gain: ParamId,
    shift: ParamId,
    /// An input of many rows, `[1, rows, channels]`.
    many: ParamId,
    /// An input of few rows, `[1, FEW, channels]`.
    few: ParamId,
    /// Queries, keys and values, `[1, tokens, 3 * channels]`.
    qkv: ParamId,
}

impl BenchmarkModel {
    fn new(sizes: BenchmarkSizes, precision: RunPrecision) -> Self {
        let BenchmarkSizes { rows, channels, inner, tokens, parameters, .. } = sizes;
        let mut params = Parameters::new();
        let mut scope = params.scope(Tower::Vision, "");
        let count = (MATRICES / precision.values().size()).min(parameters) / (inner * channels);
        let matrices: Vec<_> = (0..count.max(1))
            .map(|_| scope.declare("matrix", &[inner, channels], Module::Fc1, ParamKind::Weight))
            .collect();
        let norm = Module::Norm(NormPosition::Ffn);
        let gain = scope.declare("gain", &[channels], norm, ParamKind::Weight);
        let shift = scope.declare("shift", &[channels], norm, ParamKind::Bias);
        let mut input = |name, shape: &[usize]| scope.declare(name, shape, norm, ParamKind::Weight);
        let many = input("many", &[1, rows, channels]);
        let few = input("few", &[1, FEW, channels]);
        let qkv = input("qkv", &[1, tokens, 3 * channels]);
        for (_, p) in params.iter_mut() {
            p.set_trained(p.role().module == norm);
            let values = (0..p.len()).map(|i| (i % 251) as f32 / 251.0 - 0.5).collect();
            p.set(Tensor::new(p.shape(), values));
        }
        params.set_precision(precision);
        Self { params, matrices, gain, shift, many, few, qkv }
    }
}

/// An operation on a parameter that is timed repeatedly.
struct TimedOperation<'a> {
    input: ParamId,
    operation: &'a dyn Fn(&mut Graph<'_>, ParamId) -> Var,
    work: OperationCounts,
    seconds: Vec<f64>,
}

impl<'a> TimedOperation<'a> {
    fn new(input: ParamId, operation: &'a dyn Fn(&mut Graph<'_>, ParamId) -> Var) -> Self {
        Self { input, operation, work: OperationCounts::default(), seconds: Vec::new() }
    }

    /// Times the operation once, forward and backward.
    fn time_once(&mut self, params: &mut Parameters) {
        let meter = Meter::new();
        let value = params.get(self.input).value().clone().with_meter(&meter);
        params.get_mut(self.input).set(value);
        let began = Instant::now();
        let mut g = Graph::training(params);
        let y = (self.operation)(&mut g, self.input);
        let seed = y.value.zeros_like(y.shape()).to_precision(y.value.precision());
        g.backward(y.gradient_slot(), seed, &mut Gradients::new());
        self.seconds.push(began.elapsed().as_secs_f64());
        self.work = meter.operation_counts();
    }

    /// The operation's work, and the median of its times. Not the minimum, since other load on the machine
    /// slows down a run as well.
    fn median(mut self) -> (OperationCounts, f64) {
        self.seconds.sort_by(f64::total_cmp);
        (self.work, self.seconds[self.seconds.len() / 2])
    }
}
