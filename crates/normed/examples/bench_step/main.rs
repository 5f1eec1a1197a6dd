//! normed's side of the benchmark bench/run.py: makes training steps of a workload with weights and inputs
//! from files, and prints one JSON object.
//!
//!     bench_step TASK
//!
//! TASK is a JSON object, see [`Task`].

mod process;
mod workload;

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

use normed::recipe::TrainSpec;
use normed::tensor::{Gradients, Parameters, Precision, Recompute, RunPrecision, Tensor};
use normed::train::AdamW;
use normed::tuning::Method;
use normed::weights::write_safetensors;
use serde::Deserialize;

use workload::{Kind, Loaded, Variant, load};

/// What to measure.
#[derive(Deserialize)]
struct Task {
    workload: Kind,
    /// The directory with model.safetensors, inputs.safetensors and, for a complete model, config.json.
    directory: PathBuf,
    /// The number of blocks in a part of a model. Ignored for a complete model.
    layers: usize,
    /// The number of examples to take from the inputs.
    batch: usize,
    /// The number of training steps.
    steps: usize,
    precision: RunPrecision,
    method: Method,
    variant: Variant,
    /// A file for the gradients before the first step, which are computed separately.
    gradients: Option<PathBuf>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let task = std::env::args().nth(1).ok_or("usage: bench_step TASK")?;
    let task: Task = serde_json::from_str(&task)?;
    rayon::ThreadPoolBuilder::new().use_current_thread().build_global()?;

    let Loaded { mut workload, mut params } = load(&task)?;
    process::read_into_memory(&params);
    let base = process::memory("VmRSS")?;

    // As on the PyTorch side: no weight decay, no gradient clipping, no dropout.
    let spec = TrainSpec {
        weight_decay: 0.0,
        label_smoothing: 0.1,
        max_grad_norm: 0.0,
        dropout: Some(0.0),
        recompute: match task.variant {
            Variant::Checkpoint => Recompute::Blocks,
            Variant::Plain | Variant::FrozenVision => Recompute::None,
        },
        ..TrainSpec::default()
    };
    if let Some(path) = &task.gradients {
        let (_, gradients) = workload.gradients(&params, &spec)?;
        save(path, &params, &gradients)?;
    }
    let mut optimizer = AdamW::new(&params, &spec);
    let (mut losses, mut seconds, mut cpu_seconds) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..task.steps {
        let (start, cpu_start) = (Instant::now(), process::cpu_time()?);
        losses.push(workload.step(&mut params, &mut optimizer, &spec)?);
        seconds.push(start.elapsed().as_secs_f64());
        cpu_seconds.push(process::cpu_time()? - cpu_start);
    }
    let measured = serde_json::json!({
        "losses": losses,
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "base_bytes": base,
        "peak_bytes": process::memory("VmHWM")?,
    });
    println!("{measured}");
    Ok(())
}

/// Writes the gradients of the trained parameters.
fn save(path: &Path, params: &Parameters, gradients: &Gradients) -> normed::Result<()> {
    let trained = params.trained();
    let tensors: Vec<(&str, &Tensor)> = trained
        .filter_map(|(id, p)| gradients.param(id).map(|gradient| (p.name(), gradient)))
        .collect();
    write_safetensors(path, &tensors, Precision::F32, &BTreeMap::new())
}
