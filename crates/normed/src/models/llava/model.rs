//! LLaVA (Liu et al. 2023, arXiv 2304.08485 and 2310.03744), which LLaVA-Med is (Li et al. 2023, arXiv
//! 2306.00890): picture -> CLIP -> projector -> tokens of a language model, among those of a prompt;
//! the language model goes on with the answer. Several pictures each have their place in the prompt.

use super::config::LlavaConfig;
use super::rows::{Answer, Rows};
use crate::data::{Batch, IMAGE_TOKEN, Images};
use crate::models::towers::Clip;
use crate::models::towers::Llama;
use crate::models::towers::Projector;
use crate::models::{Decoding, FrozenEncoder, Model};
use crate::nn::{DropoutStreams, Mode};
use crate::ops::{self, CrossEntropy, KvCache};
use crate::tensor::{Graph, ParamId, Parameters, Tensor, Tower, Var};
use crate::{Error, Result};

/// The model; its parameters live in [`Parameters`].
#[derive(Debug, Clone)]
pub struct Llava {
    config: LlavaConfig,
    vision: Clip,
    projector: Projector,
    language: Llama,
}

impl Llava {
    /// Declares every parameter under the name that transformers 5's `LlavaForConditionalGeneration`
    /// gives it, in its order. `config` must have passed [`LlavaConfig::check`], as those that were
    /// read have.
    pub fn declare(config: &LlavaConfig, params: &mut Parameters) -> Self {
        let (layers, with_class) = (config.feature_layers, config.with_class);
        let scope = &mut params.scope(Tower::Vision, "model.vision_tower");
        let vision = Clip::declare(scope, &config.vision, layers, with_class);
        let scope = &mut params.scope(Tower::Projector, "model.multi_modal_projector");
        let widths = [config.vision.hidden_size, config.text.hidden_size];
        let projector = Projector::declare(scope, config.projector, widths, config.projector_bias);
        let language = Llama::declare(params, "model.language_model", &config.text);
        Self { config: config.clone(), vision, projector, language }
    }

    /// The sizes it was declared with.
    pub fn config(&self) -> &LlavaConfig {
        &self.config
    }

    /// What the head reads `[B, A, C]`: the decoder's positions alone.
    fn answer_states(&self, g: &mut Graph<'_>, batch: &Batch, mode: Mode) -> Result<Var> {
        let (x, rows) = self.embed(g, batch, mode, Answer::Given)?;
        let dropout = self.dropout(&batch.keys, mode, Tower::Decoder);
        let x = self.language.forward(g, x, &rows.lengths, &dropout);
        Ok(ops::select_rows(g, &x, rows.answers, batch.decoder_input_ids.width))
    }

    /// What the language model reads `[B, T, C]`, and where it came from.
    fn embed(
        &self,
        g: &mut Graph<'_>,
        batch: &Batch,
        mode: Mode,
        answer: Answer,
    ) -> Result<(Var, Rows)> {
        let pictures = batch.check_views()?;
        let rows = Rows::new(&self.config, batch, answer)?;
        let states = match &batch.images {
            Images::PixelValues(pixels) => {
                self.check_pixels(pixels, pictures)?;
                self.encode_images(g, pixels, &batch.image_keys(), mode)
            }
            Images::Features(states) => {
                let wanted = [pictures, self.vision.states(), self.config.vision.hidden_size];
                if states.shape() != wanted {
                    let cause = format!("states are {:?}, not {wanted:?}", states.shape());
                    return Err(Error::invalid("batch", cause));
                }
                Var::constant(states.clone())
            }
        };
        let picture = self.projector.forward(g, &states);
        drop(states);
        let x = self.language.embed(g, Some(&picture), &rows.places, rows.width);
        let before = self.language.prompt_length(g);
        Ok((self.language.prepend_prompt(g, x), rows.behind(before)))
    }

    /// The states `[B, N, C]` of the pictures. Only products read them: where nobody wants their
    /// gradient, they are in the run's precision.
    fn encode_images(&self, g: &mut Graph<'_>, pixels: &Tensor, keys: &[u64], mode: Mode) -> Var {
        let dropout = self.dropout(keys, mode, Tower::Vision);
        let states = self.vision.forward(g, pixels, &dropout, drop_path(mode));
        if states.needs_gradient() {
            return states;
        }
        Var::constant(states.value.into_precision(g.precision()))
    }

    /// Neither tower drops anything but attention probabilities.
    fn dropout(&self, keys: &[u64], mode: Mode, tower: Tower) -> DropoutStreams {
        let Mode::Train(noise) = mode else { return DropoutStreams::none() };
        let rate = match tower {
            Tower::Vision => self.config.vision.attention_dropout as f32,
            _ => noise.dropout.unwrap_or(self.config.text.attention_dropout as f32),
        };
        DropoutStreams::new(noise.seed, keys, tower, 0.0, rate)
    }

    fn check_pixels(&self, pixels: &Tensor, pictures: usize) -> Result<()> {
        let (shape, size) = (pixels.shape(), self.config.vision.image_size);
        if shape == [pictures, 3, size, size] {
            return Ok(());
        }
        let cause = format!("pixel_values are {shape:?}, not [{pictures}, 3, {size}, {size}]");
        Err(Error::invalid("batch", cause)
            .with_remedy("pictures must be prepared by this model's image rule"))
    }
}

/// The rate at which the vision tower's last block drops its branches.
fn drop_path(mode: Mode) -> f32 {
    match mode {
        Mode::Evaluate => 0.0,
        Mode::Train(noise) => noise.drop_path,
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
        let (x, rows) = self.embed(g, batch, Mode::Evaluate, Answer::Generated(max_new_tokens))?;
        let caches = self.language.prefill(g, x, &rows.lengths, max_new_tokens);
        Ok(Box::new(LlavaDecoding { language: &self.language, params, caches }))
    }

    fn frozen_encoder(&self, params: &Parameters, mode: Mode) -> Option<&dyn FrozenEncoder> {
        let drops_probabilities =
            mode != Mode::Evaluate && self.config.vision.attention_dropout > 0.0;
        let random = drops_probabilities || drop_path(mode) > 0.0;
        let frozen = self.parameters(params).iter().all(|&id| !params.get(id).trained);
        (frozen && !random).then_some(self)
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

    fn encode(&self, params: &Parameters, pixel_values: &Tensor) -> Result<Tensor> {
        let pictures = pixel_values.shape().first().copied().unwrap_or(0);
        self.check_pixels(pixel_values, pictures)?;
        let mut g = Graph::inference(params);
        Ok(self.encode_images(&mut g, pixel_values, &[], Mode::Evaluate).value)
    }
}

/// Answers being decoded.
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
    use crate::data::{IGNORE_INDEX, TokenRows};
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

    /// The examples with these keys; each key chooses the picture.
    fn batch(keys: &[u64], prompts: &[&[u32]], answers: &[&[u32]]) -> Batch {
        let pixel = |key: u64, i: u64| ((key * 31 + i * 17) % 23) as f32 / 11.0 - 1.0;
        let pixels = keys.iter().flat_map(|&key| (0..3 * 64).map(move |i| pixel(key, i))).collect();
        let decoder_input_ids = rows(answers);
        Batch {
            images: Images::PixelValues(Tensor::new(&[keys.len(), 3, 8, 8], pixels)),
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

    /// Neither an example's place in the batch nor its mates' lengths move anything of it, where
    /// frequencies depend on a sequence's own length too.
    #[test]
    fn an_example_does_not_depend_on_batch_mates() {
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

    /// States stand for pixels to the bit, whoever was in the batch that they were computed in.
    #[test]
    fn states_stand_for_pixels() {
        let (model, mut params) = model();
        for precision in [F32, Bf16] {
            params.set_precision(precision);
            let both = two();
            let Images::PixelValues(pixels) = &both.images else { panic!() };
            let states = |i| {
                let alone = Tensor::stack(&[&pixels.part(i)]);
                let prefix = model.frozen_encoder(&params, Mode::Evaluate).unwrap();
                prefix.encode(&params, &alone).unwrap().part(0)
            };
            let states = Images::Features(Tensor::stack(&[&states(0), &states(1)]));
            let seen = Batch { images: states, ..both.clone() };
            let noise = Mode::Train(Noise { seed: 3, dropout: Some(0.2), drop_path: 0.0 });
            for mode in [Mode::Evaluate, noise] {
                let wanted = logits(&model, &params, &both, mode);
                assert!(logits(&model, &params, &seen, mode) == wanted, "{precision:?} {mode:?}");
            }
            let rule = GenerationConfig { max_new_tokens: 5, ..GenerationConfig::default() };
            let ending = StopRule { tokens: &model.config().text.eos_token_ids, stop: None };
            let answers = |batch| generate(&model, &params, batch, &rule, ending).unwrap();
            assert_eq!(answers(&both), answers(&seen));
        }
    }

    /// Each of a study's pictures stands in its own place, and whoever else is in the batch has its own.
    #[test]
    fn pictures_stand_in_their_places() {
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

    /// An answer is its example's own, whoever is in the batch; drawn ones are the seed's as well.
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
    fn the_prefix_is_frozen_where_nothing_in_it_is_trained_or_random() {
        let (mut model, mut params) = model();
        let train = |drop_path| Mode::Train(Noise { seed: 3, dropout: Some(0.5), drop_path });
        let frozen = |model: &Llava, params: &Parameters| {
            [Mode::Evaluate, train(0.0), train(0.1)]
                .map(|mode| model.frozen_encoder(params, mode).is_some())
        };
        assert_eq!(frozen(&model, &params), [true, true, false]);
        let parameters = model.parameters(&params);
        for id in params.iter().map(|(id, _)| id).collect::<Vec<_>>() {
            params.get_mut(id).trained = true;
            assert_eq!(frozen(&model, &params)[0], !parameters.contains(&id));
            params.get_mut(id).trained = false;
        }
        model.config.vision.attention_dropout = 0.1;
        assert_eq!(frozen(&model, &params), [true, false, false]);
    }

    /// The last block, as the second last one's states are read, and the norm behind it; and CLIP's key
    /// biases. Everything else gets a gradient, and what is inert of what is computed would get none.
    #[test]
    fn what_is_not_inert_has_a_gradient() {
        let (model, mut params) = model();
        for (_, p) in params.iter_mut() {
            p.trained = true;
            let vision = p.role.tower == Tower::Vision;
            let above = p.role.layer == Some(2) || p.name.contains("post_layernorm");
            let key = p.role.module == Module::Attention(AttentionProjection::Key);
            let inert = vision && (above || key && p.role.kind == ParamKind::Bias);
            assert_eq!(p.inert.is_some(), inert, "{}", p.name);
        }
        let mut g = Graph::training(&params);
        let out = model.forward(&mut g, &two(), Mode::Evaluate).unwrap();
        let seed: Vec<_> = (0..out.value.len()).map(|i| (i * i % 7) as f32 - 3.0).collect();
        let mut gradients = Gradients::new();
        g.backward(out.gradient_slot(), Tensor::new(out.shape(), seed), &mut gradients);
        let norm = |id| {
            let gradient = gradients.param(id)?;
            Some(gradient.data().iter().map(|d| d * d).sum::<f32>().sqrt())
        };
        let (inert, live): (Vec<_>, Vec<_>) = params.iter().partition(|(_, p)| p.inert.is_some());
        let least = live.iter().map(|&(id, p)| norm(id).unwrap_or_else(|| panic!("{}", p.name)));
        let least = least.fold(f32::INFINITY, f32::min);
        let most = inert.iter().filter_map(|&(id, _)| norm(id)).fold(0.0, f32::max);
        assert!(most * 10.0 < least, "inert up to {most}, live from {least}");
        assert!(inert.iter().filter(|&&(id, _)| norm(id).is_none()).count() > 10);
    }

    /// What is computed again in backward changes no gradient beyond the order of a few sums, with all
    /// that is dropped, wherever training begins.
    #[test]
    fn recomputation_changes_no_gradient() {
        let (model, mut params) = model();
        let noise = Mode::Train(Noise { seed: 3, dropout: Some(0.2), drop_path: 0.3 });
        let all = |_: &Parameter| true;
        let norms = |p: &Parameter| matches!(p.role.module, Module::Norm(_));
        let projector = |p: &Parameter| p.role.tower == Tower::Projector;
        let last = |p: &Parameter| p.role.module == Module::Head;
        let trained: [fn(&Parameter) -> bool; 4] = [all, norms, projector, last];
        for (which, precision) in trained.iter().flat_map(|w| [(w, F32), (w, Bf16)]) {
            for (_, p) in params.iter_mut() {
                p.trained = which(p) && p.inert.is_none();
            }
            params.set_precision(precision);
            let gradients = |level| {
                let mut g = Graph::training(&params).with_recompute(level);
                let out = model.forward(&mut g, &two(), noise).unwrap();
                let seed = (0..out.value.len()).map(|i| (i * i % 7) as f32 - 3.0).collect();
                let mut gradients = Gradients::new();
                let recorded = g.recorded();
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
                    assert_eq!(a.is_some(), p.trained, "{}", p.name);
                    let same = match (a, b) {
                        (Some(a), Some(b)) => within(tolerance, &b, &a),
                        (a, b) => a == b,
                    };
                    assert!(same, "{level:?} {precision:?}: {}", p.name);
                }
            }
            params.set_precision(F32);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
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
        refused("not [1, 3, 8, 8]", &|b| {
            b.images = Images::PixelValues(Tensor::zeros(&[1, 3, 16, 16]));
        });
        refused("not [1, 4, 12]", &|b| b.images = Images::Features(Tensor::zeros(&[1, 5, 12])));
        refused("has 1 pictures in its input_ids, not 2", &|b| b.views = vec![2]);
        refused("a number of pictures an example", &|b| b.views = vec![]);
        refused("has 0 pictures", &|b| b.input_ids.ids[1] = 3);
        refused("has 2 pictures", &|b| b.input_ids.ids[2] = IMAGE_TOKEN);
        refused("must not end with the picture", &|b| b.decoder_input_ids.ids[0] = IMAGE_TOKEN);
        refused("input_ids has token 20", &|b| b.input_ids.ids[0] = 20);
        refused("decoder_input_ids has token 99", &|b| b.decoder_input_ids.ids[1] = 99);
        refused("labels has token 20", &|b| b.labels[1] = 20);
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
        assert!(error.contains("16 tokens of the prompt, 4 of the picture and 5"), "{error}");
        assert!(error.contains("a shorter question"), "{error}");
        assert!(model.start_decoding(&params, &long(16, 1), 4).is_ok());
        let error = model.start_decoding(&params, &long(16, 1), 5).err().unwrap().to_string();
        assert!(error.starts_with("max_new_tokens"), "{error}");
    }
}
