//! Code that all models with an image encoder and a text decoder share: the input of an encoder with a fixed
//! image size, whether its output can be cached, and checks of a batch.

use crate::data::{Batch, IGNORE_INDEX, IMAGE_TOKEN, ImageSize, ImageValues, Images, TokenRows};
use crate::nn::Mode;
use crate::tensor::{Graph, ParamId, Parameters, Tensor, Var};
use crate::{Error, Result};

/// The input and output sizes of an image encoder that reads squares of one size and gives the same number of
/// features for each.
#[derive(Debug, Clone, Copy)]
pub(super) struct SquareEncoder {
    /// Height and width of an image in pixels.
    pub image_size: usize,
    /// Features of an image, `N`.
    pub num_features: usize,
    /// Width of a feature, `C`.
    pub width: usize,
}

impl SquareEncoder {
    /// The features `[P, N, C]` of `images`: those they hold, or what `encode` computes from their pixels
    /// `[P, 3, H, W]`. Only products read features, so that features without a gradient have the run's
    /// precision.
    ///
    /// # Errors
    /// If an image has another size than the encoder reads, or other features than it gives.
    pub fn features<'p>(
        self,
        g: &mut Graph<'p>,
        images: &Images,
        encode: impl FnOnce(&mut Graph<'p>, &Tensor) -> Var,
    ) -> Result<Var> {
        self.check(images)?;
        match &images.values {
            ImageValues::Pixels(flat) => {
                let shape = [images.count(), 3, self.image_size, self.image_size];
                let features = encode(g, &flat.clone().reshape(&shape));
                if features.needs_gradient() {
                    return Ok(features);
                }
                Ok(Var::constant(features.value.into_precision(g.precision())))
            }
            ImageValues::Features { features, .. } => {
                let shape = [images.count(), self.num_features, self.width];
                Ok(Var::constant(features.clone().reshape(&shape)))
            }
        }
    }

    /// `images` with `features` `[P, N, C]` in place of their pixels.
    pub fn with_features(self, images: &Images, features: Tensor) -> Images {
        let (count, sizes) = (images.count(), images.sizes.clone());
        let features = features.reshape(&[count * self.num_features, self.width]);
        let counts = vec![self.num_features; count];
        Images { sizes, values: ImageValues::Features { features, counts } }
    }

    fn check(self, images: &Images) -> Result<()> {
        let (count, size) = (images.count(), ImageSize::square(self.image_size));
        if let Some(i) = images.sizes.iter().position(|&other| other != size) {
            let other = images.sizes[i];
            let cause = format!("image {i} has {other} pixels; this model reads {size}");
            return Err(Error::invalid("batch", cause)
                .with_remedy("prepare images with this model's image processor"));
        }
        let (found, expected) = match &images.values {
            ImageValues::Pixels(flat) => (flat.shape(), vec![count * 3 * size.pixels()]),
            ImageValues::Features { features, counts } => {
                if counts.len() != count || counts.iter().any(|&n| n != self.num_features) {
                    let expected = self.num_features;
                    let cause = format!("images have {counts:?} features, not {expected} each");
                    return Err(Error::invalid("batch", cause));
                }
                (features.shape(), vec![count * self.num_features, self.width])
            }
        };
        if found != expected {
            let cause = format!("the images' values are {found:?}, not {expected:?}");
            return Err(Error::invalid("batch", cause));
        }
        Ok(())
    }
}

/// Whether an image encoder gives the same features of an image in every pass of this mode: none of its
/// parameters is trained, and nothing in it is dropped. `attention_dropout` is its own rate.
pub(super) fn is_frozen(
    params: &Parameters,
    encoder: &[ParamId],
    mode: Mode,
    attention_dropout: f64,
) -> bool {
    let drops = mode != Mode::Evaluate && attention_dropout > 0.0 || drop_path(mode) > 0.0;
    !drops && encoder.iter().all(|&id| !params.get(id).is_trained())
}

/// The rate of stochastic depth in the last block of the image encoder.
pub(super) fn drop_path(mode: Mode) -> f32 {
    match mode {
        Mode::Evaluate => 0.0,
        Mode::Train(noise) => noise.drop_path,
    }
}

/// Checks that every example has at least `least` images, and that the batch holds as many images as its examples
/// have.
///
/// # Errors
/// If an example has fewer images, or if the two numbers differ.
pub(super) fn check_images(batch: &Batch, least: usize) -> Result<()> {
    let (expected, found) = (batch.count_images(least)?, batch.images.count());
    if expected == found {
        return Ok(());
    }
    let cause = format!("its examples have {expected} images, the batch holds {found}");
    Err(Error::invalid("batch", cause))
}

/// Checks the form of the input rows, and the labels.
///
/// # Errors
/// If `input_ids` or `decoder_input_ids` does not hold one row of at least one token for each example, if
/// `labels` has another shape than `decoder_input_ids`, or if a label is outside the vocabulary.
pub(super) fn check_rows_and_labels(batch: &Batch, vocab_size: usize) -> Result<()> {
    let (input, decoder) = (&batch.input_ids, &batch.decoder_input_ids);
    check_rows("input_ids", input, batch.keys.len())?;
    check_rows("decoder_input_ids", decoder, batch.keys.len())?;
    if batch.labels.len() != decoder.ids.len() {
        return Err(Error::invalid("batch", "labels and decoder_input_ids differ in shape"));
    }
    check_token_ids("labels", batch.labels.iter().filter(|&&id| id != IGNORE_INDEX), vocab_size)
}

fn check_rows(name: &str, rows: &TokenRows, examples: usize) -> Result<()> {
    let fits = rows.lengths.len() == examples
        && rows.ids.len() == examples * rows.width
        && rows.lengths.iter().all(|length| (1..=rows.width).contains(length));
    if fits {
        return Ok(());
    }
    let cause = format!("{name} does not hold one row of at least one token for each example");
    Err(Error::invalid("batch", cause))
}

/// Checks that token ids are inside the vocabulary; `name` is the input's in errors.
///
/// # Errors
/// If one is outside.
pub(super) fn check_token_ids<'i>(
    name: &str,
    mut ids: impl Iterator<Item = &'i u32>,
    vocab_size: usize,
) -> Result<()> {
    match ids.find(|&&id| id as usize >= vocab_size) {
        None => Ok(()),
        Some(&IMAGE_TOKEN) => {
            Err(Error::invalid("batch", format!("{name} holds an image, where only text can be"))
                .with_remedy("a prompt must not end with an image"))
        }
        Some(id) => {
            let cause = format!("{name} holds token {id}; the vocabulary has {vocab_size} tokens");
            Err(Error::invalid("batch", cause)
                .with_remedy("use the tokenizer that belongs to this checkpoint"))
        }
    }
}
