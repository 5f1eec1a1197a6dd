//! From the samples of a page to RGB.

use super::layout::Layout;
use super::photometric::{Alpha, Colors};
use super::sample::Samples;
use crate::data::image::options::ImageOptions;
use crate::data::image::pixels::Image;
use crate::data::image::samples::{self, Channels};

/// The samples of a page as RGB.
pub(super) fn to_rgb(
    layout: &Layout,
    samples: &Samples,
    options: &ImageOptions,
) -> Result<Image, String> {
    match samples {
        Samples::Bytes(bytes) => Ok(from_bytes(layout, bytes)),
        Samples::Words(words) => from_words(layout, words, options),
        Samples::Reals(reals) => from_reals(layout, reals, options),
    }
}

/// RGB of samples of up to 8 bits.
fn from_bytes(layout: &Layout, bytes: &[u8]) -> Image {
    let most = (1_u32 << layout.bits) - 1;
    let level = |value: u8| ((u32::from(value) * 255 + most / 2) / most) as u8;
    let alpha = layout.alpha;
    let channels = match layout.colors {
        Colors::Gray { .. } => Channels { colors: 1, alpha: alpha.is_some() },
        _ => Channels { colors: 3, alpha: alpha.is_some() },
    };
    let mut shown = Vec::with_capacity(layout.width * layout.height * channels.count());
    for pixel in bytes.chunks_exact(layout.samples) {
        let start = shown.len();
        match (&layout.colors, pixel) {
            (Colors::Gray { inverted: false }, [gray, ..]) => shown.push(level(*gray)),
            (Colors::Gray { inverted: true }, [gray, ..]) => shown.push(255 - level(*gray)),
            (Colors::Palette(colors), [index, ..]) => {
                shown.extend(colors.get(usize::from(*index)).copied().unwrap_or_default());
            }
            (Colors::Rgb, [r, g, b, ..]) => shown.extend([r, g, b].map(|value| level(*value))),
            (Colors::Cmyk, [c, m, y, k, ..]) => {
                shown.extend(from_cmyk([c, m, y, k].map(|v| level(*v))))
            }
            (Colors::YCbCr(_), [y, cb, cr, ..]) => shown.extend(from_ycbcr(*y, *cb, *cr)),
            _ => {}
        }
        if let Some(Alpha { is_premultiplied }) = alpha {
            let opacity = level(pixel[layout.colors.count()]);
            if is_premultiplied {
                undo_multiplication(&mut shown[start..], opacity);
            }
            shown.push(opacity);
        }
    }
    samples::from_8_bits([layout.width, layout.height], channels, &shown)
}

/// Divides colors by their opacity, as Pillow does.
fn undo_multiplication(colors: &mut [u8], opacity: u8) {
    if opacity != 0 {
        for color in colors {
            *color = (255 * u32::from(*color) / u32::from(opacity)).min(255) as u8;
        }
    }
}

/// RGB of samples of 9 to 16 bits.
fn from_words(layout: &Layout, words: &[u16], options: &ImageOptions) -> Result<Image, String> {
    let size = [layout.width, layout.height];
    let most = ((1_u32 << layout.bits) - 1) as u16;
    if layout.colors == Colors::Cmyk {
        let level = |value: u16| {
            let most = u32::from(most);
            ((u32::from(value) * 255 + most / 2) / most) as u8
        };
        let pixels = words.chunks_exact(layout.samples);
        let rgb =
            pixels.flat_map(|pixel| from_cmyk([0, 1, 2, 3].map(|i| level(pixel[i])))).collect();
        return Ok(Image { width: size[0], height: size[1], rgb });
    }
    let channels = Channels { colors: layout.colors.count(), alpha: layout.alpha.is_some() };
    let inverted = layout.colors == Colors::Gray { inverted: true };
    let mut shown = Vec::with_capacity(size[0] * size[1] * channels.count());
    for pixel in words.chunks_exact(layout.samples) {
        let opacity = layout.alpha.map(|_| pixel[channels.colors]);
        for &color in &pixel[..channels.colors] {
            let color = if inverted { most - color.min(most) } else { color };
            shown.push(match (layout.alpha, opacity) {
                (Some(Alpha { is_premultiplied: true }), Some(opacity @ 1..)) => {
                    (u32::from(color) * u32::from(most) / u32::from(opacity)).min(most.into())
                        as u16
                }
                _ => color,
            });
        }
        shown.extend(opacity);
    }
    samples::from_deep(size, channels, &shown, most, options)
}

/// RGB of numbers without a range of their own. A sample of opacity is not used.
fn from_reals(layout: &Layout, reals: &[f64], options: &ImageOptions) -> Result<Image, String> {
    let size = [layout.width, layout.height];
    let is_inverted = layout.colors == Colors::Gray { inverted: true };
    let shape = (layout.colors.count(), layout.samples);
    samples::from_real(size, shape, reals, is_inverted, options)
}

/// Ink to RGB, as Pillow converts it.
fn from_cmyk([c, m, y, k]: [u8; 4]) -> [u8; 3] {
    let white = 255 - u32::from(k);
    [c, m, y].map(|ink| {
        let product = u32::from(ink) * white + 128;
        (white - (((product >> 8) + product) >> 8)) as u8
    })
}

/// YCbCr of the full range to RGB in Pillow's arithmetic: products are whole numbers of 64ths, sums are rounded down.
fn from_ycbcr(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    let product =
        |factor: f64, color: u8| (64.0 * factor * (f64::from(color) - 128.0) + 0.5) as i32;
    [product(1.402, cr), product(-0.34414, cb) + product(-0.71414, cr), product(1.772, cb)]
        .map(|sum| (i32::from(y) + (sum >> 6)).clamp(0, 255) as u8)
}
