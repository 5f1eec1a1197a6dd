//! How fast this machine is, from a second or less of the library's own operations.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::ops::{self, AttentionSpec, Output};
use crate::tensor::{
    Gradients, Graph, Meter, NormPlace, ParamId, Parameters, Part, Precision, Tensor, Term, Tower,
    Var, Work,
};

/// Of each operation, at least.
const LONG: Duration = Duration::from_millis(150);
/// Rows of a product in which packing counts for most.
const FEW: usize = 32;
/// Matrices that are multiplied in turn: together they are larger than a cache, as a model's are.
const MATRICES: usize = 8;

/// The size of what is timed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    /// Rows of a product.
    pub rows: usize,
    /// Channels of the widest tower; a multiple of the heads.
    pub channels: usize,
    /// Channels inside its feed-forward network.
    pub inner: usize,
    /// Of its attention.
    pub heads: usize,
    /// Tokens of a sequence.
    pub tokens: usize,
}

/// Work in a second.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Rates {
    /// Floating-point operations of matrix products.
    pub products: f64,
    /// Elements of their right factors, packed.
    pub packed: f64,
    /// Floating-point operations of attentions' products, with all that attention does beside them.
    pub attention: f64,
    /// Elements of everything else.
    pub elements: f64,
}

impl Rates {
    /// Times products, an attention and a norm, forward and backward.
    pub(super) fn measure(sizes: Sizes, precision: Precision) -> Self {
        let Sizes { rows, channels, inner, heads, tokens } = sizes;
        let mut params = Parameters::new();
        let mut scope = params.scope(Tower::Vision, "");
        let matrices = [(); MATRICES]
            .map(|()| scope.declare("matrix", &[inner, channels], Part::Fc1, Term::Weight));
        let norm = Part::Norm(NormPlace::Ffn);
        let gain = scope.declare("gain", &[channels], norm, Term::Weight);
        let shift = scope.declare("shift", &[channels], norm, Term::Bias);
        let mut input = |name, shape: &[usize]| scope.declare(name, shape, norm, Term::Weight);
        let many = input("many", &[1, rows, channels]);
        let few = input("few", &[1, FEW, channels]);
        let qkv = input("qkv", &[1, tokens, 3 * channels]);
        for (_, p) in params.iter_mut() {
            p.trained = p.role.part == norm;
            let values = (0..p.len()).map(|i| (i % 251) as f32 / 251.0 - 0.5).collect();
            p.set(Tensor::new(&p.shape.clone(), values));
        }
        params.set_precision(precision);
        let spec = AttentionSpec { heads, ..AttentionSpec::default() };
        let turn = Cell::new(0);
        let product = |g: &mut Graph<'_>, id: ParamId| {
            let (x, matrix) = (g.parameter(id), matrices[turn.get() % MATRICES]);
            turn.set(turn.get() + 1);
            ops::linear(g, &x, matrix, None, Output::Inner)
        };
        let attention = |g: &mut Graph<'_>, id: ParamId| {
            let qkv = g.parameter(id);
            ops::self_attention(g, &qkv, spec.clone())
        };
        let pass = |g: &mut Graph<'_>, id: ParamId| {
            let x = g.parameter(id);
            ops::layer_norm(g, &x, gain, shift, 1e-6, Precision::F32)
        };
        let (of_many, long) = timed(&mut params, many, product);
        let (of_few, short) = timed(&mut params, few, product);
        // A matrix is packed alike for many rows and for few. Noise can turn either difference around.
        let flop = of_many.products - of_few.products;
        let each = (long - short).max(long / 10.0) / flop as f64;
        let packing = (short - each * of_few.products as f64).max(short / 10.0);
        let (of_attention, attending) = timed(&mut params, qkv, attention);
        let (of_pass, passing) = timed(&mut params, many, pass);
        Self {
            products: 1.0 / each,
            packed: of_few.packed as f64 / packing,
            attention: of_attention.attention as f64 / attending,
            elements: of_pass.elements as f64 / passing,
        }
    }

    /// Seconds for `work`.
    pub fn seconds(&self, work: Work) -> f64 {
        work.products as f64 / self.products
            + work.packed as f64 / self.packed
            + work.attention as f64 / self.attention
            + work.elements as f64 / self.elements
    }
}

/// The work of `operation` on the parameter `input`, forward and backward, and its seconds: the median.
fn timed(
    params: &mut Parameters,
    input: ParamId,
    operation: impl Fn(&mut Graph<'_>, ParamId) -> Var,
) -> (Work, f64) {
    let meter = Meter::new();
    let value = params.get(input).value().clone().metered(&meter);
    params.get_mut(input).set(value);
    let params = &*params;
    let once = || {
        let (before, began) = (meter.work(), Instant::now());
        let mut g = Graph::training(params);
        let y = operation(&mut g, input);
        let seed = y.value.zeros_beside(y.shape()).to_precision(y.value.precision());
        g.backward(y.source(), seed, &mut Gradients::new());
        (meter.work() - before, began.elapsed().as_secs_f64())
    };
    once(); // the memory and the threads are there now
    let (began, mut all) = (Instant::now(), vec![once()]);
    while began.elapsed() < LONG {
        all.push(once());
    }
    all.sort_by(|(_, a), (_, b)| a.total_cmp(b));
    all[all.len() / 2]
}
