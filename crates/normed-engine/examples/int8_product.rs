//! Times frozen linear layers in int8 against bf16, forward and for the input's gradient, on all threads.
//! The two alternate, and the best of many runs counts, so that other load on the machine changes little.
//!
//! `cargo run --release -p normed-engine --example int8_product [amx | avx512 | avx2]`

use std::time::Instant;

use normed_engine::ops::{InstructionSet, Output, limit_instructions, linear};
use normed_engine::tensor::{
    Gradients, Graph, Module, NormPosition, ParamId, ParamKind, Parameters, RunPrecision, Tensor,
    Tower,
};

/// Rows, outputs and inputs: ViT-B's projections and feed-forward network for four images of 197 tokens, and
/// Mistral-7B's for 640 tokens.
const SHAPES: [[usize; 3]; 6] = [
    [788, 768, 768],
    [788, 3072, 768],
    [788, 768, 3072],
    [640, 4096, 4096],
    [640, 14336, 4096],
    [640, 4096, 14336],
];
const RUNS: usize = 15;

struct Layer {
    params: Parameters,
    x: ParamId,
    weight: ParamId,
}

impl Layer {
    fn new([rows, out, inner]: [usize; 3], precision: RunPrecision) -> Self {
        let mut params = Parameters::new();
        let mut scope = params.scope(Tower::Text, "");
        let norm = Module::Norm(NormPosition::Ffn);
        let x = scope.declare("x", &[rows, inner], norm, ParamKind::Weight);
        let weight = scope.declare("w", &[out, inner], Module::Fc1, ParamKind::Weight);
        for id in [x, weight] {
            let p = params.get_mut(id);
            let values = (0..p.len()).map(|i| ((i * 7919) % 1021) as f32 / 510.0 - 1.0);
            let value = Tensor::new(p.shape(), values.collect());
            p.set(value);
        }
        params.get_mut(x).set_trained(true);
        params.set_precision(precision);
        let value = params.get(x).value().to_precision(precision.values());
        params.get_mut(x).set(value);
        Self { params, x, weight }
    }

    /// Seconds of the forward and of the backward.
    fn time(&self) -> [f64; 2] {
        let mut g = Graph::training(&self.params);
        let x = g.parameter(self.x);
        let began = Instant::now();
        let y = linear(&mut g, &x, self.weight, None, Output::RunPrecision);
        let forward = began.elapsed().as_secs_f64();
        let seed = y.value.clone();
        let began = Instant::now();
        g.backward(y.gradient_slot(), seed, &mut Gradients::new());
        [forward, began.elapsed().as_secs_f64()]
    }
}

fn main() {
    let limit = match std::env::args().nth(1).as_deref() {
        None | Some("amx") => InstructionSet::Amx,
        Some("avx512") => InstructionSet::Avx512,
        Some("avx2") => InstructionSet::Avx2,
        Some(other) => {
            eprintln!("{other} is none of amx, avx512, avx2");
            std::process::exit(2);
        }
    };
    limit_instructions(limit);
    println!("{limit:?}, {} threads; billions of multiplications a second", rayon_threads());
    println!(
        "{:>20} {:>9} {:>9} {:>9} {:>9}  int8 : bf16",
        "rows x out x in", "bf16 fwd", "int8 fwd", "bf16 bwd", "int8 bwd"
    );
    for shape in SHAPES {
        let layers = [RunPrecision::Bf16, RunPrecision::Int8].map(|p| Layer::new(shape, p));
        let mut best = [[f64::INFINITY; 2]; 2];
        for _ in 0..RUNS {
            for (layer, best) in layers.iter().zip(&mut best) {
                for (best, now) in best.iter_mut().zip(layer.time()) {
                    *best = best.min(now);
                }
            }
        }
        let [rows, out, inner] = shape;
        let rate = |seconds: f64| (rows * out * inner) as f64 / seconds / 1e9;
        let [bf16, int8] = best;
        println!(
            "{:>20} {:9.0} {:9.0} {:9.0} {:9.0}  {:.2} {:.2}",
            format!("{rows} x {out} x {inner}"),
            rate(bf16[0]),
            rate(int8[0]),
            rate(bf16[1]),
            rate(int8[1]),
            bf16[0] / int8[0],
            bf16[1] / int8[1],
        );
    }
}

fn rayon_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
