//! Simulation of a step and an evaluation: the same code runs over values without elements, which counts
//! the memory and the operations.

use super::adamw::AdamW;
use super::step::{accumulate, noise};
use crate::Result;
use crate::data::{Batch, ImageSize, Images, MAX_BATCHES_IN_MEMORY, TokenRows};
use crate::models::{GenerationConfig, Model};
use crate::nn::Mode;
use crate::recipe::TrainSpec;
use crate::tensor::{
    Gradients, Graph, Meter, OperationCounts, Parameters, Precision, RunPrecision, Tensor,
};

/// The shape of a batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct BatchShape {
    /// Size of an image's pixel values.
    pub image_size: ImageSize,
    /// Images per example.
    pub views: usize,
    /// Tokens of a question, one for each image included where the model has image tokens.
    pub question: usize,
    /// Tokens that enter the decoder.
    pub answer: usize,
}

impl BatchShape {
    /// A batch of `examples` examples, whose pixels have no elements.
    fn batch(self, examples: usize, image_token_id: Option<u32>, meter: &Meter) -> Batch {
        let rows = |width: usize| TokenRows {
            ids: vec![0; examples * width],
            lengths: vec![width; examples],
            width,
        };
        let mut questions = rows(self.question);
        if let Some(token) = image_token_id {
            questions.ids.chunks_mut(self.question).for_each(|row| row[..self.views].fill(token));
        }
        let ImageSize { height, width } = self.image_size;
        let pixels = [examples * self.views, 3, height, width];
        Batch {
            images: Images::from_pixels(Tensor::planned(&pixels, Precision::F32, meter)),
            views: vec![self.views; examples],
            input_ids: questions,
            decoder_input_ids: rows(self.answer),
            labels: vec![0; examples * self.answer],
            target_count: examples * self.answer,
            keys: vec![0; examples],
        }
    }
}

/// Memory of a run in bytes, for one batch setting.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize)]
pub struct MemoryNeeds {
    /// The model's parameters.
    pub weights: usize,
    /// Gradients, both moments, and the best checkpoint, for the trained parameters.
    pub optimizer: usize,
    /// Batches, and images that are kept in memory.
    pub data: usize,
    /// Activations that a forward pass keeps for the backward pass.
    pub activations: usize,
    /// Temporary values of operations.
    pub workspace: usize,
    /// The program itself.
    pub program: usize,
    /// The peak of all of these, in steps or in evaluations, whichever is larger.
    pub peak: usize,
}

/// What is simulated.
#[derive(Clone, Copy)]
pub(super) struct Simulation<'a> {
    pub model: &'a dyn Model,
    /// The parameters, with those that are trained marked.
    pub params: &'a Parameters,
    pub precision: RunPrecision,
    /// Gives the batch setting: `batch_size`, `grad_accum_steps` and `recompute`.
    pub spec: &'a TrainSpec,
    /// Batches of training steps; none if nothing is trained.
    pub training: Option<BatchShape>,
    /// Batches of evaluations; none if there are none.
    pub evaluation: Option<BatchShape>,
    pub rule: &'a GenerationConfig,
    /// Whether the output of a frozen image encoder is cached ([`crate::recipe::CacheSpec`]).
    pub caches_features: bool,
}

/// The counts of a simulation.
#[derive(Debug, Default)]
pub(super) struct SimulatedCost {
    /// Memory of values and of the operations' workspace.
    pub needs: MemoryNeeds,
    /// Operations of a training step.
    pub step: OperationCounts,
    /// Operations of the evaluation of one batch.
    pub evaluation: OperationCounts,
    /// Operations of encoding a batch's images once for the feature cache; none if it is not used.
    pub encoding: OperationCounts,
    /// Bytes of a batch's image features; 0 if the feature cache is not used.
    pub features: usize,
}

impl Simulation<'_> {
    /// Simulates two steps, the second with a copy of the best parameters in memory, and the evaluation of
    /// a batch.
    pub fn run(&self) -> Result<SimulatedCost> {
        let meter = &Meter::new();
        let mut params = self.params.clone();
        params.plan_values(self.precision, meter);
        let mut cost = SimulatedCost::default();
        cost.needs.weights = meter.live_bytes();
        let optimizer = &mut AdamW::new(&params, self.spec);
        let best: Vec<_> = params.trained().map(|(_, p)| p.value().clone()).collect();
        if let Some(shape) = self.training {
            let mode = Mode::Train(noise(self.spec, 0));
            let (batch, others) = self.batches(shape, mode, &params, meter, &mut cost)?;
            let (batches, pixels) = ([batch], others.len() + 1);
            let batches = batches.iter().cycle().take(self.spec.grad_accum_steps.min(2));
            cost.needs.data = pixels * others.first().map_or(0, Tensor::bytes);
            for _ in 0..2 {
                let data = cost.needs.data;
                self.step(&mut params, optimizer, batches.clone(), meter, &mut cost)?;
                cost.needs.optimizer = cost.needs.optimizer.saturating_sub(data);
            }
        }
        if let Some(shape) = self.evaluation {
            let (batch, others) = self.batches(shape, Mode::Evaluate, &params, meter, &mut cost)?;
            let data = (others.len() + 1) * others.first().map_or(0, Tensor::bytes);
            cost.needs.data = cost.needs.data.max(data);
            cost.evaluation =
                self.evaluate(&params, &batch, shape.answer.min(self.rule.max_new_tokens), meter)?;
        }
        drop(best);
        let MemoryNeeds { weights, optimizer, data, activations, .. } = cost.needs;
        cost.needs.peak = meter.peak_bytes() + meter.scratch_bytes();
        let named = weights + optimizer + data + activations;
        cost.needs.workspace = cost.needs.peak.saturating_sub(named);
        Ok(cost)
    }

    /// A batch, and the images of the other batches that are in memory at the same time: pixels, or
    /// features if these are cached.
    fn batches(
        &self,
        shape: BatchShape,
        mode: Mode,
        params: &Parameters,
        meter: &Meter,
        cost: &mut SimulatedCost,
    ) -> Result<(Batch, Vec<Tensor>)> {
        let mut batch = shape.batch(self.spec.batch_size, self.model.image_token_id(), meter);
        let has_features = self.caches_features && shape.views > 0;
        let encoder = self.model.frozen_encoder(params, mode).filter(|_| has_features);
        if let Some(encoder) = encoder {
            let before = meter.operation_counts();
            batch.images = encoder.encode(params, &batch.images)?;
            let bytes = batch.images.tensor().bytes();
            (cost.encoding, cost.features) = (meter.operation_counts() - before, bytes);
        }
        let images = batch.images.tensor();
        let same_size = |_| images.empty_like(images.shape(), images.precision());
        let others = (1..MAX_BATCHES_IN_MEMORY).map(same_size).collect();
        Ok((batch, others))
    }

    /// Simulates [`train_step`](super::step::train_step()).
    fn step<'b>(
        &self,
        params: &mut Parameters,
        optimizer: &mut AdamW,
        micro_batches: impl Iterator<Item = &'b Batch>,
        meter: &Meter,
        cost: &mut SimulatedCost,
    ) -> Result<()> {
        let spec = self.spec;
        let mut gradients = Gradients::new();
        // The first micro-batch has no gradients to add to; all others cost the same.
        let (mut counted, mut last) = (OperationCounts::default(), OperationCounts::default());
        let mut left = spec.grad_accum_steps as u64;
        for batch in micro_batches {
            let (live, work) = (meter.live_bytes(), meter.operation_counts());
            let forward = |_: &_| {
                cost.needs.activations = meter.live_bytes() - live;
                Ok(())
            };
            accumulate(self.model, params, batch, (spec, noise(spec, 0)), forward, &mut gradients)?;
            last = meter.operation_counts() - work;
            counted = counted + last;
            left -= 1;
        }
        let before = meter.operation_counts();
        optimizer.update(params, &gradients, 1.0, 0.0);
        cost.step = counted + last * left + (meter.operation_counts() - before);
        // A matrix in int8 may have got codes for its backward product.
        cost.needs.weights = params.iter().map(|(_, p)| p.value().claimed_bytes()).sum();
        cost.needs.optimizer = meter.live_bytes() - cost.needs.weights;
        Ok(())
    }

    /// Simulates the evaluation of a batch: likelihoods of the targets, and generation of the first two
    /// tokens of every beam. Generating further tokens needs no more memory.
    fn evaluate(
        &self,
        params: &Parameters,
        batch: &Batch,
        tokens: usize,
        meter: &Meter,
    ) -> Result<OperationCounts> {
        let start = meter.operation_counts();
        let mut g = Graph::inference(params);
        drop(self.model.loss(&mut g, batch, Mode::Evaluate, 0.0)?);
        let (examples, beams) = (batch.keys.len(), self.rule.num_beams);
        let mut decoding = self.model.start_decoding(params, batch, self.rule.max_new_tokens)?;
        let logits = decoding.step(&vec![0; examples]);
        let spread: Vec<_> = (0..examples * beams).map(|row| row / beams).collect();
        decoding.reorder(&spread);
        drop(logits);
        let before = meter.operation_counts();
        if self.rule.max_new_tokens > 1 {
            decoding.step(&vec![0; spread.len()]);
        }
        let each = meter.operation_counts() - before;
        Ok(before - start + each * tokens.saturating_sub(1) as u64)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;
    use crate::data::Tokenizer;
    use crate::models::{LlavaConfig, ModelConfig, NewMiss, TextSizes, VitConfig, initialize};
    use crate::ops::Activation;
    use crate::tensor::{EmbeddingKind, Module, ParamKind, Recompute, Role, Tower};
    use crate::train::step::{StepOptions, train_step};
    use crate::tuning::{Method, Tuning, methods};

    const WORDS: &str = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n[DEC]\n[ENC]\nis\nit\nyes\nno\n?\n";
    const EXAMPLES: usize = 3;
    const SIZE: usize = 24;
    const IMAGE_SIZE: ImageSize = ImageSize { height: SIZE, width: SIZE };
    const SHAPE: BatchShape =
        BatchShape { image_size: IMAGE_SIZE, views: 1, question: 7, answer: 4 };

    type Made = (Box<dyn Model>, Parameters);

    fn miss() -> Made {
        let vision = VitConfig {
            hidden_size: 16,
            intermediate_size: 40,
            num_hidden_layers: 3,
            num_attention_heads: 2,
            image_size: SIZE,
            patch_size: 8,
            layer_norm_eps: 1e-6,
            hidden_act: Activation::Gelu,
            attention_dropout: 0.0,
        };
        let text = TextSizes {
            hidden_size: 16,
            intermediate_size: 32,
            num_hidden_layers: 2,
            num_attention_heads: 2,
            max_position_embeddings: 16,
        };
        let made = NewMiss {
            vision,
            text,
            tokenizer: Tokenizer::from_words(Path::new("words"), WORDS).unwrap(),
            text_from: None,
            vision_from: None,
            seed: 1,
        }
        .create()
        .unwrap();
        (made.model, made.params)
    }

    fn llava() -> Made {
        let json = json!({
            "architectures": ["LlavaForConditionalGeneration"],
            "vision_config": {
                "hidden_size": 16, "intermediate_size": 40, "num_hidden_layers": 3,
                "num_attention_heads": 2, "image_size": SIZE, "patch_size": 8,
            },
            "text_config": {
                "model_type": "mistral", "hidden_size": 16, "intermediate_size": 24,
                "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
                "vocab_size": 12, "max_position_embeddings": 40, "sliding_window": 5,
            },
        });
        let (config, _) = LlavaConfig::parse("test", &json, Path::new("")).unwrap();
        let mut params = Parameters::new();
        let model = config.declare(&mut params);
        initialize(&mut params, 1);
        (model, params)
    }

    fn tuned((model, mut params): Made, method: Method) -> Made {
        let tuning = Tuning::new(method);
        tuning.apply(&mut params).unwrap();
        tuning.initialize(&mut params, 1);
        (model, params)
    }

    fn simulation<'a>(
        (model, params): &'a Made,
        precision: RunPrecision,
        spec: &'a TrainSpec,
        rule: &'a GenerationConfig,
        shape: BatchShape,
    ) -> Simulation<'a> {
        Simulation {
            model: &**model,
            params,
            precision,
            spec,
            training: (params.trained_element_count() > 0).then_some(shape),
            evaluation: Some(shape),
            rule,
            caches_features: false,
        }
    }

    /// Makes the steps and an evaluation, and meters them.
    fn run_for_real(simulation: &Simulation<'_>) -> (Meter, OperationCounts) {
        let (meter, spec) = (Meter::new(), simulation.spec);
        let of = simulation.evaluation.unwrap();
        let mut params = simulation.params.clone();
        params.set_precision(simulation.precision);
        for (_, p) in params.iter_mut() {
            // A copy: the model keeps its own.
            let precision = p.value().precision();
            let mut value = p.value().empty_like(p.shape(), precision);
            match precision {
                _ if p.value().has_codes() => value = p.value().clone(),
                Precision::F32 => value.data_mut().copy_from_slice(p.value().data()),
                Precision::Bf16 => value = p.value().clone(),
            }
            p.set(value.with_meter(&meter));
        }
        let batch = || {
            let mut batch =
                of.batch(spec.batch_size, simulation.model.image_token_id(), &Meter::new());
            let ImageSize { height, width } = of.image_size;
            let shape = [spec.batch_size * of.views, 3, height, width];
            let values = (0..shape.iter().product()).map(|i: usize| (i % 17) as f32 / 9.0 - 1.0);
            let pixels = Tensor::new(&shape, values.collect()).with_meter(&meter);
            let others =
                (1..MAX_BATCHES_IN_MEMORY).map(|_| pixels.empty_like(&shape, Precision::F32));
            let others: Vec<_> = others.collect();
            batch.images = Images::from_pixels(pixels);
            (batch, others)
        };
        let mut optimizer = AdamW::new(&params, spec);
        let best: Vec<_> = params.trained().map(|(_, p)| p.value().clone()).collect();
        let mut work = OperationCounts::default();
        if simulation.training.is_some() {
            let (batch, _others) = batch();
            for _ in 0..2 {
                let before = meter.operation_counts();
                let batches = (0..spec.grad_accum_steps).map(|_| Ok((batch.clone(), vec![])));
                let options = StepOptions { spec, seed: 0, lr: 1e-3 };
                train_step(simulation.model, &mut params, &mut optimizer, batches, options)
                    .unwrap();
                work = meter.operation_counts() - before;
            }
        }
        let (batch, _others) = batch();
        simulation.evaluate(&params, &batch, of.answer, &meter).unwrap();
        drop(best);
        (meter, work)
    }

    #[test]
    fn a_simulation_counts_what_the_steps_need() {
        type Maker = fn() -> Made;
        let makers: [(Maker, &str); 2] = [(miss, "MISS"), (llava, "LLaVA")];
        for ((made, kind), method) in
            makers.iter().flat_map(|m| methods().into_iter().map(move |n| (m, n)))
        {
            let loaded = tuned(made(), method);
            let views = if method == Method::LAYER_NORM { 2 } else { 1 };
            let shape = BatchShape { views, ..SHAPE };
            for (recompute, beams) in Recompute::ALL.into_iter().zip([1, 1, 2, 40]) {
                for precision in RunPrecision::ALL {
                    let spec = TrainSpec {
                        batch_size: EXAMPLES,
                        grad_accum_steps: 2,
                        recompute,
                        drop_path: 0.1,
                        ..TrainSpec::default()
                    };
                    let rule = GenerationConfig { num_beams: beams, ..GenerationConfig::default() };
                    let simulation = simulation(&loaded, precision, &spec, &rule, shape);
                    let planned = simulation.run().unwrap();
                    let (meter, work) = run_for_real(&simulation);
                    let what = format!("{kind} {} {recompute:?} {precision:?}", method.name());
                    assert_eq!(
                        planned.needs.peak,
                        meter.peak_bytes() + meter.scratch_bytes(),
                        "{what}"
                    );
                    assert_eq!(planned.step, work, "{what}");
                }
            }
        }
    }

    /// LayerNorm-only: every matrix multiplies forward and, but for the patches', backward.
    #[test]
    fn operations_match_the_formula() {
        let loaded = tuned(miss(), Method::LAYER_NORM);
        let spec = TrainSpec { batch_size: EXAMPLES, ..TrainSpec::default() };
        let rule = GenerationConfig::default();
        let planned = simulation(&loaded, RunPrecision::F32, &spec, &rule, SHAPE).run().unwrap();
        let (image, question, answer) = (10, SHAPE.question, SHAPE.answer);
        let products = |role: &Role, name: &str, elements: usize| -> usize {
            let source = name.contains("crossattention.self.key")
                || name.contains("crossattention.self.value");
            let rows = match (role.tower, source) {
                (_, _) if role.module == Module::Embedding(EmbeddingKind::Patch) => {
                    return 2 * EXAMPLES * (image - 1) * elements;
                }
                (Tower::Text, _) if role.module == Module::Embedding(EmbeddingKind::Token) => 0,
                (Tower::Vision | Tower::Projector, _) | (Tower::Text, true) => image,
                (Tower::Text, false) | (Tower::Decoder, true) => question,
                (Tower::Decoder, false) => answer,
            };
            4 * EXAMPLES * rows * elements
        };
        let matrices = loaded.1.iter().filter(|(_, p)| p.role().is_matmul_operand());
        let want: usize = matrices.map(|(_, p)| products(&p.role(), p.name(), p.len())).sum();
        assert_eq!(planned.step.product_flops, want as u64);
        assert!(
            loaded
                .1
                .iter()
                .all(|(_, p)| p.role().kind == ParamKind::Weight || !p.role().is_matmul_operand())
        );
        // Two products forward and five backward, of `channels` a score.
        let scores = 3 * image * image
            + 2 * (question * question + question * image)
            + 2 * (answer * answer + answer * question);
        assert_eq!(planned.step.attention_flops, (14 * EXAMPLES * 16 * scores) as u64);
    }

    /// The codes for both directions are weights, not the optimizer's.
    #[test]
    fn the_optimizer_needs_the_same_in_every_precision() {
        let loaded = tuned(miss(), Method::LAYER_NORM);
        let (spec, rule) = (TrainSpec::default(), GenerationConfig::default());
        let needs = RunPrecision::ALL.map(|precision| {
            simulation(&loaded, precision, &spec, &rule, SHAPE).run().unwrap().needs
        });
        assert!(needs.iter().all(|need| need.optimizer == needs[0].optimizer), "{needs:?}");
    }

    #[test]
    fn more_recomputation_keeps_less() {
        let loaded = tuned(miss(), Method::LAYER_NORM);
        let rule = GenerationConfig::default();
        let needs = Recompute::ALL.map(|recompute| {
            let spec = TrainSpec { recompute, batch_size: 8, ..TrainSpec::default() };
            let done = simulation(&loaded, RunPrecision::Bf16, &spec, &rule, SHAPE).run().unwrap();
            (done.needs.activations, done.step.product_flops)
        });
        assert!(needs.windows(2).all(|pair| pair[0].0 > pair[1].0), "{needs:?}");
        assert!(needs.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{needs:?}");
    }
}
