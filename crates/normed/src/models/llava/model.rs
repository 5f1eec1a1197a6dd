//! LLaVA (Liu et al. 2023, arXiv 2304.08485 and 2310.03744); LLaVA-Med is one (Li et al. 2023, arXiv
//! 2306.00890).
//!
//! A CLIP turns the image into states, a projector turns the states into tokens of a language model, and the
//! language model reads them inside a prompt and continues with the answer. If an example has several images,
//! each has its place in the prompt.

use super::config::LlavaConfig;
use crate::data::{Batch, IMAGE_TOKEN, Images};
use crate::models::model::{Decoding, FrozenEncoder, Model};
use crate::models::prompt_rows::{AnswerRows, LanguageLimits, PromptRows};
use crate::models::towers::{Clip, Llama, Projector};
use crate::models::vision_language::{SquareEncoder, check_images, drop_path, is_frozen};
use crate::nn::{DropoutStreams, Mode};
use crate::ops::{self, CrossEntropy, KvCache};
use crate::tensor::{Graph, ParamId, Parameters, Tensor, Tower, Var};
use crate::{Error, Result};

/// More parameters than this are a mistake in the config file: 400 GB of weights.
const MAX_PARAMETERS: usize = 100_000_000_000;

/// The model's layers. Their values are in [`Parameters`].
#[derive(Debug, Clone)]
pub struct Llava {
    config: LlavaConfig,
    vision: Clip,
    projector: Projector,
    language: Llama,
}

impl LlavaConfig {
    /// Checks that a model with this config can exist; `place` names the config file in errors.
    ///
    /// # Errors
    /// If a value is out of range, if sizes do not divide as they must, if an image does not fit into the
    /// context, or if there would be more than 100 billion parameters.
    pub fn check(&self, place: &str) -> Result<()> {
        self.check_parts(place)?;
        let count = self.num_parameters();
        if count > MAX_PARAMETERS {
            return Err(Error::invalid(place, format!("these sizes make {count} parameters")));
        }
        Ok(())
    }

    /// The number of parameters.
    pub fn num_parameters(&self) -> usize {
        let mut params = Parameters::new();
        Llava::declare(self, &mut params);
        params.element_count()
    }
}

impl Llava {
    /// Declares every parameter under the name and in the order that transformers 5's
    /// `LlavaForConditionalGeneration` has. `config` must have passed [`LlavaConfig::check`], as configs that
    /// were read have.
    pub fn declare(config: &LlavaConfig, params: &mut Parameters) -> Self {
        let (vision, text) = (&config.vision_config, &config.text_config);
        let scope = &mut params.scope(Tower::Vision, "model.vision_tower");
        let keeps_class = config.keeps_class_token();
        let vision_tower = Clip::declare(scope, vision, &config.vision_feature_layers, keeps_class);
        let scope = &mut params.scope(Tower::Projector, "model.multi_modal_projector");
        let widths = [config.feature_width(), text.hidden_size];
        let has_bias = config.multimodal_projector_bias;
        let (kind, activation) = (config.mm_projector_type, config.projector_hidden_act);
        let projector = Projector::declare(scope, kind, widths, has_bias, activation);
        let language = Llama::declare(params, "model.language_model", text);
        Self { config: config.clone(), vision: vision_tower, projector, language }
    }

    /// The config that it was declared with.
    pub fn config(&self) -> &LlavaConfig {
        &self.config
    }

    fn square_encoder(&self) -> SquareEncoder {
        SquareEncoder {
            image_size: self.config.vision_config.image_size,
            num_features: self.config.image_tokens(),
            width: self.config.feature_width(),
        }
    }

    /// The states `[B, A, C]` of the decoder's positions, which the prediction head reads.
    fn answer_states(&self, g: &mut Graph<'_>, batch: &Batch, mode: Mode) -> Result<Var> {
        let (x, rows) = self.embed(g, batch, mode, AnswerRows::Given)?;
        let dropout = self.dropout(&batch.keys, mode, Tower::Decoder);
        let x = self.language.forward(g, x, &rows.lengths, &dropout);
        Ok(ops::select_rows(g, &x, rows.answers, batch.decoder_input_ids.width))
    }

    /// The embeddings `[B, T, C]` that the language model reads, and what each row of them is.
    fn embed(
        &self,
        g: &mut Graph<'_>,
        batch: &Batch,
        mode: Mode,
        answers: AnswerRows,
    ) -> Result<(Var, PromptRows)> {
        check_images(batch, 0)?;
        let text = &self.config.text_config;
        let limits = LanguageLimits { vocab_size: text.vocab_size, positions: text.positions() };
        let image_tokens = vec![self.config.image_tokens(); batch.images.count()];
        let rows = PromptRows::new(limits, batch, &image_tokens, answers)?;
        let images = if batch.images.count() > 0 {
            let states = self.encode_images(g, &batch.images, &batch.image_keys(), mode)?;
            Some(self.projector.forward(g, &states))
        } else {
            None
        };
        let x = self.language.embed(g, images.as_ref(), &rows.sources, rows.width);
        let before = self.language.prompt_length(g);
        Ok((self.language.prepend_prompt(g, x), rows.after_prompt(before)))
    }

    /// The states `[P, N, C]` of the images at the feature layer; `keys` `[P]` seed their dropout.
    fn encode_images(
        &self,
        g: &mut Graph<'_>,
        images: &Images,
        keys: &[u64],
        mode: Mode,
    ) -> Result<Var> {
        let dropout = self.dropout(keys, mode, Tower::Vision);
        self.square_encoder().features(g, images, |g, pixels| {
            self.vision.forward(g, pixels, &dropout, drop_path(mode))
        })
    }

    /// The dropout of a tower. In both towers, only attention probabilities are dropped.
    fn dropout(&self, keys: &[u64], mode: Mode, tower: Tower) -> DropoutStreams {
        let Mode::Train(noise) = mode else { return DropoutStreams::none() };
        let LlavaConfig { vision_config, text_config, .. } = &self.config;
        let rate = match tower {
            Tower::Vision => vision_config.attention_dropout as f32,
            _ => noise.dropout.unwrap_or(text_config.attention_dropout as f32),
        };
        DropoutStreams::new(noise.seed, keys, tower, 0.0, rate)
    }
}

impl Model for Llava {
    fn forward(&self, g: &mut Graph<'_>, batch: &Batch, mode: Mode) -> Result<Var> {
        let x = self.answer_states(g, batch, mode)?;
        Ok(self.language.logits(g, &x))
    }

    fn loss(
        &self,
        g: &mut Graph<'_>,
        batch: &Batch,
        mode: Mode,
        label_smoothing: f32,
    ) -> Result<CrossEntropy> {
        let x = self.answer_states(g, batch, mode)?;
        Ok(self.language.loss(g, &x, &batch.labels, label_smoothing))
    }

    fn start_decoding<'m>(
        &'m self,
        params: &'m Parameters,
        batch: &Batch,
        max_new_tokens: usize,
    ) -> Result<Box<dyn Decoding + 'm>> {
        let g = &mut Graph::inference(params);
        let answers = AnswerRows::Generated { max_new_tokens };
        let (x, rows) = self.embed(g, batch, Mode::Evaluate, answers)?;
        let caches = self.language.prefill(g, x, &rows.lengths, max_new_tokens);
        Ok(Box::new(LlavaDecoding { language: &self.language, params, caches }))
    }

    fn frozen_encoder(&self, params: &Parameters, mode: Mode) -> Option<&dyn FrozenEncoder> {
        let attention_dropout = self.config.vision_config.attention_dropout;
        let encoder = self.parameters(params);
        is_frozen(params, &encoder, mode, attention_dropout).then_some(self)
    }

    fn image_token_id(&self) -> Option<u32> {
        Some(IMAGE_TOKEN)
    }

    fn is_decoder_only(&self) -> bool {
        true
    }
}

/// The vision tower up to the feature layer.
impl FrozenEncoder for Llava {
    fn parameters(&self, params: &Parameters) -> Vec<ParamId> {
        Clip::parameters(params)
    }

    fn encode(&self, params: &Parameters, images: &Images) -> Result<Images> {
        let mut g = Graph::inference(params);
        let states = self.encode_images(&mut g, images, &[], Mode::Evaluate)?;
        Ok(self.square_encoder().with_features(images, states.value))
    }
}

/// Answers that are being decoded.
struct LlavaDecoding<'m> {
    language: &'m Llama,
    params: &'m Parameters,
    caches: Vec<KvCache>,
}

impl Decoding for LlavaDecoding<'_> {
    fn step(&mut self, tokens: &[u32]) -> Tensor {
        let g = &mut Graph::inference(self.params);
        let logits = self.language.step(g, tokens, &mut self.caches).value;
        let vocab_size = logits.width();
        logits.reshape(&[tokens.len(), vocab_size])
    }

    fn reorder(&mut self, from: &[usize]) {
        let rows = self.caches.first().map_or(0, |cache| cache.lengths().len());
        if from.iter().copied().eq(0..rows) {
            return;
        }
        for cache in &mut self.caches {
            cache.reorder(from);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;
    use crate::data::StopRule;
    use crate::data::{IGNORE_INDEX, ImageSize, ImageValues, TokenRows};
    use crate::models::config_keys::ConfigKeys;
    use crate::models::{GenerationConfig, RopeConfig, generate, initialize};
    use crate::nn::Noise;
    use crate::tensor::Precision::{Bf16, F32};
    use crate::tensor::{AttentionProjection, Gradients, Module, ParamKind, Parameter, Recompute};

    fn model() -> (Llava, Parameters) {
        let json = json!({
            "architectures": ["LlavaForConditionalGeneration"],
            "vision_config": {
                "hidden_size": 12, "intermediate_size": 16, "num_hidden_layers": 3,
                "num_attention_heads": 3, "image_size": 8, "patch_size": 4,
            },
            "text_config": {
                "hidden_size": 8, "intermediate_size": 20, "num_hidden_layers": 2,
                "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 20,
                "head_dim": 4, "max_position_embeddings": 24, "attention_dropout": 0.3,
            },
        });
        let (config, _) = LlavaConfig::parse("test", &json, Path::new("")).unwrap();
        let mut params = Parameters::new();
        let model = Llava::declare(&config, &mut params);
        initialize(&mut params, 1);
        (model, params)
    }

    fn rows(rows: &[&[u32]]) -> TokenRows {
        let width = rows.iter().map(|row| row.len()).max().unwrap();
        let padded = |row: &&[u32]| [row, &vec![0; width - row.len()][..]].concat();
        let lengths = rows.iter().map(|row| row.len()).collect();
        TokenRows { ids: rows.iter().flat_map(padded).collect(), lengths, width }
    }

    /// A batch of the examples with these keys; a key determines the image.
    fn batch(keys: &[u64], prompts: &[&[u32]], answers: &[&[u32]]) -> Batch {
        let pixel = |key: u64, i: u64| ((key * 31 + i * 17) % 23) as f32 / 11.0 - 1.0;
        let pixels = keys.iter().flat_map(|&key| (0..3 * 64).map(move |i| pixel(key, i))).collect();
        let decoder_input_ids = rows(answers);
        Batch {
            images: Images::from_pixels(Tensor::new(&[keys.len(), 3, 8, 8], pixels)),
            views: vec![1; keys.len()],
            input_ids: rows(prompts),
            labels: vec![IGNORE_INDEX; decoder_input_ids.ids.len()],
            decoder_input_ids,
            target_count: 0,
            keys: keys.to_vec(),
        }
    }

    fn two() -> Batch {
        let prompts: [&[u32]; 2] = [&[1, 4, IMAGE_TOKEN, 5, 2, 9], &[1, IMAGE_TOKEN, 7]];
        batch(&[4, 5], &prompts, &[&[8, 4, 5], &[3, 9, 6, 7]])
    }

    fn logits(model: &Llava, params: &Parameters, batch: &Batch, mode: Mode) -> Vec<f32> {
        let mut g = Graph::inference(params);
        model.forward(&mut g, batch, mode).unwrap().value.into_data()
    }

    fn within(tolerance: f32, a: &[f32], b: &[f32]) -> bool {
        let largest = b.iter().fold(0.0f32, |m, x| m.max(x.abs()));
        a.iter().zip(b).all(|(a, b)| (a - b).abs() <= tolerance * largest)
    }

    /// An example's results depend neither on its place in the batch nor on the others' lengths, also where rotary
    /// frequencies depend on its own length.
    #[test]
    fn an_example_does_not_depend_on_the_batch() {
        let dynamic = json!({ "type": "dynamic", "factor": 4.0, "rope_theta": 10.0 });
        let (plain, params) = model();
        let mut stretched = plain.clone();
        // A context of six positions, beyond which both rows go, one further than the other.
        let keys = ConfigKeys::new("test", &json!({ "rope_scaling": dynamic })).unwrap();
        let rope = RopeConfig::read(&keys, 6).unwrap();
        stretched.language.set_rope(&rope, 4, 6);
        let (prompt, answer): (&[u32], &[u32]) = (&[1, IMAGE_TOKEN, 7], &[3, 9]);
        let noise = |seed| Mode::Train(Noise { seed, dropout: None, drop_path: 0.5 });
        let one = batch(&[5], &[prompt], &[answer]);
        let mates: [&[u32]; 2] = [&[1, 4, IMAGE_TOKEN, 5], prompt];
        let pair = batch(&[4, 5], &mates, &[&[1, 4, 5], answer]);
        for (model, mode) in
            [&plain, &stretched].iter().flat_map(|m| [Mode::Evaluate, noise(1)].map(|n| (m, n)))
        {
            let wanted = logits(model, &params, &one, mode);
            let in_pair = logits(model, &params, &pair, mode);
            let n = wanted.len();
            assert!(within(1e-5, &in_pair[in_pair.len() / 2..][..n], &wanted));
        }
        let [a, b] = [&plain, &stretched].map(|m| logits(m, &params, &one, Mode::Evaluate));
        assert!(!within(1e-5, &a, &b), "the frequencies are not stretched");
        let still = logits(&plain, &params, &one, Mode::Evaluate);
        let other = logits(&plain, &params, &one, noise(2));
        assert!(!within(1e-5, &other, &still));
        let quiet = Noise { seed: 3, dropout: Some(0.0), drop_path: 0.0 };
        assert_eq!(logits(&plain, &params, &one, Mode::Train(quiet)), still);
    }

    /// Features that were computed before, image by image, give the same results as pixels, to the bit.
    #[test]
    fn features_give_the_results_of_pixels() {
        let (model, mut params) = model();
        for precision in [F32, Bf16] {
            params.set_precision(precision);
            let both = two();
            let encoder = model.frozen_encoder(&params, Mode::Evaluate).unwrap();
            let alone = both.images.split();
            let [a, b] =
                [&alone[0], &alone[1]].map(|image| encoder.encode(&params, image).unwrap());
            let seen = Batch { images: Images::concat(&[&a, &b]), ..both.clone() };
            let noise = Mode::Train(Noise { seed: 3, dropout: Some(0.2), drop_path: 0.0 });
            for mode in [Mode::Evaluate, noise] {
                let wanted = logits(&model, &params, &both, mode);
                assert!(logits(&model, &params, &seen, mode) == wanted, "{precision:?} {mode:?}");
            }
            let rule = GenerationConfig { max_new_tokens: 5, ..GenerationConfig::default() };
            let ending = StopRule { tokens: &model.config().text_config.eos_token_id, stop: None };
            let answers = |batch| generate(&model, &params, batch, &rule, ending).unwrap();
            assert_eq!(answers(&both), answers(&seen));
        }
    }

    /// Each image of a study has its own place in the prompt, whatever else is in the batch.
    #[test]
    fn each_image_has_its_place_in_the_prompt() {
        let (model, params) = model();
        let prompts: [&[u32]; 2] = [&[1, IMAGE_TOKEN, 4, IMAGE_TOKEN, 5], &[1, IMAGE_TOKEN, 7]];
        let answers: [&[u32]; 2] = [&[8, 4], &[3, 9]];
        let three = batch(&[10, 11, 12], &[prompts[0]; 3], &[answers[0]; 3]).images;
        let both = Batch { images: three, views: vec![2, 1], ..batch(&[1, 2], &prompts, &answers) };
        let wanted = logits(&model, &params, &both, Mode::Evaluate);
        let n = wanted.len() / 2;
        let alone = |keys: &[u64], i: usize| {
            let images = batch(keys, &vec![prompts[i]; keys.len()], &vec![answers[i]; keys.len()]);
            let one = batch(&[1 + i as u64], &prompts[i..=i], &answers[i..=i]);
            let one = Batch { images: images.images, views: vec![keys.len()], ..one };
            logits(&model, &params, &one, Mode::Evaluate)
        };
        assert!(within(1e-5, &wanted[..n], &alone(&[10, 11], 0)));
        assert!(within(1e-5, &wanted[n..], &alone(&[12], 1)));
        assert!(!within(1e-5, &wanted[..n], &alone(&[11, 10], 0)), "the order is lost");
        let rule = GenerationConfig { max_new_tokens: 5, ..GenerationConfig::default() };
        let ending = StopRule { tokens: &[2], stop: None };
        assert_eq!(generate(&model, &params, &both, &rule, ending).unwrap().len(), 2);
    }

    /// An answer depends on its example alone; a sampled one also on the seed.
    #[test]
    fn answers_do_not_depend_on_the_batch() {
        let (model, params) = model();
        let prompts: [&[u32]; 3] =
            [&[1, 4, IMAGE_TOKEN, 5, 2, 9], &[1, IMAGE_TOKEN, 7], &[IMAGE_TOKEN]];
        let all = batch(&[4, 5, 6], &prompts, &[&[8], &[3], &[9]]);
        let mut drawn = Vec::new();
        for (num_beams, temperature, seed) in
            [(1, 0.0, 0), (3, 0.0, 0), (1, 1.5, 0), (1, 1.5, 1), (1, 1e-4, 0)]
        {
            let rule = GenerationConfig {
                num_beams,
                max_new_tokens: 12,
                temperature,
                top_p: 0.95,
                seed,
                ..GenerationConfig::default()
            };
            let ending = StopRule { tokens: &[2], stop: None };
            let answers = |batch: &Batch| generate(&model, &params, batch, &rule, ending).unwrap();
            let together = answers(&all);
            for (i, key) in [4, 5, 6].into_iter().enumerate() {
                let first = all.decoder_input_ids.ids[i];
                let alone = batch(&[key], &[prompts[i]], &[&[first]]);
                assert_eq!(answers(&alone)[0], together[i], "{rule:?}");
            }
            drawn.push(together);
        }
        let [greedy, _, one, other, cold] = &drawn[..] else { panic!() };
        assert!(one != other && one != greedy, "{drawn:?}");
        assert_eq!(cold, greedy);
    }

    #[test]
    fn the_encoder_is_frozen_if_nothing_in_it_is_trained_or_dropped() {
        let (mut model, mut params) = model();
        let train = |drop_path| Mode::Train(Noise { seed: 3, dropout: Some(0.5), drop_path });
        let frozen = |model: &Llava, params: &Parameters| {
            [Mode::Evaluate, train(0.0), train(0.1)]
                .map(|mode| model.frozen_encoder(params, mode).is_some())
        };
        assert_eq!(frozen(&model, &params), [true, true, false]);
        let parameters = model.parameters(&params);
        for id in params.iter().map(|(id, _)| id).collect::<Vec<_>>() {
            params.get_mut(id).set_trained(true);
            let is_trained = params.get(id).is_trained();
            assert_eq!(frozen(&model, &params)[0], !(is_trained && parameters.contains(&id)));
            params.get_mut(id).set_trained(false);
        }
        model.config.vision_config.attention_dropout = 0.1;
        assert_eq!(frozen(&model, &params), [true, false, false]);
    }

    /// Inert are CLIP's last block and the norm after it, since the states before them are read, and
    /// CLIP's key biases. Every other parameter gets a gradient; the inert ones change no output, beyond
    /// rounding.
    #[test]
    fn exactly_the_inert_parameters_move_nothing() {
        let (model, mut params) = model();
        for (_, p) in params.iter_mut() {
            p.set_trained(true);
            let vision = p.role().tower == Tower::Vision;
            let above = p.role().layer == Some(2) || p.name().contains("post_layernorm");
            let key = p.role().module == Module::Attention(AttentionProjection::Key);
            let inert = vision && (above || key && p.role().kind == ParamKind::Bias);
            assert_eq!(p.inert_reason().is_some(), inert, "{}", p.name());
        }
        let mut g = Graph::training(&params);
        let out = model.forward(&mut g, &two(), Mode::Evaluate).unwrap();
        let seed: Vec<_> = (0..out.value.len()).map(|i| (i * i % 7) as f32 - 3.0).collect();
        let mut gradients = Gradients::new();
        g.backward(out.gradient_slot(), Tensor::new(out.shape(), seed), &mut gradients);
        let norm = |id, p: &Parameter| {
            let gradient = gradients.param(id).unwrap_or_else(|| panic!("{}: none", p.name()));
            gradient.data().iter().map(|d| d * d).sum::<f32>().sqrt()
        };
        let live = params.iter().filter(|(_, p)| p.inert_reason().is_none());
        let least = live.map(|(id, p)| norm(id, p)).fold(f32::INFINITY, f32::min);
        assert!(least > 1e-3, "a gradient of {least}");

        let before = out.value.into_data();
        let mut inert = 0;
        for (_, p) in params.iter_mut().filter(|(_, p)| p.inert_reason().is_some()) {
            p.value_mut().data_mut().iter_mut().for_each(|x| *x += 1.0);
            inert += 1;
        }
        let mut g = Graph::inference(&params);
        let after = model.forward(&mut g, &two(), Mode::Evaluate).unwrap().value.into_data();
        let moved = before.iter().zip(&after).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(inert > 10 && moved < 1e-4, "{inert} inert parameters moved the output by {moved}");
    }

    /// Recomputing activations in backward changes gradients only by the order of a few sums, with dropout, and
    /// wherever the first trained layer is.
    #[test]
    fn recomputation_changes_no_gradient() {
        let (model, mut params) = model();
        let noise = Mode::Train(Noise { seed: 3, dropout: Some(0.2), drop_path: 0.3 });
        let all = |_: &Parameter| true;
        let norms = |p: &Parameter| matches!(p.role().module, Module::Norm(_));
        let projector = |p: &Parameter| p.role().tower == Tower::Projector;
        let last = |p: &Parameter| p.role().module == Module::Head;
        let trained: [fn(&Parameter) -> bool; 4] = [all, norms, projector, last];
        for (which, precision) in trained.iter().flat_map(|w| [(w, F32), (w, Bf16)]) {
            for (_, p) in params.iter_mut() {
                p.set_trained(which(p));
            }
            params.set_precision(precision);
            let gradients = |level| {
                let mut g = Graph::training(&params).with_recompute(level);
                let out = model.forward(&mut g, &two(), noise).unwrap();
                let seed = (0..out.value.len()).map(|i| (i * i % 7) as f32 - 3.0).collect();
                let mut gradients = Gradients::new();
                let recorded = g.recorded_operations();
                g.backward(out.gradient_slot(), Tensor::new(out.shape(), seed), &mut gradients);
                (gradients, recorded)
            };
            let (kept, most) = gradients(Recompute::None);
            // bf16 rounds up or down what differs in the last place.
            let tolerance = if precision == F32 { 1e-5 } else { 1e-2 };
            for level in Recompute::ALL {
                let (again, recorded) = gradients(level);
                assert!(recorded <= most, "{level:?}");
                for (id, p) in params.iter() {
                    let [a, b] = [&kept, &again].map(|g| g.param(id).map(|g| g.data().to_vec()));
                    assert_eq!(a.is_some(), p.is_trained(), "{}", p.name());
                    let same = match (a, b) {
                        (Some(a), Some(b)) => within(tolerance, &b, &a),
                        (a, b) => a == b,
                    };
                    assert!(same, "{level:?} {precision:?}: {}", p.name());
                }
            }
            params.set_precision(F32);
        }
    }

    #[test]
    fn batches_of_another_model_are_errors() {
        let (model, params) = model();
        let good = batch(&[5], &[&[1, IMAGE_TOKEN, 2]], &[&[1, 9]]);
        let refused = |cause: &str, spoil: &dyn Fn(&mut Batch)| {
            let mut bad = good.clone();
            spoil(&mut bad);
            let error = model.forward(&mut Graph::inference(&params), &bad, Mode::Evaluate);
            let error = error.expect_err(cause);
            assert_eq!(error.exit_code(), 2);
            let error = error.to_string();
            assert!(error.contains(cause), "{error}");
        };
        refused("image 0 has 16 x 16 pixels; this model reads 8 x 8", &|b| {
            b.images = Images::from_pixels(Tensor::zeros(&[1, 3, 16, 16]));
        });
        refused("not 4 each", &|b| {
            let values =
                ImageValues::Features { features: Tensor::zeros(&[5, 12]), counts: vec![5] };
            b.images = Images { sizes: vec![ImageSize::square(8)], values };
        });
        refused("have 2 images, the batch holds 1", &|b| b.views = vec![2]);
        refused("has 1 images in its input_ids, not 2", &|b| {
            b.views = vec![2];
            b.images = Images::concat(&[&b.images, &b.images]);
        });
        refused("the number of images of each example", &|b| b.views = vec![]);
        refused("has 0 images", &|b| b.input_ids.ids[1] = 3);
        refused("has 2 images", &|b| b.input_ids.ids[2] = IMAGE_TOKEN);
        refused("must not end with an image", &|b| b.decoder_input_ids.ids[0] = IMAGE_TOKEN);
        refused("input_ids holds token 20", &|b| b.input_ids.ids[0] = 20);
        refused("decoder_input_ids holds token 99", &|b| b.decoder_input_ids.ids[1] = 99);
        refused("labels holds token 20", &|b| b.labels[1] = 20);
        refused("one row", &|b| b.input_ids.lengths[0] = 0);
        refused("one row", &|b| b.input_ids.ids.truncate(2));
        refused("differ in shape", &|b| b.labels.truncate(1));
        // 24 positions.
        let long = |words: usize, answer: usize| {
            let prompt = [&vec![3; words][..], &[IMAGE_TOKEN]].concat();
            batch(&[5], &[&prompt], &[&vec![1; answer]])
        };
        assert!(
            model.forward(&mut Graph::inference(&params), &long(16, 4), Mode::Evaluate).is_ok()
        );
        let error = model.forward(&mut Graph::inference(&params), &long(16, 5), Mode::Evaluate);
        let error = error.unwrap_err().to_string();
        assert!(error.contains("16 tokens of the prompt's text, 4 of its images and 5"), "{error}");
        assert!(error.contains("a shorter question"), "{error}");
        assert!(model.start_decoding(&params, &long(16, 1), 4).is_ok());
        let error = model.start_decoding(&params, &long(16, 1), 5).err().unwrap().to_string();
        assert!(error.starts_with("max_new_tokens"), "{error}");
    }
}
