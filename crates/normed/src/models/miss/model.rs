//! MISS (Chen et al. 2024, arXiv 2401.05163), which is BLIP's model for visual question answering
//! (Li et al. 2022, arXiv 2201.12086): image -> vision transformer; question -> BERT that
//! cross-attends to the image; answer -> BERT decoder that cross-attends to the question's states.
//!
//! Several images of an example, the views of a study, each go through the vision transformer; the question
//! attends to the states of all of them, one behind the other.

use super::config::MissConfig;
use crate::data::{Batch, IGNORE_INDEX, Images, TokenRows};
use crate::models::towers::Vit;
use crate::models::towers::{Bert, Head};
use crate::models::{Decoding, FrozenEncoder, Model};
use crate::nn::{AttentionMask, BlockCache, DropoutStreams, Mode};
use crate::ops;
use crate::tensor::{Graph, ParamId, Parameters, Tensor, Tower, Var};
use crate::{Error, Result};

/// The model; its parameters live in [`Parameters`].
#[derive(Debug, Clone)]
pub struct Miss {
    config: MissConfig,
    vision: Vit,
    text: Bert,
    decoder: Bert,
    head: Head,
}

impl Miss {
    /// Declares every parameter under the name that `BlipForQuestionAnswering` gives it, in its
    /// order. `config` must have passed [`MissConfig::check`], as those that were read have.
    pub fn declare(config: &MissConfig, params: &mut Parameters) -> Self {
        let vision = Vit::declare(&mut params.scope(Tower::Vision, "vision_model"), &config.vision);
        let (text_config, width) = (&config.text, config.vision.hidden_size);
        let scope = &mut params.scope(Tower::Text, "text_encoder");
        let text = Bert::declare(scope, text_config, width);
        let scope = &mut params.scope(Tower::Decoder, "text_decoder");
        let decoder = Bert::declare(&mut scope.sub("bert"), text_config, text_config.hidden_size);
        let head = Head::declare(&mut scope.sub("cls.predictions"), text_config, decoder.words());
        Self { config: config.clone(), vision, text, decoder, head }
    }

    /// The sizes it was declared with.
    pub fn config(&self) -> &MissConfig {
        &self.config
    }

    /// The question's states `[B, T, C]`, those of virtual tokens before them.
    fn encode_question(&self, g: &mut Graph<'_>, batch: &Batch, mode: Mode) -> Var {
        let images = match &batch.images {
            Images::PixelValues(pixels) => self.encode_images(g, pixels, &batch.image_keys(), mode),
            Images::Features(states) => Var::constant(states.clone()),
        };
        let (images, cross) = self.concat_views(g, images, &batch.views);
        let dropout = self.dropout(&batch.keys, mode, Tower::Text);
        let own = self.question_mask(g, &batch.input_ids);
        self.text.forward(g, &batch.input_ids, &own, &images, &cross, &dropout)
    }

    /// The states `[P, N, C]` of single images as those of each example's, `[B, V N, C]`, where `V` is the
    /// most that one has; and which of them are seen: what stands behind fewer is not.
    fn concat_views(
        &self,
        g: &mut Graph<'_>,
        images: Var,
        views: &[usize],
    ) -> (Var, AttentionMask) {
        let most = views.iter().copied().max().unwrap_or(1);
        if most == 1 {
            return (images, AttentionMask::default());
        }
        let states = self.config.vision.num_patches() + 1;
        let (mut rows, mut first) = (Vec::with_capacity(views.len() * most * states), 0);
        for &own in views {
            rows.extend(first..first + own * states);
            rows.extend(std::iter::repeat_n(first, (most - own) * states));
            first += own * states;
        }
        let padded = views.iter().any(|&own| own < most);
        let lengths = padded.then(|| views.iter().map(|own| own * states).collect());
        (
            ops::select_rows(g, &images, rows, most * states),
            AttentionMask { causal: false, lengths },
        )
    }

    /// What is seen of a question's states, those of virtual tokens among them.
    fn question_mask(&self, g: &Graph<'_>, question: &TokenRows) -> AttentionMask {
        let padded = question.lengths.iter().any(|&n| n < question.width);
        let lengths = padded.then(|| self.question_lengths(g, question).into());
        AttentionMask { causal: false, lengths }
    }

    /// How many states there are in each row, without padding.
    fn question_lengths(&self, g: &Graph<'_>, question: &TokenRows) -> Vec<usize> {
        let before = self.text.prompt_length(g);
        question.lengths.iter().map(|length| before + length).collect()
    }

    /// What the decoder makes of the answers' tokens, `[B, T, C]`, of all that it makes `x [B, P + T, C]`.
    fn drop_prompt_positions(&self, g: &mut Graph<'_>, x: Var, width: usize) -> Var {
        let before = self.decoder.prompt_length(g);
        if before == 0 {
            return x;
        }
        let all = before + width;
        let own = (0..x.shape()[0]).flat_map(|b| b * all + before..(b + 1) * all).collect();
        ops::select_rows(g, &x, own, width)
    }

    /// The states `[B, 1 + patches, C]` of the images. Only products read them: where nobody wants
    /// their gradient, they are in the run's precision.
    fn encode_images(&self, g: &mut Graph<'_>, pixels: &Tensor, keys: &[u64], mode: Mode) -> Var {
        let dropout = self.dropout(keys, mode, Tower::Vision);
        let image = self.vision.forward(g, pixels, &dropout, drop_path(mode));
        if image.needs_gradient() {
            return image;
        }
        Var::constant(image.value.into_precision(g.precision()))
    }

    fn dropout(&self, keys: &[u64], mode: Mode, tower: Tower) -> DropoutStreams {
        let Mode::Train(noise) = mode else { return DropoutStreams::none() };
        let (hidden, probabilities) = match (tower, noise.dropout) {
            (Tower::Vision, _) => (0.0, self.config.vision.attention_dropout as f32),
            (_, Some(rate)) => (rate, rate),
            (_, None) => {
                let text = &self.config.text;
                (text.hidden_dropout_prob as f32, text.attention_probs_dropout_prob as f32)
            }
        };
        DropoutStreams::new(noise.seed, keys, tower, hidden, probabilities)
    }

    /// What of a batch this model cannot take: the wrong image size, tokens outside the vocabulary,
    /// rows longer than the positions go.
    fn check(&self, batch: &Batch) -> Result<()> {
        let (examples, pictures) = (batch.keys.len(), batch.check_views()?);
        match &batch.images {
            Images::PixelValues(pixels) => self.check_pixels(pixels, pictures)?,
            Images::Features(states) => {
                let vision = &self.config.vision;
                let wanted = [pictures, 1 + vision.num_patches(), vision.hidden_size];
                if states.shape() != wanted {
                    let cause = format!("states are {:?}, not {wanted:?}", states.shape());
                    return Err(Error::invalid("batch", cause));
                }
            }
        }
        self.check_rows("input_ids", &batch.input_ids, examples)?;
        self.check_rows("decoder_input_ids", &batch.decoder_input_ids, examples)?;
        if batch.labels.len() != batch.decoder_input_ids.ids.len() {
            return Err(Error::invalid("batch", "labels and decoder_input_ids differ in shape"));
        }
        self.check_ids("labels", batch.labels.iter().filter(|&&id| id != IGNORE_INDEX))
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

    fn check_rows(&self, name: &str, rows: &TokenRows, examples: usize) -> Result<()> {
        let positions = self.config.text.max_position_embeddings;
        if rows.width > positions {
            let cause =
                format!("{name} has {} tokens, the model {positions} positions", rows.width);
            return Err(Error::invalid("batch", cause).with_remedy("shorten the text"));
        }
        let fits = rows.lengths.len() == examples
            && rows.ids.len() == examples * rows.width
            && rows.lengths.iter().all(|length| (1..=rows.width).contains(length));
        if !fits {
            let cause = format!("{name} does not hold one row of at least a token an example");
            return Err(Error::invalid("batch", cause));
        }
        self.check_ids(name, rows.ids.iter())
    }

    fn check_ids<'i>(&self, name: &str, mut ids: impl Iterator<Item = &'i u32>) -> Result<()> {
        let vocab_size = self.config.text.vocab_size;
        match ids.find(|&&id| id as usize >= vocab_size) {
            None => Ok(()),
            Some(id) => {
                let cause = format!("{name} has token {id}, the model {vocab_size} tokens");
                Err(Error::invalid("batch", cause)
                    .with_remedy("the tokenizer does not belong to this checkpoint"))
            }
        }
    }
}

/// The rate at which the vision tower's last block drops its branches.
fn drop_path(mode: Mode) -> f32 {
    match mode {
        Mode::Evaluate => 0.0,
        Mode::Train(noise) => noise.drop_path,
    }
}

impl Model for Miss {
    fn forward(&self, g: &mut Graph<'_>, batch: &Batch, mode: Mode) -> Result<Var> {
        self.check(batch)?;
        let states = self.encode_question(g, batch, mode);
        let dropout = self.dropout(&batch.keys, mode, Tower::Decoder);
        // Padding stands on the right, so that no real position sees any of it.
        let own = AttentionMask { causal: true, lengths: None };
        let cross = self.question_mask(g, &batch.input_ids);
        let answers = &batch.decoder_input_ids;
        let x = self.decoder.forward(g, answers, &own, &states, &cross, &dropout);
        let x = self.drop_prompt_positions(g, x, answers.width);
        Ok(self.head.forward(g, &x))
    }

    fn start_decoding<'m>(
        &'m self,
        params: &'m Parameters,
        batch: &Batch,
        max_new_tokens: usize,
    ) -> Result<Box<dyn Decoding + 'm>> {
        self.check(batch)?;
        let positions = self.config.text.max_position_embeddings;
        if max_new_tokens > positions {
            let cause = format!("{max_new_tokens} tokens, but the model has {positions} positions");
            return Err(Error::invalid("max_new_tokens", cause)
                .with_remedy("lower generate.max_new_tokens, or --max-new-tokens"));
        }
        let mut g = Graph::inference(params);
        let states = self.encode_question(&mut g, batch, Mode::Evaluate);
        let seen = self.question_mask(&g, &batch.input_ids);
        let caches = self.decoder.new_caches(&mut g, &states, max_new_tokens, &seen);
        let examples = batch.keys.len();
        Ok(Box::new(MissDecoding {
            model: self,
            params,
            caches,
            lengths: self.question_lengths(&g, &batch.input_ids),
            examples: (0..examples).collect(),
            position: 0,
        }))
    }

    fn frozen_encoder(&self, params: &Parameters, mode: Mode) -> Option<&dyn FrozenEncoder> {
        let drops_probabilities =
            mode != Mode::Evaluate && self.config.vision.attention_dropout > 0.0;
        let random = drops_probabilities || drop_path(mode) > 0.0;
        let frozen = self.parameters(params).iter().all(|&id| !params.get(id).trained);
        (frozen && !random).then_some(self)
    }
}

/// The vision tower.
impl FrozenEncoder for Miss {
    fn parameters(&self, params: &Parameters) -> Vec<ParamId> {
        let vision = params.iter().filter(|(_, p)| p.role.tower == Tower::Vision);
        vision.map(|(id, _)| id).collect()
    }

    fn encode(&self, params: &Parameters, pixel_values: &Tensor) -> Result<Tensor> {
        let pictures = pixel_values.shape().first().copied().unwrap_or(0);
        self.check_pixels(pixel_values, pictures)?;
        let mut g = Graph::inference(params);
        Ok(self.encode_images(&mut g, pixel_values, &[], Mode::Evaluate).value)
    }
}

/// Answers being decoded.
struct MissDecoding<'m> {
    model: &'m Miss,
    params: &'m Parameters,
    caches: Vec<BlockCache>,
    /// Of the question of each row.
    lengths: Vec<usize>,
    /// The example of each row.
    examples: Vec<usize>,
    /// Of the next token.
    position: usize,
}

impl Decoding for MissDecoding<'_> {
    fn step(&mut self, tokens: &[u32]) -> Tensor {
        let g = &mut Graph::inference(self.params);
        let cross = AttentionMask { causal: false, lengths: Some(self.lengths.as_slice().into()) };
        let x = self.model.decoder.step(g, tokens, self.position, &mut self.caches, &cross);
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
        // Beams of one example share its question: as long as they stay in their places, its keys
        // and values need not move.
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
    use crate::data::StopRule;
    use crate::models::{GenerationConfig, TextConfig, VisionConfig, generate, initialize};
    use crate::nn::Noise;
    use crate::tensor::Precision::{Bf16, F32};
    use crate::tensor::{AttentionProjection, Module, ParamKind, Recompute};

    fn model() -> (Miss, Parameters) {
        let vision = VisionConfig {
            hidden_size: 12,
            intermediate_size: 16,
            num_hidden_layers: 3,
            num_attention_heads: 3,
            image_size: 8,
            patch_size: 4,
            layer_norm_eps: 1e-6,
            attention_dropout: 0.0,
        };
        let text = TextConfig {
            vocab_size: 20,
            hidden_size: 8,
            intermediate_size: 16,
            num_hidden_layers: 2,
            num_attention_heads: 2,
            max_position_embeddings: 10,
            layer_norm_eps: 1e-12,
            hidden_dropout_prob: 0.2,
            attention_probs_dropout_prob: 0.3,
            bos_token_id: 1,
            sep_token_id: 2,
            pad_token_id: 0,
            question_token_id: 3,
            max_question_tokens: 10,
        };
        let config = MissConfig { vision, text };
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

    /// The examples with these keys; each key chooses the picture.
    fn batch(keys: &[u64], questions: &[&[u32]], answers: &[&[u32]]) -> Batch {
        let pixel = |key: u64, i: u64| ((key * 31 + i * 17) % 23) as f32 / 11.0 - 1.0;
        let pixels = keys.iter().flat_map(|&key| (0..3 * 64).map(move |i| pixel(key, i))).collect();
        let decoder_input_ids = rows(answers);
        Batch {
            images: Images::PixelValues(Tensor::new(&[keys.len(), 3, 8, 8], pixels)),
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

    /// What is dropped of an example is its own: neither its place in the batch nor the padding that
    /// longer mates bring moves it.
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

    /// Each rate reaches its tower, and nothing else does anything.
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

    /// States stand for pixels to the bit, whoever was in the batch that they were computed in.
    #[test]
    fn states_stand_for_pixels() {
        let (model, mut params) = model();
        for precision in [F32, Bf16] {
            params.set_precision(precision);
            let rows: (&[&[u32]], &[&[u32]]) = (&[&[3, 7, 2], &[3, 2]], &[&[1, 9], &[1, 4, 6]]);
            let both = batch(&[4, 5], rows.0, rows.1);
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
            let rule = GenerationConfig::default();
            let ending = StopRule { tokens: &[2], stop: None };
            let answers = |batch| generate(&model, &params, batch, &rule, ending);
            assert_eq!(answers(&both).unwrap(), answers(&seen).unwrap());
        }
    }

    /// Studies of one, two and three views: `[B, ..]` logits, whoever is in the batch.
    fn studies(which: &[usize]) -> Batch {
        let all = [(7, 1), (8, 2), (9, 3)];
        let of = |&i: &usize| all[i];
        let keys: Vec<u64> = which.iter().map(|i| of(i).0).collect();
        let pictures: Vec<u64> =
            which.iter().map(of).flat_map(|(key, n)| (0..n).map(move |v| 10 * key + v)).collect();
        let questions: Vec<&[u32]> = which.iter().map(|_| &[3, 7, 2][..]).collect();
        let answers: Vec<&[u32]> = which.iter().map(|_| &[1, 9, 4][..]).collect();
        let images = batch(&pictures, &questions, &answers).images;
        let views = which.iter().map(|i| of(i).1 as usize).collect();
        Batch { images, views, ..batch(&keys, &questions, &answers) }
    }

    /// What stands for views that a study lacks is not seen, and every view is.
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
        let Images::PixelValues(pixels) = &two.images else { panic!() };
        for view in 0..2 {
            let mut changed = pixels.clone();
            changed.data_mut()[view * 3 * 64..][..3 * 64].fill(1.0);
            let changed = Batch { images: Images::PixelValues(changed), ..two.clone() };
            assert!(!close(&logits(&model, &params, &changed, Mode::Evaluate), &seen), "{view}");
        }
        let states = model.encode(&params, pixels).unwrap();
        let cached = Batch { images: Images::Features(states), ..two.clone() };
        assert_eq!(logits(&model, &params, &cached, Mode::Evaluate), seen);
    }

    #[test]
    fn the_prefix_is_frozen_where_nothing_in_it_is_trained_or_random() {
        let (mut model, mut params) = model();
        let train = |drop_path| Mode::Train(Noise { seed: 3, dropout: Some(0.5), drop_path });
        let frozen = |model: &Miss, params: &Parameters| {
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

    #[test]
    fn exactly_the_key_biases_are_inert() {
        use Module::{Attention, CrossAttention};
        let (_, params) = model();
        for (_, p) in params.iter() {
            let key =
                [Attention(AttentionProjection::Key), CrossAttention(AttentionProjection::Key)]
                    .contains(&p.role.module);
            assert_eq!(p.inert.is_some(), key && p.role.kind == ParamKind::Bias, "{}", p.name);
        }
    }

    /// Everything that is not inert gets a gradient, and of what is inert it would be zero.
    #[test]
    fn what_is_not_inert_has_a_gradient() {
        let (model, mut params) = model();
        for (_, p) in params.iter_mut() {
            p.trained = true;
        }
        let batch = batch(&[4, 5], &[&[3, 4, 5, 2], &[3, 7, 2]], &[&[1, 4, 5], &[1, 9, 6]]);
        let mut g = Graph::training(&params);
        let out = model.forward(&mut g, &batch, Mode::Evaluate).unwrap();
        let seed: Vec<_> = (0..out.value.len()).map(|i| (i * i % 7) as f32 - 3.0).collect();
        let mut gradients = crate::tensor::Gradients::new();
        g.backward(out.gradient_slot(), Tensor::new(out.shape(), seed), &mut gradients);
        let norm = |id, p: &crate::tensor::Parameter| {
            let gradient = gradients.param(id).unwrap_or_else(|| panic!("{}: none", p.name));
            gradient.data().iter().map(|d| d * d).sum::<f32>().sqrt()
        };
        let (inert, live): (Vec<_>, Vec<_>) = params.iter().partition(|(_, p)| p.inert.is_some());
        let least = live.iter().map(|&(id, p)| norm(id, p)).fold(f32::INFINITY, f32::min);
        let most = inert.iter().map(|&(id, p)| norm(id, p)).fold(0.0, f32::max);
        assert!(most * 10.0 < least, "inert up to {most}, live from {least}");
    }

    /// What is computed again in backward changes no gradient beyond the order of a few sums, with all
    /// that is dropped, wherever training begins.
    #[test]
    fn recomputation_changes_no_gradient() {
        let (model, mut params) = model();
        let batch = studies(&[1, 0]);
        let noise = Mode::Train(Noise { seed: 3, dropout: Some(0.2), drop_path: 0.3 });
        let all = |_: &crate::tensor::Parameter| true;
        let norms = |p: &crate::tensor::Parameter| matches!(p.role.module, Module::Norm(_));
        let decoder = |p: &crate::tensor::Parameter| p.role.tower == Tower::Decoder;
        let last = |p: &crate::tensor::Parameter| p.role.module == Module::Head;
        let trained: [fn(&crate::tensor::Parameter) -> bool; 4] = [all, norms, decoder, last];
        for (which, precision) in trained.iter().flat_map(|w| [(w, F32), (w, Bf16)]) {
            for (_, p) in params.iter_mut() {
                p.trained = which(p) && p.inert.is_none();
            }
            params.set_precision(precision);
            let gradients = |level| {
                let mut g = Graph::training(&params).with_recompute(level);
                let out = model.forward(&mut g, &batch, noise).unwrap();
                let seed = (0..out.value.len()).map(|i| (i * i % 7) as f32 - 3.0).collect();
                let mut gradients = crate::tensor::Gradients::new();
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
        let good = batch(&[5], &[&[3, 7, 2]], &[&[1, 9]]);
        let refused = |cause: &str, spoil: &dyn Fn(&mut Batch)| {
            let mut bad = good.clone();
            spoil(&mut bad);
            let error = model.forward(&mut Graph::inference(&params), &bad, Mode::Evaluate);
            let error = error.expect_err(cause).to_string();
            assert!(error.contains(cause), "{error}");
            assert!(model.start_decoding(&params, &bad, 3).is_err());
        };
        refused("not [1, 3, 8, 8]", &|b| {
            b.images = Images::PixelValues(Tensor::zeros(&[1, 3, 16, 16]));
        });
        refused("not [1, 5, 12]", &|b| b.images = Images::Features(Tensor::zeros(&[1, 5, 8])));
        refused("not [2, 3, 8, 8]", &|b| b.views = vec![2]);
        refused("a number of pictures an example", &|b| b.views = vec![0]);
        refused("a number of pictures an example", &|b| b.views = vec![1, 1]);
        refused("input_ids has token 20", &|b| b.input_ids.ids[1] = 20);
        refused("decoder_input_ids has token 99", &|b| b.decoder_input_ids.ids[1] = 99);
        refused("labels has token 20", &|b| b.labels[1] = 20);
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
            (rule(1, 11, 1.0), "max_new_tokens"),
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
    }
}
