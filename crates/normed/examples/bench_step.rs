//! One side of the benchmark that bench/run.py drives: LayerNorm-only training steps of a vision
//! transformer's encoder on weights and inputs from a file. Prints one JSON object.
//!
//!     bench_step WORKLOAD.safetensors STEPS GRADIENTS.safetensors f32|bf16
//!
//! The loss is the mean square of the output: the encoder alone is what is measured. The gradients
//! written are those of the first step.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::time::Instant;

use normed::nn::{Drops, LayerNorm, PreNormBlock, Widths};
use normed::recipe::TrainSpec;
use normed::tensor::{Gradients, Graph, NormPlace, Parameters, Precision, Tensor, Tower, Var};
use normed::train::{AdamW, peak_memory_bytes};
use normed::tuning::{Method, Tuning};
use normed::weights::{fill, read_safetensors, write_safetensors};

const LAYERS: usize = 12;
const WIDTHS: Widths = Widths { hidden: 768, intermediate: 3072, heads: 12, eps: 1e-6 };
const LR: f32 = 1e-3;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [workload, steps, gradients_out, precision] = arguments.as_slice() else {
        let usage = "usage: bench_step WORKLOAD.safetensors STEPS GRADIENTS.safetensors f32|bf16";
        return Err(usage.into());
    };
    let steps: usize = steps.parse()?;
    let precision = match precision.as_str() {
        "f32" => Precision::F32,
        "bf16" => Precision::Bf16,
        _ => return Err("the precision is f32 or bf16".into()),
    };
    rayon::ThreadPoolBuilder::new().use_current_thread().build_global()?;

    let mut params = Parameters::new();
    let mut scope = params.scope(Tower::Vision, "");
    let blocks: Vec<PreNormBlock> = (0..LAYERS)
        .map(|i| PreNormBlock::declare(&mut scope.sub("encoder").layer("layers", i), WIDTHS))
        .collect();
    let (width, eps) = (WIDTHS.hidden, WIDTHS.eps);
    let norm = LayerNorm::declare(&mut scope, "post_layernorm", width, eps, NormPlace::Final);

    let mut file = read_safetensors(Path::new(workload))?;
    let input = file.tensors.remove("input").and_then(|stored| stored.to_tensor());
    let input = Var::constant(input.ok_or("the workload has no input")?);
    fill(&mut params, &file, str::to_owned)?;
    drop(file);
    Tuning::new(Method::LayerNorm).apply(&mut params)?;
    params.set_precision(precision);

    let mut optimizer = AdamW::new(&params, &TrainSpec::default());
    let (mut losses, mut seconds, mut cpu_seconds) = (Vec::new(), Vec::new(), Vec::new());
    for step in 0..steps {
        let (start, cpu_start) = (Instant::now(), cpu_time()?);
        let mut g = Graph::training(&params);
        let mut x = input.clone();
        for block in &blocks {
            x = block.forward(&mut g, &x, &Drops::none());
        }
        let y = norm.forward(&mut g, &x);
        drop(x);
        let (loss, seed) = mean_square(&y.value);
        let mut gradients = Gradients::new();
        g.backward(&y, seed, &mut gradients);
        optimizer.update(&mut params, &gradients, 1.0, LR);
        seconds.push(start.elapsed().as_secs_f64());
        cpu_seconds.push(cpu_time()? - cpu_start);
        losses.push(loss);
        if step == 0 {
            save(Path::new(gradients_out), &params, &gradients)?;
        }
    }
    let measured = serde_json::json!({
        "losses": losses,
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "peak_bytes": peak_memory_bytes(),
    });
    println!("{measured}");
    Ok(())
}

/// The mean of the squares, and its gradient.
fn mean_square(y: &Tensor) -> (f64, Tensor) {
    let scale = 1.0 / y.len() as f64;
    let loss = y.data().iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() * scale;
    let gradient = y.data().iter().map(|v| v * (2.0 * scale) as f32).collect();
    (loss, Tensor::new(y.shape(), gradient))
}

/// Writes the gradients of the trained parameters.
fn save(path: &Path, params: &Parameters, gradients: &Gradients) -> normed::Result<()> {
    let trained = params.trained();
    let tensors: Vec<(&str, &Tensor)> = trained
        .filter_map(|(id, p)| gradients.param(id).map(|gradient| (p.name.as_str(), gradient)))
        .collect();
    write_safetensors(path, &tensors, Precision::F32, &BTreeMap::new())
}

/// Seconds that all threads of this process have computed, to 10 ms (Linux counts in ticks).
fn cpu_time() -> Result<f64, Box<dyn Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // After the name in parentheses, fields 14 and 15 of proc(5) are at 11 and 12.
    let (_, fields) = stat.rsplit_once(')').ok_or("no name in /proc/self/stat")?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
    Ok(ticks.sum::<Result<u64, _>>()? as f64 / 100.0)
}
