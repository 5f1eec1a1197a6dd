//! Prints the rate at which this machine multiplies a linear layer's matrices, packing and bias included.
//!
//!     cargo run --release --package normed --example bench_linear

use std::time::Instant;

use normed::ops::{Output, linear};
use normed::tensor::{Graph, Parameters, Part, Precision, Tensor, Term, Tower, Var};

/// Rows, outputs and inputs: the products of ViT-B at 197 tokens, batch 4, and one at 577.
const SHAPES: [(usize, usize, usize); 4] =
    [(788, 768, 768), (788, 3072, 768), (788, 768, 3072), (2308, 3072, 768)];
const TIMES: usize = 20;

fn main() -> Result<(), rayon::ThreadPoolBuildError> {
    rayon::ThreadPoolBuilder::new().use_current_thread().build_global()?;
    println!("{} threads, best of {TIMES}, GFLOP/s", rayon::current_num_threads());
    println!("{:>6} {:>8} {:>7} {:>7} {:>7}", "rows", "outputs", "inputs", "f32", "bf16");
    for (rows, outputs, inputs) in SHAPES {
        let rate = |precision| {
            2e-9 * (rows * outputs * inputs) as f64 / best(rows, outputs, inputs, precision)
        };
        let (wide, narrow) = (rate(Precision::F32), rate(Precision::Bf16));
        println!("{rows:>6} {outputs:>8} {inputs:>7} {wide:>7.0} {narrow:>7.0}");
    }
    Ok(())
}

/// The seconds that a forward pass takes.
fn best(rows: usize, outputs: usize, inputs: usize, precision: Precision) -> f64 {
    let mut params = Parameters::new();
    let mut scope = params.scope(Tower::Vision, "");
    let weight = scope.declare("weight", &[outputs, inputs], Part::Fc1, Term::Weight);
    let bias = scope.declare("bias", &[outputs], Part::Fc1, Term::Bias);
    for (_, p) in params.iter_mut() {
        p.set(ramp(&p.shape.clone()));
    }
    params.set_precision(precision);
    let x = Var::constant(ramp(&[rows, inputs]));
    let seconds = || {
        let start = Instant::now();
        linear(&mut Graph::inference(&params), &x, weight, Some(bias), Output::Wide);
        start.elapsed().as_secs_f64()
    };
    (0..TIMES).map(|_| seconds()).fold(f64::INFINITY, f64::min)
}

/// Numbers in [-1, 1).
fn ramp(shape: &[usize]) -> Tensor {
    let count: usize = shape.iter().product();
    Tensor::new(shape, (0..count).map(|i| (i % 997) as f32 / 498.5 - 1.0).collect())
}
