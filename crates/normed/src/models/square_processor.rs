//! The transform of image processors that make every image a square of one size.

use crate::data::{Image, Resampling, resize_part};

/// An image processor that makes every image a square: resize as Pillow's, crop, rescale, normalize.
#[derive(Debug, Clone, PartialEq)]
pub struct SquareProcessor {
    /// Height and width of the result in pixels.
    pub size: usize,
    /// The positions that an image takes in a language model's prompt; 0 for a model with an encoder.
    pub num_tokens: usize,
    /// How an image that is not square becomes one.
    pub fit: Fit,
    /// The filter of the resize.
    pub resample: Resampling,
    /// How much larger than `size` an image is made, in pixels of either side: the middle is kept.
    pub margin: usize,
    /// What a channel's 0..255 is multiplied by; 1/255 nearly always.
    pub rescale_factor: f64,
    /// Mean of each channel after rescaling, which is subtracted.
    pub image_mean: [f32; 3],
    /// Standard deviation of each channel after rescaling, by which it is divided.
    pub image_std: [f32; 3],
}

/// How an image that is not square becomes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// Stretched, as BLIP does.
    Stretch,
    /// The longer side is cropped to the shorter one, half at each end, as CLIP does.
    Crop,
    /// The shorter side is padded with the mean color, half at each end: LLaVA's
    /// `image_aspect_ratio = "pad"`.
    Pad,
}

impl SquareProcessor {
    /// The image at `size` x `size` pixels.
    pub(super) fn resize_to_square(&self, image: &Image) -> Image {
        let middle = |whole: usize| {
            let first = (whole - self.size) / 2;
            (whole, first..first + self.size)
        };
        let (filter, enlarged) = (self.resample, self.size + self.margin);
        match self.fit {
            Fit::Stretch => resize_part(image, filter, middle(enlarged), middle(enlarged)),
            Fit::Crop => {
                // Only what is kept is computed: a line of pixels would be huge at this width.
                let short = image.width.min(image.height).max(1);
                let side = |of: usize| middle(enlarged * of / short);
                resize_part(image, filter, side(image.width), side(image.height))
            }
            Fit::Pad => {
                let mean = self.image_mean.map(|mean| (f64::from(mean) * 255.0) as u8);
                let square = pad_to_square(image, mean);
                resize_part(&square, filter, middle(enlarged), middle(enlarged))
            }
        }
    }

    /// Pixel values `[3, H, W]` of an image at its own size: rescaled in f64, normalized in f32.
    pub(super) fn normalize_channels(&self, image: &Image) -> Vec<f32> {
        let mut values = Vec::with_capacity(image.rgb.len());
        for channel in 0..3 {
            let (mean, std) = (self.image_mean[channel], self.image_std[channel]);
            let table: [f32; 256] = std::array::from_fn(|value| {
                ((value as f64 * self.rescale_factor) as f32 - mean) / std
            });
            values.extend(image.rgb.iter().skip(channel).step_by(3).map(|&v| table[v as usize]));
        }
        values
    }
}

/// The image in the middle of a square of one color.
fn pad_to_square(image: &Image, color: [u8; 3]) -> Image {
    let Image { width, height, .. } = *image;
    let side = width.max(height);
    let mut rgb = color.repeat(side * side);
    let (left, top) = ((side - width) / 2, (side - height) / 2);
    let rows = rgb.chunks_exact_mut(3 * side).skip(top);
    for (to, row) in rows.zip(image.rgb.chunks_exact(3 * width)) {
        to[3 * left..3 * (left + width)].copy_from_slice(row);
    }
    Image { width: side, height: side, rgb }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_pixels_stays_small() {
        let line = Image { width: 16_384, height: 1, rgb: [9].repeat(3 * 16_384) };
        for fit in [Fit::Crop, Fit::Stretch] {
            let processor = SquareProcessor {
                size: 4,
                num_tokens: 0,
                fit,
                resample: Resampling::Bicubic,
                margin: 0,
                rescale_factor: 1.0,
                image_mean: [0.0; 3],
                image_std: [1.0; 3],
            };
            let square = Image { width: 4, height: 4, rgb: vec![9; 48] };
            assert_eq!(processor.resize_to_square(&line), square);
        }
    }
}
