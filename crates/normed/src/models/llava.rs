//! LLaVA (Liu et al. 2023, arXiv 2304.08485 and 2310.03744), which LLaVA-Med is (Li et al. 2023, arXiv
//! 2306.00890): picture -> CLIP -> projector -> tokens of a language model, among those of a prompt;
//! the language model goes on with the answer.

use super::clip::Clip;
use super::llama::Llama;
use super::llava_config::LlavaConfig;
use super::llava_rows::{Answer, Rows};
use super::projector::Projector;
use super::{Decoding, Model, Prefix};
use crate::data::{Batch, IMAGE_TOKEN, Images};
use crate::nn::{Drops, Mode};
use crate::ops::{self, KeyValues};
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

    /// What the language model reads `[B, T, C]`, and where it came from.
    fn read(
        &self,
        g: &mut Graph<'_>,
        batch: &Batch,
        mode: Mode,
        answer: Answer,
    ) -> Result<(Var, Rows)> {
        let rows = Rows::new(&self.config, batch, answer)?;
        let examples = batch.keys.len();
        let states = match &batch.images {
            Images::PixelValues(pixels) => {
                self.check_pixels(pixels, examples)?;
                self.see(g, pixels, &batch.keys, mode)
            }
            Images::States(states) => {
                let wanted = [examples, self.vision.states(), self.config.vision.hidden_size];
                if states.shape() != wanted {
                    let cause = format!("states are {:?}, not {wanted:?}", states.shape());
                    return Err(Error::invalid("batch", cause));
                }
                Var::constant(states.clone())
            }
        };
        let picture = self.projector.forward(g, &states);
        drop(states);
        Ok((self.language.embed(g, Some(&picture), &rows.places, rows.width), rows))
    }

    /// The states `[B, N, C]` of the pictures. Only products read them: where nobody wants their
    /// gradient, they are in the run's precision.
    fn see(&self, g: &mut Graph<'_>, pixels: &Tensor, keys: &[u64], mode: Mode) -> Var {
        let drops = self.drops(keys, mode, Tower::Vision);
        let states = self.vision.forward(g, pixels, &drops, drop_path(mode));
        if states.needs_gradient() {
            return states;
        }
        Var::constant(states.value.into_precision(g.precision()))
    }

    /// Neither tower drops anything but attention probabilities.
    fn drops(&self, keys: &[u64], mode: Mode, tower: Tower) -> Drops {
        let Mode::Train(noise) = mode else { return Drops::none() };
        let rate = match tower {
            Tower::Vision => self.config.vision.attention_dropout as f32,
            _ => noise.dropout.unwrap_or(self.config.text.attention_dropout as f32),
        };
        Drops::new(noise.seed, keys, tower, 0.0, rate)
    }

    fn check_pixels(&self, pixels: &Tensor, examples: usize) -> Result<()> {
        let (shape, size) = (pixels.shape(), self.config.vision.image_size);
        if shape == [examples, 3, size, size] {
            return Ok(());
        }
        let cause = format!("pixel_values are {shape:?}, not [{examples}, 3, {size}, {size}]");
        Err(Error::invalid("batch", cause)
            .hint("pictures must be prepared by this model's image rule"))
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
        let (x, rows) = self.read(g, batch, mode, Answer::Given)?;
        let drops = self.drops(&batch.keys, mode, Tower::Decoder);
        let x = self.language.forward(g, x, &rows.lengths, &drops);
        // The head sees the decoder's positions alone.
        let x = ops::pick(g, &x, rows.answers, batch.decoder_input_ids.width);
        Ok(self.language.logits(g, &x))
    }

    fn start<'m>(
        &'m self,
        params: &'m Parameters,
        batch: &Batch,
        max_new_tokens: usize,
    ) -> Result<Box<dyn Decoding + 'm>> {
        let g = &mut Graph::inference(params);
        let (x, rows) = self.read(g, batch, Mode::Evaluate, Answer::Generated(max_new_tokens))?;
        let caches = self.language.start(g, x, &rows.lengths, max_new_tokens);
        Ok(Box::new(LlavaDecoding { language: &self.language, params, caches }))
    }

    fn frozen_prefix(&self, params: &Parameters, mode: Mode) -> Option<&dyn Prefix> {
        let drops_probabilities =
            mode != Mode::Evaluate && self.config.vision.attention_dropout > 0.0;
        let random = drops_probabilities || drop_path(mode) > 0.0;
        let frozen = self.parameters(params).iter().all(|&id| !params.get(id).trained);
        (frozen && !random).then_some(self)
    }

    fn picture_token(&self) -> Option<u32> {
        Some(IMAGE_TOKEN)
    }
}

/// The vision tower up to the feature layer.
impl Prefix for Llava {
    fn parameters(&self, params: &Parameters) -> Vec<ParamId> {
        Clip::parameters(params)
    }

    fn states(&self, params: &Parameters, pixel_values: &Tensor) -> Result<Tensor> {
        let examples = pixel_values.shape().first().copied().unwrap_or(0);
        self.check_pixels(pixel_values, examples)?;
        let mut g = Graph::inference(params);
        Ok(self.see(&mut g, pixel_values, &[], Mode::Evaluate).value)
    }
}

/// Answers being decoded.
struct LlavaDecoding<'m> {
    language: &'m Llama,
    params: &'m Parameters,
    caches: Vec<KeyValues>,
}

impl Decoding for LlavaDecoding<'_> {
    fn step(&mut self, tokens: &[u32]) -> Tensor {
        let g = &mut Graph::inference(self.params);
        let logits = self.language.step(g, tokens, &mut self.caches).value;
        let vocab_size = logits.width();
        logits.reshaped(&[tokens.len(), vocab_size])
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
