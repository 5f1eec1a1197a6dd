//! The workloads: parts of models, whose loss is the mean square of their output, and a complete model.

use std::error::Error;
use std::path::Path;

use normed::data::{Batch, ImageValues, Images, TokenRows};
use normed::models::{self, Model};
use normed::nn::{
    AttentionMask, AttentionShape, BlockConfig, DropoutStreams, LayerNorm, LlamaBlock,
    LlamaBlockConfig, Mode, PostNormBlock, PreNormBlock, RmsNorm,
};
use normed::ops::{Activation, RotaryTable, cross_entropy, rms_norm};
use normed::recipe::TrainSpec;
use normed::tensor::{Gradients, Graph, NormPosition, Parameters, Precision, Tensor, Tower, Var};
use normed::train::{self, AdamW, StepOptions};
use normed::tuning::{Rule, Tuning};
use normed::weights::{Checkpoint, load_parameters, read_safetensors};
use serde::Deserialize;

use super::Task;

const HIDDEN: usize = 768;
const VIT: BlockConfig = BlockConfig {
    hidden: HIDDEN,
    intermediate: 4 * HIDDEN,
    heads: 12,
    eps: 1e-6,
    activation: Activation::Gelu,
};
const BERT: BlockConfig = BlockConfig { eps: 1e-12, ..VIT };
const MISTRAL: LlamaBlockConfig = LlamaBlockConfig {
    hidden: 4096,
    intermediate: 14_336,
    heads: AttentionShape { heads: 32, kv_heads: 8, dim: 128, causal: true, window: None },
    eps: 1e-5,
    attention_bias: false,
    mlp_bias: false,
    activation: Activation::Silu,
};
const ROPE_THETA: f64 = 1e6;
const LR: f32 = 1e-3;

/// The name of a workload; bench/run.py describes them.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Vit,
    Decoder,
    Llama,
    Miss,
}

/// The variant of a training step.
#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Variant {
    /// The default.
    Plain,
    /// Backward computes whole blocks again.
    Checkpoint,
    /// The vision tower is frozen.
    FrozenVision,
}

/// A workload and its parameters, with the method applied, in the precision of the task.
pub struct Loaded {
    pub workload: Workload,
    pub params: Parameters,
}

/// A model and its inputs.
pub enum Workload {
    /// The blocks and the final norm of a vision transformer.
    Vit { blocks: Vec<PreNormBlock>, norm: LayerNorm, input: Var },
    /// BERT's embedding norm and causal blocks, with cross-attention to the states of an image.
    Decoder { norm: LayerNorm, blocks: Vec<PostNormBlock>, input: Var, source: Var },
    /// Mistral's blocks and final norm.
    Llama { blocks: Vec<LlamaBlock>, norm: RmsNorm, rotation: RotaryTable, input: Var },
    /// A complete model.
    Miss { model: Box<dyn Model>, batch: Batch },
}

/// Loads the workload of a task.
pub fn load(task: &Task) -> Result<Loaded, Box<dyn Error>> {
    let inputs = read_safetensors(&task.directory.join("inputs.safetensors"))?;
    let states = |name| floats(&inputs, name, task.batch).map(Var::constant);
    let (workload, mut params) = match task.workload {
        Kind::Vit => vit(task, states("input")?)?,
        Kind::Decoder => decoder(task, states("input")?, states("source")?)?,
        Kind::Llama => llama(task, states("input")?)?,
        Kind::Miss => {
            let model = models::load_as_stored(&task.directory, None)?;
            let batch = batch(&inputs, task.batch)?;
            (Workload::Miss { model: model.model, batch }, model.params)
        }
    };
    let towers = (task.variant == Variant::FrozenVision).then(|| vec![Tower::Text, Tower::Decoder]);
    Tuning::One(Rule { towers, ..Rule::new(task.method) }).apply(&mut params)?;
    fill_added(&mut params, &task.directory.join("added.safetensors"))?;
    params.set_precision(task.precision);
    Ok(Loaded { workload, params })
}

/// Sets the values of the parameters that the method adds to the model, if the file exists.
fn fill_added(params: &mut Parameters, path: &Path) -> Result<(), Box<dyn Error>> {
    if !path.exists() {
        return Ok(());
    }
    let added = read_safetensors(path)?;
    for (name, stored) in &added.tensors {
        let tensor = stored.to_tensor().ok_or_else(|| format!("{name} is quantized"))?;
        let id = params.iter().find(|(_, p)| p.name() == *name).map(|(id, _)| id);
        params.get_mut(id.ok_or_else(|| format!("no parameter has the name {name}"))?).set(tensor);
    }
    Ok(())
}

fn vit(task: &Task, input: Var) -> normed::Result<(Workload, Parameters)> {
    let mut params = Parameters::new();
    let mut scope = params.scope(Tower::Vision, "");
    let blocks = (0..task.layers)
        .map(|i| PreNormBlock::declare(&mut scope.sub("encoder").layer("layers", i), VIT))
        .collect();
    let (width, position) = (VIT.hidden, NormPosition::Final);
    let norm = LayerNorm::declare(&mut scope, "post_layernorm", width, VIT.eps, position);
    read_weights(&mut params, &task.directory)?;
    Ok((Workload::Vit { blocks, norm, input }, params))
}

fn decoder(task: &Task, input: Var, source: Var) -> normed::Result<(Workload, Parameters)> {
    let mut params = Parameters::new();
    let mut scope = params.scope(Tower::Decoder, "");
    let embeddings = &mut scope.sub("embeddings");
    let (width, position) = (BERT.hidden, NormPosition::Embedding);
    let norm = LayerNorm::declare(embeddings, "LayerNorm", width, BERT.eps, position);
    let blocks = (0..task.layers)
        .map(|i| PostNormBlock::declare(&mut scope.sub("encoder").layer("layer", i), BERT, width))
        .collect();
    read_weights(&mut params, &task.directory)?;
    Ok((Workload::Decoder { norm, blocks, input, source }, params))
}

fn llama(task: &Task, input: Var) -> normed::Result<(Workload, Parameters)> {
    let mut params = Parameters::new();
    let mut scope = params.scope(Tower::Decoder, "");
    let blocks = (0..task.layers)
        .map(|i| LlamaBlock::declare(&mut scope.layer("layers", i), MISTRAL))
        .collect();
    let norm =
        RmsNorm::declare(&mut scope, "norm", MISTRAL.hidden, MISTRAL.eps, NormPosition::Final);
    read_weights(&mut params, &task.directory)?;
    let dim = MISTRAL.heads.dim;
    let frequency = |i: usize| ROPE_THETA.powf(-((2 * i) as f64) / dim as f64) as f32;
    let frequencies: Vec<_> = (0..dim / 2).map(frequency).collect();
    let [examples, tokens] = [input.shape()[0], input.shape()[1]];
    let positions = (0..examples * tokens).map(|row| (row % tokens, frequencies.as_slice()));
    let rotation = RotaryTable::new(positions, 1.0);
    Ok((Workload::Llama { blocks, norm, rotation, input }, params))
}

fn read_weights(params: &mut Parameters, directory: &Path) -> normed::Result<()> {
    load_parameters(params, &read_safetensors(&directory.join("model.safetensors"))?, str::to_owned)
}

/// The batch of a complete model. The decoder reads all tokens of an answer except the last, and predicts all
/// except the first.
fn batch(inputs: &Checkpoint, examples: usize) -> Result<Batch, Box<dyn Error>> {
    let answers = tokens(inputs, "labels", examples)?;
    let width = answers.width - 1;
    let part = |from: usize| -> Vec<u32> {
        answers
            .ids
            .chunks(answers.width)
            .flat_map(|row| &row[from..from + width])
            .copied()
            .collect()
    };
    Ok(Batch {
        images: Images::from_pixels(floats(inputs, "pixel_values", examples)?),
        views: vec![1; examples],
        input_ids: tokens(inputs, "input_ids", examples)?,
        decoder_input_ids: TokenRows { ids: part(0), lengths: vec![width; examples], width },
        labels: part(1),
        target_count: examples * width,
        keys: (0..examples as u64).collect(),
    })
}

/// The first `examples` of the input `name`.
fn floats(inputs: &Checkpoint, name: &str, examples: usize) -> Result<Tensor, String> {
    let all = inputs.tensors.get(name).and_then(|stored| stored.to_tensor());
    let all = all.filter(|all| all.shape()[0] >= examples);
    let all = all.ok_or_else(|| format!("the inputs have no {examples} examples of {name}"))?;
    let shape = [&[examples], &all.shape()[1..]].concat();
    let count = shape.iter().product();
    Ok(Tensor::new(&shape, all.data()[..count].to_vec()))
}

/// The first `examples` rows of the int64 input `name`, without padding.
fn tokens(inputs: &Checkpoint, name: &str, examples: usize) -> Result<TokenRows, Box<dyn Error>> {
    let stored = inputs.tensors.get(name).ok_or_else(|| format!("the inputs have no {name}"))?;
    let [_, width] = *stored.shape() else {
        return Err(format!("{name} does not have two dimensions").into());
    };
    let bytes = stored.bytes();
    let ids = bytes.as_chunks().0.iter().take(examples * width).map(|&id| i64::from_le_bytes(id));
    let ids = ids.map(u32::try_from).collect::<Result<Vec<_>, _>>()?;
    Ok(TokenRows { ids, lengths: vec![width; examples], width })
}

impl Workload {
    /// Makes a training step and returns its loss. If the image encoder is frozen, the first step computes
    /// the image features, and later steps use them, as a run does with its cache.
    pub fn step(
        &mut self,
        params: &mut Parameters,
        optimizer: &mut AdamW,
        spec: &TrainSpec,
    ) -> normed::Result<f64> {
        if let Self::Miss { model, batch } = self {
            let has_pixels = matches!(batch.images.values, ImageValues::Pixels(_));
            let encoder = model.frozen_encoder(params, Mode::Evaluate).filter(|_| has_pixels);
            if let Some(encoder) = encoder {
                batch.images = encoder.encode(params, &batch.images)?;
            }
            let batches = std::iter::once(Ok((batch.clone(), Vec::new())));
            let options = StepOptions { spec, seed: 0, lr: LR };
            return Ok(train::train_step(&**model, params, optimizer, batches, options)?.loss);
        }
        let (loss, gradients) = self.gradients(params, spec)?;
        optimizer.update(params, &gradients, 1.0, LR);
        Ok(loss)
    }

    /// The loss and the gradients of the trained parameters.
    pub fn gradients(
        &self,
        params: &Parameters,
        spec: &TrainSpec,
    ) -> normed::Result<(f64, Gradients)> {
        let mut graph = Graph::training(params).with_recompute(spec.recompute);
        let g = &mut graph;
        let (loss, output, seed) = match self {
            Self::Vit { blocks, norm, input } => {
                let mut x = input.clone();
                for block in blocks {
                    x = block.forward(g, &x, &DropoutStreams::none());
                }
                mean_square(norm.forward(g, &x))
            }
            Self::Decoder { norm, blocks, input, source } => {
                let (own, cross) =
                    (AttentionMask { causal: true, lengths: None }, AttentionMask::default());
                let mut x = norm.forward(g, input);
                for block in blocks {
                    x = block.forward(g, &x, &own, source, &cross, &DropoutStreams::none());
                }
                mean_square(x)
            }
            Self::Llama { blocks, norm, rotation, input } => {
                let mut x = input.clone();
                for block in blocks {
                    x = block.forward(g, &x, rotation, &DropoutStreams::none());
                }
                mean_square(rms_norm(g, &x, norm.weight, MISTRAL.eps, Precision::F32))
            }
            Self::Miss { model, batch } => {
                let logits = model.forward(g, batch, Mode::Evaluate)?;
                let ce = cross_entropy(g, logits, &batch.labels, spec.label_smoothing);
                let per_target = 1.0 / batch.target_count as f64;
                (ce.sum * per_target, ce.output, Tensor::new(&[1], vec![per_target as f32]))
            }
        };
        let mut gradients = Gradients::new();
        graph.backward(output.gradient_slot(), seed, &mut gradients);
        Ok((loss, gradients))
    }
}

/// The mean square of `y`, `y` itself, and the gradient of the mean square.
fn mean_square(y: Var) -> (f64, Var, Tensor) {
    let scale = 1.0 / y.value.len() as f64;
    let loss = y.value.data().iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() * scale;
    let gradient = y.value.data().iter().map(|v| v * (2.0 * scale) as f32).collect();
    let gradient = Tensor::new(y.shape(), gradient);
    (loss, y, gradient)
}
