//! One side of the benchmark that bench/run.py drives: LayerNorm-only training steps of a vision
//! transformer's encoder on weights and inputs from a file. Prints one JSON object.
//!
//!     bench_step WORKLOAD.safetensors STEPS GRADIENTS.safetensors
//!
//! The loss is the mean square of the output: the encoder alone is what is measured. The gradients
//! written are those of the first step.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::sync::Arc;
use std::time::Instant;

use memmap2::Mmap;
use normed::ops::{self, AttentionSpec};
use normed::tensor::{
    AttentionPart, Gradients, Graph, NormPlace, ParamId, Parameters, Part, Scope, Tensor, Term,
    Tower, Var,
};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

const LAYERS: usize = 12;
const WIDTH: usize = 768;
const HEADS: usize = 12;
const INTERMEDIATE: usize = 3072;
const EPS: f32 = 1e-6;

/// A linear layer's or a norm's weight and bias.
#[derive(Clone, Copy)]
struct Affine {
    weight: ParamId,
    bias: ParamId,
}

impl Affine {
    fn declare(scope: &mut Scope<'_>, name: &str, shape: &[usize], part: Part) -> Self {
        let scope = &mut scope.sub(name);
        Self {
            weight: scope.declare("weight", shape, part, Term::Weight),
            bias: scope.declare("bias", &shape[..1], part, Term::Bias),
        }
    }

    fn linear(self, g: &mut Graph<'_>, x: &Var, residual: Option<&Var>) -> Var {
        ops::linear(g, x, self.weight, Some(self.bias), residual)
    }

    fn norm(self, g: &mut Graph<'_>, x: &Var) -> Var {
        ops::layer_norm(g, x, self.weight, self.bias, EPS)
    }
}

/// A pre-norm block.
struct Block {
    norm1: Affine,
    qkv: Affine,
    projection: Affine,
    norm2: Affine,
    fc1: Affine,
    fc2: Affine,
}

impl Block {
    fn declare(scope: &mut Scope<'_>) -> Self {
        let mut affine = |name, shape: &[usize], part| Affine::declare(scope, name, shape, part);
        let qkv = Part::Attention(AttentionPart::QueryKeyValue);
        let output = Part::Attention(AttentionPart::Output);
        Self {
            norm1: affine("layer_norm1", &[WIDTH], Part::Norm(NormPlace::Attention)),
            qkv: affine("self_attn.qkv", &[3 * WIDTH, WIDTH], qkv),
            projection: affine("self_attn.projection", &[WIDTH, WIDTH], output),
            norm2: affine("layer_norm2", &[WIDTH], Part::Norm(NormPlace::Ffn)),
            fc1: affine("mlp.fc1", &[INTERMEDIATE, WIDTH], Part::Fc1),
            fc2: affine("mlp.fc2", &[WIDTH, INTERMEDIATE], Part::Fc2),
        }
    }

    fn forward(&self, g: &mut Graph<'_>, x: Var) -> Var {
        let h = self.norm1.norm(g, &x);
        let h = self.qkv.linear(g, &h, None);
        let h = ops::self_attention(g, &h, AttentionSpec { heads: HEADS, ..Default::default() });
        let x = self.projection.linear(g, &h, Some(&x));
        let h = self.norm2.norm(g, &x);
        let h = self.fc1.linear(g, &h, None);
        let h = ops::gelu(g, &h);
        self.fc2.linear(g, &h, Some(&x))
    }
}

/// AdamW as `torch.optim.AdamW(lr=1e-3)`, with its default decay of 0.01.
struct AdamW {
    step: i32,
    moments: BTreeMap<ParamId, [Vec<f32>; 2]>,
}

impl AdamW {
    fn step(&mut self, params: &mut Parameters, gradients: &Gradients) {
        const LR: f32 = 1e-3;
        const BETAS: [f32; 2] = [0.9, 0.999];
        self.step += 1;
        let [c1, c2] = BETAS.map(|beta| 1.0 - beta.powi(self.step));
        for (id, p) in params.iter_mut().filter(|(_, p)| p.trained) {
            let gradient = gradients.param(id).expect("every norm is reached").data();
            let n = gradient.len();
            let [m, v] = self.moments.entry(id).or_insert_with(|| [vec![0.0; n], vec![0.0; n]]);
            for (i, w) in p.value_mut().data_mut().iter_mut().enumerate() {
                m[i] = BETAS[0] * m[i] + (1.0 - BETAS[0]) * gradient[i];
                v[i] = BETAS[1] * v[i] + (1.0 - BETAS[1]) * gradient[i] * gradient[i];
                *w -= LR * (0.01 * *w + (m[i] / c1) / ((v[i] / c2).sqrt() + 1e-8));
            }
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [workload, steps, gradients_out] = arguments.as_slice() else {
        return Err("usage: bench_step WORKLOAD.safetensors STEPS GRADIENTS.safetensors".into());
    };
    let steps: usize = steps.parse()?;

    let mut params = Parameters::new();
    let mut scope = params.scope(Tower::Vision, "");
    let blocks: Vec<Block> =
        (0..LAYERS).map(|i| Block::declare(&mut scope.sub("encoder").layer("layers", i))).collect();
    let norm =
        Affine::declare(&mut scope, "post_layernorm", &[WIDTH], Part::Norm(NormPlace::Final));
    let input = Var::constant(load(workload, &mut params)?);
    for (_, p) in params.iter_mut() {
        p.trained = matches!(p.role.part, Part::Norm(_));
    }

    let mut optimizer = AdamW { step: 0, moments: BTreeMap::new() };
    let (mut losses, mut seconds, mut cpu_seconds) = (Vec::new(), Vec::new(), Vec::new());
    for step in 0..steps {
        let (start, cpu_start) = (Instant::now(), cpu_time()?);
        let mut g = Graph::training(&params);
        let mut x = input.clone();
        for block in &blocks {
            x = block.forward(&mut g, x);
        }
        let y = norm.norm(&mut g, &x);
        drop(x);
        let scale = 1.0 / y.value.len() as f64;
        let loss = y.value.data().iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() * scale;
        let seed = y.value.data().iter().map(|v| v * (2.0 * scale) as f32).collect();
        let seed = Tensor::new(y.shape(), seed);
        let mut gradients = Gradients::new();
        g.backward(&y, seed, &mut gradients);
        optimizer.step(&mut params, &gradients);
        seconds.push(start.elapsed().as_secs_f64());
        cpu_seconds.push(cpu_time()? - cpu_start);
        losses.push(loss);
        if step == 0 {
            save(gradients_out, &params, &gradients)?;
        }
    }
    let measured = serde_json::json!({
        "losses": losses,
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "peak_bytes": peak_bytes()?,
    });
    println!("{measured}");
    Ok(())
}

/// Maps every parameter into memory; returns the input.
fn load(path: &str, params: &mut Parameters) -> Result<Tensor, Box<dyn Error>> {
    // SAFETY: the benchmark's own file, which nobody writes while it runs.
    let map = Arc::new(unsafe { Mmap::map(&File::open(path)?)? });
    let file = SafeTensors::deserialize(&map)?;
    let tensor = |name: &str| -> Result<Tensor, Box<dyn Error>> {
        let view = file.tensor(name)?;
        let offset = view.data().as_ptr() as usize - map.as_ptr() as usize;
        Tensor::mapped(view.shape(), &map, offset).ok_or_else(|| format!("{name} in {path}").into())
    };
    for (_, p) in params.iter_mut() {
        p.set(tensor(&p.name)?);
    }
    tensor("input")
}

/// Writes the gradients of the trained parameters.
fn save(path: &str, params: &Parameters, gradients: &Gradients) -> Result<(), Box<dyn Error>> {
    let bytes: Vec<(&str, &[usize], Vec<u8>)> = params
        .trained()
        .map(|(id, p)| {
            let gradient = gradients.param(id).expect("every norm is reached").data();
            let bytes = gradient.iter().flat_map(|v| v.to_le_bytes()).collect();
            (p.name.as_str(), p.shape.as_slice(), bytes)
        })
        .collect();
    let views = bytes
        .iter()
        .map(|(name, shape, data)| Ok((*name, TensorView::new(Dtype::F32, shape.to_vec(), data)?)))
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()?;
    Ok(safetensors::serialize_to_file(views, None, path.as_ref())?)
}

/// The most memory that this process has held (Linux's `VmHWM`).
fn peak_bytes() -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes * 1024)
}

/// Seconds that all threads of this process have computed, to 10 ms (Linux counts in ticks).
fn cpu_time() -> Result<f64, Box<dyn Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // After the name in parentheses, fields 14 and 15 of proc(5) are at 11 and 12.
    let (_, fields) = stat.rsplit_once(')').ok_or("no name in /proc/self/stat")?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
    Ok(ticks.sum::<Result<u64, _>>()? as f64 / 100.0)
}
