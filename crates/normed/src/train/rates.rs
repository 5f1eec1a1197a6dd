//! How fast this machine is, from a second or less of the library's own operations.

use std::time::{Duration, Instant};

use crate::ops::{self, AttentionSpec, Output};
use crate::tensor::{
    Gradients, Graph, Meter, NormPlace, ParamId, Parameters, Part, Precision, Tensor, Term, Tower,
    Var, Work,
};

/// Of each operation, at least.
const LONG: Duration = Duration::from_millis(150);

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
    /// Floating-point operations of attentions' products, with all that attention does beside them.
    pub attention: f64,
    /// Elements of everything else.
    pub elements: f64,
}

impl Rates {
    /// Times a product, an attention and a norm, forward and backward.
    pub(super) fn measure(sizes: Sizes, precision: Precision) -> Self {
        let Sizes { rows, channels, inner, heads, tokens } = sizes;
        let mut params = Parameters::new();
        let mut scope = params.scope(Tower::Vision, "");
        let matrix = scope.declare("matrix", &[inner, channels], Part::Fc1, Term::Weight);
        let norm = Part::Norm(NormPlace::Ffn);
        let gain = scope.declare("gain", &[channels], norm, Term::Weight);
        let shift = scope.declare("shift", &[channels], norm, Term::Bias);
        let mut input = |name, shape: &[usize]| scope.declare(name, shape, norm, Term::Weight);
        let x = input("x", &[1, rows, channels]);
        let qkv = input("qkv", &[1, tokens, 3 * channels]);
        for (_, p) in params.iter_mut() {
            p.trained = p.role.part == norm;
            let values = (0..p.len()).map(|i| (i % 251) as f32 / 251.0 - 0.5).collect();
            p.set(Tensor::new(&p.shape.clone(), values));
        }
        params.set_precision(precision);
        let spec = AttentionSpec { heads, ..AttentionSpec::default() };
        let product = |g: &mut Graph<'_>, id: ParamId| {
            let x = g.parameter(id);
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
        Self {
            products: rate(&mut params, x, product, |work| work.products),
            attention: rate(&mut params, qkv, attention, |work| work.attention),
            elements: rate(&mut params, x, pass, |work| work.elements),
        }
    }

    /// Seconds for `work`.
    pub fn seconds(&self, work: Work) -> f64 {
        work.products as f64 / self.products
            + work.attention as f64 / self.attention
            + work.elements as f64 / self.elements
    }
}

/// The work of `operation` on the parameter `input` in a second.
fn rate(
    params: &mut Parameters,
    input: ParamId,
    operation: impl Fn(&mut Graph<'_>, ParamId) -> Var,
    of: impl Fn(Work) -> u64,
) -> f64 {
    let meter = Meter::new();
    let value = params.get(input).value().clone().metered(&meter);
    params.get_mut(input).set(value);
    let params = &*params;
    let once = || {
        let mut g = Graph::training(params);
        let y = operation(&mut g, input);
        let seed = y.value.zeros_beside(y.shape()).to_precision(y.value.precision());
        g.backward(y.source(), seed, &mut Gradients::new());
    };
    once(); // the memory and the threads are there now
    let (before, began) = (meter.work(), Instant::now());
    while began.elapsed() < LONG {
        once();
    }
    of(meter.work() - before) as f64 / began.elapsed().as_secs_f64()
}
