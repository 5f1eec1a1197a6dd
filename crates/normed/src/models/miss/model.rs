//! MISS (Chen et al. 2024, arXiv 2401.05163), which is BLIP's model for visual question answering (Li et al.
//! 2022, arXiv 2201.12086).
//!
//! The image goes through a vision transformer. The question goes through a BERT that cross-attends to the
//! image's states, and the answer through a BERT decoder that cross-attends to the question's states. If an
//! example has several images, the views of a study, each goes through the vision transformer; the question
//! attends to the states of all of them, one view after the other.

use super::config::MissConfig;
use crate::data::{Batch, Images, TokenRows};
use crate::models::model::{Decoding, FrozenEncoder, Model};
use crate::models::towers::{Bert, PredictionHead, Vit};
use crate::models::vision_language::{
    SquareEncoder, check_images, check_rows_and_labels, check_token_ids, drop_path, is_frozen,
};
use crate::nn::{AttentionMask, BlockCache, DropoutStreams, Mode};
use crate::ops;
use crate::tensor::{Graph, ParamId, Parameters, Tensor, Tower, Var};
use crate::{Error, Result};

/// More parameters than this are a mistake in the config file: 40 GB of weights.
const MAX_PARAMETERS: usize = 10_000_000_000;

/// The model's layers. Their values are in [`Parameters`].
#[derive(Debug, Clone)]
pub struct Miss {
    config: MissConfig,
    vision: Vit,
    text: Bert,
    decoder: Bert,
    head: PredictionHead,
}

impl MissConfig {
    /// Checks that a model with this config can exist; `place` names the config file in errors.
    ///
    /// # Errors
    /// If a value is out of range, if sizes do not divide as they must, or if there would be more than 10
    /// billion parameters.
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
        Miss::declare(self, &mut params);
        params.element_count()
    }
}

impl Miss {
    /// Declares every parameter under the name and in the order that transformers'
    /// `BlipForQuestionAnswering` has. `config` must have passed [`MissConfig::check`], as configs that were
    /// read have.
    pub fn declare(config: &MissConfig, params: &mut Parameters) -> Self {
        let (vision, text) = (&config.vision_config, &config.text_config);
        let vision_tower = Vit::declare(&mut params.scope(Tower::Vision, "vision_model"), vision);
        let scope = &mut params.scope(Tower::Text, "text_encoder");
        let text_tower = Bert::declare(scope, text, vision.hidden_size);
        let scope = &mut params.scope(Tower::Decoder, "text_decoder");
        let decoder = Bert::declare(&mut scope.sub("bert"), text, text.hidden_size);
        let scope = &mut scope.sub("cls.predictions");
        let head = PredictionHead::declare(scope, text, decoder.word_embeddings());
        Self { config: config.clone(), vision: vision_tower, text: text_tower, decoder, head }
    }

    /// The config that it was declared with.
    pub fn config(&self) -> &MissConfig {
        &self.config
    }

    fn square_encoder(&self) -> SquareEncoder {
        let vision = &self.config.vision_config;
        SquareEncoder {
            image_size: vision.image_size,
            num_features: vision.num_states(),
            width: vision.hidden_size,
        }
    }

    /// The states `[P, 1 + patches, C]` of single images; `keys` `[P]` seed their dropout.
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

    /// The states `[B, P + T, C]` of the questions, those of `P` virtual tokens first.
    fn encode_questions(&self, g: &mut Graph<'_>, batch: &Batch, mode: Mode) -> Result<Var> {
        let images = self.encode_images(g, &batch.images, &batch.image_keys(), mode)?;
        let (images, image_mask) = concat_views(g, images, &batch.views);
        let dropout = self.dropout(&batch.keys, mode, Tower::Text);
        let mask = self.question_mask(g, &batch.input_ids);
        Ok(self.text.forward(g, &batch.input_ids, &mask, &images, &image_mask, &dropout))
    }

    /// The mask of a question's states, those of virtual tokens included: padding is hidden.
    fn question_mask(&self, g: &Graph<'_>, questions: &TokenRows) -> AttentionMask {
        let padded = questions.lengths.iter().any(|&n| n < questions.width);
        let lengths = padded.then(|| self.question_lengths(g, questions).into());
        AttentionMask { causal: false, lengths }
    }

    /// The number of states of each question, those of virtual tokens included, without padding.
    fn question_lengths(&self, g: &Graph<'_>, questions: &TokenRows) -> Vec<usize> {
        let before = self.text.prompt_length(g);
        questions.lengths.iter().map(|length| before + length).collect()
    }

    /// The answers' states `[B, T, C]` of all states `x [B, P + T, C]` of the decoder: those of `P` virtual
    /// tokens predict nothing.
    fn drop_prompt_positions(&self, g: &mut Graph<'_>, x: Var, width: usize) -> Var {
        let before = self.decoder.prompt_length(g);
        if before == 0 {
            return x;
        }
        let all = before + width;
        let own = (0..x.shape()[0]).flat_map(|b| b * all + before..(b + 1) * all).collect();
        ops::select_rows(g, &x, own, width)
    }

    fn dropout(&self, keys: &[u64], mode: Mode, tower: Tower) -> DropoutStreams {
        let Mode::Train(noise) = mode else { return DropoutStreams::none() };
        let (hidden, probabilities) = match (tower, noise.dropout) {
            (Tower::Vision, _) => (0.0, self.config.vision_config.attention_dropout as f32),
            (_, Some(rate)) => (rate, rate),
            (_, None) => {
                let text = &self.config.text_config;
                (text.hidden_dropout_prob as f32, text.attention_probs_dropout_prob as f32)
            }
        };
        DropoutStreams::new(noise.seed, keys, tower, hidden, probabilities)
    }

    /// Checks that the batch was made for this model, its images aside.
    fn check(&self, batch: &Batch) -> Result<()> {
        let (text, rows) = (&self.config.text_config, [&batch.input_ids, &batch.decoder_input_ids]);
        check_images(batch, 1)?;
        check_rows_and_labels(batch, text.vocab_size)?;
        for (name, rows) in ["input_ids", "decoder_input_ids"].into_iter().zip(rows) {
            if rows.width > text.max_position_embeddings {
                let (width, positions) = (rows.width, text.max_position_embeddings);
                let cause = format!("{name} has {width} tokens, the model {positions} positions");
                return Err(Error::invalid("batch", cause).with_remedy("shorten the text"));
            }
            check_token_ids(name, rows.ids.iter(), text.vocab_size)?;
        }
        Ok(())
    }
}

/// The states `[P, N, C]` of single images as those of each example's views, `[B, V N, C]`, where `V` is the
/// largest number of views; and the mask that hides the padding of examples with fewer.
fn concat_views(g: &mut Graph<'_>, images: Var, views: &[usize]) -> (Var, AttentionMask) {
    let most = views.iter().copied().max().unwrap_or(1);
    if most == 1 {
        return (images, AttentionMask::default());
    }
    let states = images.shape()[1];
    let (mut rows, mut first) = (Vec::with_capacity(views.len() * most * states), 0);
    for &own in views {
        rows.extend(first..first + own * states);
        rows.extend(std::iter::repeat_n(first, (most - own) * states));
        first += own * states;
    }
    let padded = views.iter().any(|&own| own < most);
    let lengths = padded.then(|| views.iter().map(|own| own * states).collect());
    (ops::select_rows(g, &images, rows, most * states), AttentionMask { causal: false, lengths })
}

impl Model for Miss {
    fn forward(&self, g: &mut Graph<'_>, batch: &Batch, mode: Mode) -> Result<Var> {
        self.check(batch)?;
        let states = self.encode_questions(g, batch, mode)?;
        let dropout = self.dropout(&batch.keys, mode, Tower::Decoder);
        // Padding is on the right, so that the causal mask hides it from every real position.
        let self_mask = AttentionMask { causal: true, lengths: None };
        let cross_mask = self.question_mask(g, &batch.input_ids);
        let answers = &batch.decoder_input_ids;
        let x = self.decoder.forward(g, answers, &self_mask, &states, &cross_mask, &dropout);
        let x = self.drop_prompt_positions(g, x, answers.width);
        Ok(self.head.forward(g, &x))
    }

    fn max_answer_tokens(&self) -> usize {
        self.config.text_config.max_position_embeddings
    }

    fn start_decoding<'m>(
        &'m self,
        params: &'m Parameters,
        batch: &Batch,
        max_new_tokens: usize,
    ) -> Result<Box<dyn Decoding + 'm>> {
        self.check(batch)?;
        let max_new_tokens = max_new_tokens.min(self.max_answer_tokens());
        let mut g = Graph::inference(params);
        let states = self.encode_questions(&mut g, batch, Mode::Evaluate)?;
        let mask = self.question_mask(&g, &batch.input_ids);
        let caches = self.decoder.new_caches(&mut g, &states, max_new_tokens, &mask);
        Ok(Box::new(MissDecoding {
            model: self,
            params,
            caches,
            lengths: self.question_lengths(&g, &batch.input_ids),
            examples: (0..batch.keys.len()).collect(),
            position: 0,
        }))
    }

    fn frozen_encoder(&self, params: &Parameters, mode: Mode) -> Option<&dyn FrozenEncoder> {
        let attention_dropout = self.config.vision_config.attention_dropout;
        let encoder = self.parameters(params);
        is_frozen(params, &encoder, mode, attention_dropout).then_some(self)
    }
}

/// The vision tower.
impl FrozenEncoder for Miss {
    fn parameters(&self, params: &Parameters) -> Vec<ParamId> {
        let vision = params.iter().filter(|(_, p)| p.role().tower == Tower::Vision);
        vision.map(|(id, _)| id).collect()
    }

    fn encode(&self, params: &Parameters, images: &Images) -> Result<Images> {
        let mut g = Graph::inference(params);
        let states = self.encode_images(&mut g, images, &[], Mode::Evaluate)?;
        Ok(self.square_encoder().with_features(images, states.value))
    }
}

/// Answers that are being decoded.
struct MissDecoding<'m> {
    model: &'m Miss,
    params: &'m Parameters,
    caches: Vec<BlockCache>,
    /// States of each row's question.
    lengths: Vec<usize>,
    /// Each row's example.
    examples: Vec<usize>,
    /// Of the next token.
    position: usize,
}

impl Decoding for MissDecoding<'_> {
    fn step(&mut self, tokens: &[u32]) -> Tensor {
        let g = &mut Graph::inference(self.params);
        let mask = AttentionMask { causal: false, lengths: Some(self.lengths.as_slice().into()) };
        let x = self.model.decoder.step(g, tokens, self.position, &mut self.caches, &mask);
        self.position += 1;
        let logits = self.model.head.forward(g, &x).value;
        let vocab_size = logits.width();
        logits.reshape(&[tokens.len(), vocab_size])
    }

    fn reorder(&mut self, from: &[usize]) {
        if from.iter().copied().eq(0..self.examples.len()) {
            return;
        }
        let examples: Vec<_> = from.iter().map(|&row| self.examples[row]).collect();
        // The beams of an example share its question: as long as no row changes its example, the
        // question's keys and values stay in place.
        let moved = examples != self.examples;
        for cache in &mut self.caches {
            cache.own.reorder(from);
            if moved {
                cache.cross.reorder(from);
            }
        }
        self.lengths = from.iter().map(|&row| self.lengths[row]).collect();
        self.examples = examples;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{IGNORE_INDEX, ImageSize, ImageValues, StopRule};
    use crate::models::{BertConfig, GenerationConfig, VitConfig, generate, initialize};
    use crate::nn::Noise;
    use crate::ops::Activation;
    use crate::tensor::Precision::{Bf16, F32};
    use crate::tensor::{AttentionProjection, Module, ParamKind, Recompute};

    fn model() -> (Miss, Parameters) {
        let vision_config = VitConfig {
            hidden_size: 12,
            intermediate_size: 16,
            num_hidden_layers: 3,
            num_attention_heads: 3,
            image_size: 8,
            patch_size: 4,
            layer_norm_eps: 1e-6,
            hidden_act: Activation::Gelu,
            attention_dropout: 0.0,
        };
        let text_config = BertConfig {
            vocab_size: 20,
            hidden_size: 8,
            intermediate_size: 16,
            num_hidden_layers: 2,
            num_attention_heads: 2,
            max_position_embeddings: 10,
            layer_norm_eps: 1e-12,
            hidden_act: Activation::Gelu,
            tie_word_embeddings: true,
            hidden_dropout_prob: 0.2,
            attention_probs_dropout_prob: 0.3,
            bos_token_id: 1,
            sep_token_id: 2,
            pad_token_id: 0,
            question_token_id: 3,
            max_question_tokens: 10,
        };
        let config = MissConfig { vision_config, text_config };
        config.check("test").unwrap();
        let mut params = Parameters::new();
        let model = Miss::declare(&config, &mut params);
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
    fn batch(keys: &[u64], questions: &[&[u32]], answers: &[&[u32]]) -> Batch {
        let pixel = |key: u64, i: u64| ((key * 31 + i * 17) % 23) as f32 / 11.0 - 1.0;
        let pixels = keys.iter().flat_map(|&key| (0..3 * 64).map(move |i| pixel(key, i))).collect();
        let decoder_input_ids = rows(answers);
        Batch {
            images: Images::from_pixels(Tensor::new(&[keys.len(), 3, 8, 8], pixels)),
            views: vec![1; keys.len()],
            input_ids: rows(questions),
            labels: vec![IGNORE_INDEX; decoder_input_ids.ids.len()],
            decoder_input_ids,
            target_count: 0,
            keys: keys.to_vec(),
        }
    }

    fn logits(model: &Miss, params: &Parameters, batch: &Batch, mode: Mode) -> Vec<f32> {
        let mut g = Graph::inference(params);
        model.forward(&mut g, batch, mode).unwrap().value.into_data()
    }

    fn close(a: &[f32], b: &[f32]) -> bool {
        within(1e-5, a, b)
    }

    fn within(tolerance: f32, a: &[f32], b: &[f32]) -> bool {
        let largest = b.iter().fold(0.0f32, |m, x| m.max(x.abs()));
        a.iter().zip(b).all(|(a, b)| (a - b).abs() <= tolerance * largest)
    }

    /// The dropout of an example depends neither on its place in the batch nor on the padding that longer examples
    /// cause.
    #[test]
    fn noise_does_not_depend_on_batch_mates() {
        let (model, params) = model();
        let noise = |seed| Mode::Train(Noise { seed, dropout: None, drop_path: 0.5 });
        let (question, answer): (&[u32], &[u32]) = (&[3, 7, 8, 2], &[1, 9]);
        let one = batch(&[5], &[question], &[answer]);
        let mates = [&[3, 4, 5, 6, 7, 8, 2][..], question];
        let two = batch(&[4, 5], &mates, &[&[1, 4, 5, 6], answer]);
        let wanted = logits(&model, &params, &one, noise(1));
        let n = wanted.len();
        let in_pair = logits(&model, &params, &two, noise(1));
        let second = &in_pair[in_pair.len() / 2..];
        assert!(close(&second[..n], &wanted), "{:?}\n{wanted:?}", &second[..n]);

        assert!(!close(&logits(&model, &params, &one, noise(2)), &wanted));
        let mut other = one.clone();
        other.keys = vec![6];
        assert!(!close(&logits(&model, &params, &other, noise(1)), &wanted));
        assert!(!close(&logits(&model, &params, &one, Mode::Evaluate), &wanted));
    }

    /// Each rate acts in its tower, and there is no other noise.
    #[test]
    fn noise_of_rate_zero_is_none() {
        let (model, params) = model();
        let batch = batch(&[5], &[&[3, 7, 2]], &[&[1, 9]]);
        let still = logits(&model, &params, &batch, Mode::Evaluate);
        let noisy = |dropout, drop_path| {
            let noise = Noise { seed: 3, dropout: Some(dropout), drop_path };
            logits(&model, &params, &batch, Mode::Train(noise)) != still
        };
        assert!(!noisy(0.0, 0.0));
        assert!(noisy(0.5, 0.0));
        assert!(noisy(0.0, 0.9));
    }

    /// Features that were computed before, image by image, give the same results as pixels, to the bit.
    #[test]
    fn features_give_the_results_of_pixels() {
        let (model, mut params) = model();
        for precision in [F32, Bf16] {
            params.set_precision(precision);
            let rows: (&[&[u32]], &[&[u32]]) = (&[&[3, 7, 2], &[3, 2]], &[&[1, 9], &[1, 4, 6]]);
            let both = batch(&[4, 5], rows.0, rows.1);
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
            let rule = GenerationConfig::default();
            let ending = StopRule { tokens: &[2], stop: None };
            let answers = |batch| generate(&model, &params, batch, &rule, ending);
            assert_eq!(answers(&both).unwrap(), answers(&seen).unwrap());
        }
    }

    /// A batch of studies with one, two and three views.
    fn studies(which: &[usize]) -> Batch {
        let all = [(7, 1), (8, 2), (9, 3)];
        let of = |&i: &usize| all[i];
        let keys: Vec<u64> = which.iter().map(|i| of(i).0).collect();
        let image_keys: Vec<u64> =
            which.iter().map(of).flat_map(|(key, n)| (0..n).map(move |v| 10 * key + v)).collect();
        let questions: Vec<&[u32]> = which.iter().map(|_| &[3, 7, 2][..]).collect();
        let answers: Vec<&[u32]> = which.iter().map(|_| &[1, 9, 4][..]).collect();
        let images = batch(&image_keys, &questions, &answers).images;
        let views = which.iter().map(|i| of(i).1 as usize).collect();
        Batch { images, views, ..batch(&keys, &questions, &answers) }
    }

    /// The padding of missing views is masked, and every view is read.
    #[test]
    fn a_study_does_not_depend_on_the_views_of_others() {
        let (model, mut params) = model();
        let noise = Mode::Train(Noise { seed: 3, dropout: Some(0.2), drop_path: 0.5 });
        for (mode, precision) in [(Mode::Evaluate, F32), (noise, F32), (Mode::Evaluate, Bf16)] {
            params.set_precision(precision);
            let all = logits(&model, &params, &studies(&[0, 1, 2]), mode);
            let tolerance = if precision == F32 { 1e-5 } else { 1e-2 };
            for i in 0..3 {
                let alone = logits(&model, &params, &studies(&[i]), mode);
                let own = &all[i * alone.len()..][..alone.len()];
                assert!(within(tolerance, own, &alone), "{i} {mode:?} {precision:?}");
            }
        }
        params.set_precision(F32);
        let rule = GenerationConfig { num_beams: 2, ..GenerationConfig::default() };
        let ending = StopRule { tokens: &[2], stop: None };
        let answers = |batch| generate(&model, &params, &batch, &rule, ending).unwrap();
        assert_eq!(answers(studies(&[0, 1, 2]))[1], answers(studies(&[1]))[0]);

        let two = studies(&[1]);
        let seen = logits(&model, &params, &two, Mode::Evaluate);
        for view in 0..2 {
            let mut changed = two.images.tensor().clone().reshape(&[2, 3, 8, 8]);
            changed.data_mut()[view * 3 * 64..][..3 * 64].fill(1.0);
            let changed = Batch { images: Images::from_pixels(changed), ..two.clone() };
            assert!(!close(&logits(&model, &params, &changed, Mode::Evaluate), &seen), "{view}");
        }
        let cached = Batch { images: model.encode(&params, &two.images).unwrap(), ..two.clone() };
        assert_eq!(logits(&model, &params, &cached, Mode::Evaluate), seen);
    }

    #[test]
    fn the_encoder_is_frozen_if_nothing_in_it_is_trained_or_dropped() {
        let (mut model, mut params) = model();
        let train = |drop_path| Mode::Train(Noise { seed: 3, dropout: Some(0.5), drop_path });
        let frozen = |model: &Miss, params: &Parameters| {
            [Mode::Evaluate, train(0.0), train(0.1)]
                .map(|mode| model.frozen_encoder(params, mode).is_some())
        };
        assert_eq!(frozen(&model, &params), [true, true, false]);
        let parameters = model.parameters(&params);
        for id in params.iter().map(|(id, _)| id).collect::<Vec<_>>() {
            params.get_mut(id).set_trained(true);
            assert_eq!(frozen(&model, &params)[0], !parameters.contains(&id));
            params.get_mut(id).set_trained(false);
        }
        model.config.vision_config.attention_dropout = 0.1;
        assert_eq!(frozen(&model, &params), [true, false, false]);
    }

    #[test]
    fn exactly_the_key_biases_are_inert() {
        use Module::{Attention, CrossAttention};
        let (_, params) = model();
        for (_, p) in params.iter() {
            let key =
                [Attention(AttentionProjection::Key), CrossAttention(AttentionProjection::Key)]
                    .contains(&p.role().module);
            assert_eq!(
                p.inert_reason().is_some(),
                key && p.role().kind == ParamKind::Bias,
                "{}",
                p.name()
            );
        }
    }

    /// Every parameter that is not inert gets a gradient. The inert ones change no output, beyond
    /// rounding.
    #[test]
    fn exactly_the_inert_parameters_move_nothing() {
        let (model, mut params) = model();
        for (_, p) in params.iter_mut() {
            p.set_trained(true);
        }
        let batch = batch(&[4, 5], &[&[3, 4, 5, 2], &[3, 7, 2]], &[&[1, 4, 5], &[1, 9, 6]]);
        let mut g = Graph::training(&params);
        let out = model.forward(&mut g, &batch, Mode::Evaluate).unwrap();
        let seed: Vec<_> = (0..out.value.len()).map(|i| (i * i % 7) as f32 - 3.0).collect();
        let mut gradients = crate::tensor::Gradients::new();
        g.backward(out.gradient_slot(), Tensor::new(out.shape(), seed), &mut gradients);
        let norm = |id, p: &crate::tensor::Parameter| {
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
        let after = model.forward(&mut g, &batch, Mode::Evaluate).unwrap().value.into_data();
        let moved = before.iter().zip(&after).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(inert > 0 && moved < 1e-4, "{inert} inert parameters moved the output by {moved}");
    }

    /// Recomputing activations in backward changes gradients only by the order of a few sums, with dropout, and
    /// wherever the first trained layer is.
    #[test]
    fn recomputation_changes_no_gradient() {
        let (model, mut params) = model();
        let batch = studies(&[1, 0]);
        let noise = Mode::Train(Noise { seed: 3, dropout: Some(0.2), drop_path: 0.3 });
        let all = |_: &crate::tensor::Parameter| true;
        let norms = |p: &crate::tensor::Parameter| matches!(p.role().module, Module::Norm(_));
        let decoder = |p: &crate::tensor::Parameter| p.role().tower == Tower::Decoder;
        let last = |p: &crate::tensor::Parameter| p.role().module == Module::Head;
        let trained: [fn(&crate::tensor::Parameter) -> bool; 4] = [all, norms, decoder, last];
        for (which, precision) in trained.iter().flat_map(|w| [(w, F32), (w, Bf16)]) {
            for (_, p) in params.iter_mut() {
                p.set_trained(which(p));
            }
            params.set_precision(precision);
            let gradients = |level| {
                let mut g = Graph::training(&params).with_recompute(level);
                let out = model.forward(&mut g, &batch, noise).unwrap();
                let seed = (0..out.value.len()).map(|i| (i * i % 7) as f32 - 3.0).collect();
                let mut gradients = crate::tensor::Gradients::new();
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
        let good = batch(&[5], &[&[3, 7, 2]], &[&[1, 9]]);
        let refused = |cause: &str, spoil: &dyn Fn(&mut Batch)| {
            let mut bad = good.clone();
            spoil(&mut bad);
            let error = model.forward(&mut Graph::inference(&params), &bad, Mode::Evaluate);
            let error = error.expect_err(cause).to_string();
            assert!(error.contains(cause), "{error}");
            assert!(model.start_decoding(&params, &bad, 3).is_err());
        };
        refused("image 0 has 16 x 16 pixels; this model reads 8 x 8", &|b| {
            b.images = Images::from_pixels(Tensor::zeros(&[1, 3, 16, 16]));
        });
        let states = |count: usize, shape: &[usize]| Images {
            sizes: vec![ImageSize::square(8)],
            values: ImageValues::Features { features: Tensor::zeros(shape), counts: vec![count] },
        };
        refused("not [5, 12]", &|b| b.images = states(5, &[5, 8]));
        refused("not 5 each", &|b| b.images = states(4, &[4, 12]));
        refused("have 2 images, the batch holds 1", &|b| b.views = vec![2]);
        refused("the number of images of each example", &|b| b.views = vec![0]);
        refused("the number of images of each example", &|b| b.views = vec![1, 1]);
        refused("input_ids holds token 20", &|b| b.input_ids.ids[1] = 20);
        refused("decoder_input_ids holds token 99", &|b| b.decoder_input_ids.ids[1] = 99);
        refused("labels holds token 20", &|b| b.labels[1] = 20);
        refused("11 tokens", &|b| b.input_ids = rows(&[&[3; 11]]));
        refused("one row", &|b| b.input_ids.lengths[0] = 0);
        refused("one row", &|b| b.input_ids.ids.truncate(2));
        refused("differ in shape", &|b| b.labels.truncate(1));
        let rule = |num_beams, max_new_tokens, length_penalty| GenerationConfig {
            num_beams,
            max_new_tokens,
            length_penalty,
            ..GenerationConfig::default()
        };
        let drawn = |num_beams, temperature, top_p| GenerationConfig {
            num_beams,
            temperature,
            top_p,
            ..GenerationConfig::default()
        };
        let repeating = |repetition_penalty| GenerationConfig {
            repetition_penalty,
            ..GenerationConfig::default()
        };
        let ending = StopRule { tokens: &[2], stop: None };
        for (rule, place) in [
            (rule(0, 5, 1.0), "num_beams"),
            (rule(usize::MAX, 5, 1.0), "num_beams"),
            (rule(1, 0, 1.0), "max_new_tokens"),
            (rule(2, 5, f32::NAN), "length_penalty"),
            (drawn(2, 0.5, 1.0), "num_beams"),
            (drawn(1, -1.0, 1.0), "temperature"),
            (drawn(1, f32::NAN, 1.0), "temperature"),
            (drawn(1, 1.0, 0.0), "top_p"),
            (drawn(1, 1.0, f32::NAN), "top_p"),
            (repeating(0.0), "repetition_penalty"),
            (repeating(f32::INFINITY), "repetition_penalty"),
        ] {
            let error = generate(&model, &params, &good, &rule, ending).unwrap_err().to_string();
            assert!(error.contains(place), "{error}");
        }
        // An answer ends at the last of the ten positions.
        let never = StopRule { tokens: &[], stop: None };
        let answer = |most| generate(&model, &params, &good, &rule(1, most, 1.0), never).unwrap();
        assert_eq!((answer(9)[0].tokens.len(), answer(10)[0].tokens.len()), (9, 10));
        assert_eq!(answer(11), answer(10));
    }
}
