//! From decoded samples to RGB of 8 bits: deep samples through a window, transparent pixels over white.

use super::gray_mapping::GrayMapping;
use super::options::{ImageOptions, Window};
use super::pixels::Image;

/// How many samples of a pixel are colors, and whether one of opacity follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Channels {
    /// 1 (gray) or 3 (RGB).
    pub colors: usize,
    pub alpha: bool,
}

impl Channels {
    /// Samples of a pixel.
    pub fn count(self) -> usize {
        self.colors + usize::from(self.alpha)
    }
}

/// RGB of samples of 8 bits, those of a pixel adjacent.
pub(super) fn from_8_bits(
    [width, height]: [usize; 2],
    channels: Channels,
    samples: &[u8],
) -> Image {
    rgb([width, height], channels, samples, |color| color, |alpha| alpha)
}

/// RGB of samples from 0 to `most`, more than 255, those of a pixel adjacent.
///
/// # Errors
///
/// If the window of `options` is invalid.
pub(super) fn from_deep(
    size: [usize; 2],
    channels: Channels,
    samples: &[u16],
    most: u16,
    options: &ImageOptions,
) -> Result<Image, String> {
    let full = GrayMapping::Between { low: 0.0, high: most.into() };
    let colors = || {
        let pixels = samples.chunks_exact(channels.count());
        pixels.flat_map(|pixel| &pixel[..channels.colors]).map(|&sample| f64::from(sample))
    };
    let mapping = match options.window {
        Window::Header => full.clone(),
        // Whole numbers, as those of DICOM's LINEAR.
        Window::At { center, width } => {
            valid(GrayMapping::Linear { center: center.into(), width: width.into() })?
        }
        window @ (Window::Range | Window::Percentiles) => GrayMapping::for_window(window, colors()),
    };
    let table = |mapping: &GrayMapping| -> Vec<u8> {
        (0..=u16::MAX).map(|sample| mapping.to_gray(sample.into())).collect()
    };
    let levels = table(&mapping);
    let opacity = if channels.alpha { table(&full) } else { Vec::new() };
    let of = |table: &[u8], sample: u16| table[usize::from(sample)];
    Ok(rgb(size, channels, samples, |color| of(&levels, color), |alpha| of(&opacity, alpha)))
}

/// RGB of real numbers, of which the first `colors` of each `samples` are shown: from the smallest to the largest
/// finite one, or through the window of `options`. Where `is_inverted`, the smallest is white. What is not a number is
/// black.
///
/// # Errors
///
/// If the window of `options` is invalid.
pub(super) fn from_real(
    [width, height]: [usize; 2],
    (colors, samples): (usize, usize),
    values: &[f64],
    is_inverted: bool,
    options: &ImageOptions,
) -> Result<Image, String> {
    let shown = || {
        let pixels = values.chunks_exact(samples);
        pixels.flat_map(|pixel| &pixel[..colors]).copied()
    };
    let mapping = match options.window {
        Window::At { center, width } => {
            valid(GrayMapping::LinearExact { center: center.into(), width: width.into() })?
        }
        window => GrayMapping::for_window(window, shown()),
    };
    let channels = Channels { colors, alpha: false };
    let pixels = values.chunks_exact(samples).flat_map(|pixel| &pixel[..colors]);
    let level = |&value: &f64| match is_inverted {
        true => mapping.to_inverted_gray(value),
        false => mapping.to_gray(value),
    };
    let levels: Vec<u8> = pixels.map(level).collect();
    Ok(from_8_bits([width, height], channels, &levels))
}

fn valid(mapping: GrayMapping) -> Result<GrayMapping, String> {
    match mapping.is_valid() {
        true => Ok(mapping),
        false => Err("the window of data.image.window is too narrow".into()),
    }
}

fn rgb<T: Copy>(
    [width, height]: [usize; 2],
    channels: Channels,
    samples: &[T],
    level: impl Fn(T) -> u8,
    opacity: impl Fn(T) -> u8,
) -> Image {
    let mut rgb = Vec::with_capacity(3 * width * height);
    for pixel in samples.chunks_exact(channels.count()) {
        let colors = match pixel[..channels.colors] {
            [gray] => [level(gray); 3],
            [r, g, b] => [level(r), level(g), level(b)],
            _ => [0; 3],
        };
        match channels.alpha.then(|| opacity(pixel[channels.colors])) {
            Some(alpha) => rgb.extend(colors.map(|color| over_white(color, alpha))),
            None => rgb.extend(colors),
        }
    }
    Image { width, height, rgb }
}

/// A color over white, with the rounding of Pillow's `alpha_composite`: `(v + (v >> 8)) >> 8` stands for a
/// division by 255, after a half is added.
pub(super) fn over_white(value: u8, alpha: u8) -> u8 {
    let (value, alpha) = (u32::from(value), u32::from(alpha));
    let sum = ((value * alpha + 255 * (255 - alpha)) << 7) + (0x80 << 7);
    ((((sum >> 8) + sum) >> 8) >> 7) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRAY: Channels = Channels { colors: 1, alpha: false };

    #[test]
    fn deep_samples_pass_through_the_window() {
        let levels = |window| {
            let options = ImageOptions { window, ..ImageOptions::default() };
            let image = from_deep([4, 1], GRAY, &[0, 1024, 2047, 4095], 65535, &options).unwrap();
            [0, 3, 6, 9].map(|at| image.rgb[at])
        };
        assert_eq!(levels(Window::Header), [0, 4, 8, 16]);
        assert_eq!(levels(Window::Range), [0, 64, 127, 255]);
        assert_eq!(levels(Window::At { center: 1024.5, width: 1024.0 }), [0, 128, 255, 255]);
        let none = Window::At { center: 0.0, width: 0.0 };
        let options = ImageOptions { window: none, ..ImageOptions::default() };
        assert!(from_deep([1, 1], GRAY, &[0], 65535, &options).is_err());
    }

    #[test]
    fn opacity_has_the_full_range() {
        let channels = Channels { colors: 1, alpha: true };
        let options = ImageOptions { window: Window::Range, ..ImageOptions::default() };
        let samples = [100, 65535, 200, 65535, 100, 0];
        let image = from_deep([3, 1], channels, &samples, 65535, &options).unwrap();
        assert_eq!([0, 3, 6].map(|at| image.rgb[at]), [0, 255, 255]);
    }
}
