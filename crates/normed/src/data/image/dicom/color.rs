//! Color pixels.

use crate::data::image::jpeg_header::JpegColors;

/// The meaning of the three samples of a pixel (C.7.6.3.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ColorSpace {
    Rgb,
    YbrFull,
    /// YCbCr with brightness from 16 to 235 and colors from 16 to 240.
    YbrPartial,
}

impl ColorSpace {
    /// The color space of a frame whose own markers state `own`.
    pub fn corrected(self, own: Option<JpegColors>) -> Self {
        match own {
            Some(JpegColors::Rgb) => Self::Rgb,
            Some(JpegColors::YCbCr) if self == Self::Rgb => Self::YbrFull,
            Some(JpegColors::YCbCr) | None => self,
        }
    }

    /// The colors of samples of `bits` bits, in 8 bits.
    pub fn to_rgb(self, samples: &[i32], bits: u16) -> Vec<u8> {
        let (pixels, _) = samples.as_chunks::<3>();
        match self {
            Self::Rgb => samples.iter().map(|&value| scaled(value, bits)).collect(),
            Self::YbrFull => pixels.iter().flat_map(|pixel| from_full(pixel, bits)).collect(),
            Self::YbrPartial => pixels.iter().flat_map(|pixel| from_partial(pixel, bits)).collect(),
        }
    }
}

/// Scales a value of `bits` bits to 8 bits: the full range is mapped.
fn scaled(value: i32, bits: u16) -> u8 {
    let most = (1_i64 << bits) - 1;
    ((i64::from(value.max(0)) * 255 + most / 2) / most).min(255) as u8
}

fn from_full(pixel: &[i32; 3], bits: u16) -> [u8; 3] {
    let [y, cb, cr] = pixel.map(|value| f64::from(scaled(value, bits)));
    let (cb, cr) = (cb - 128.0, cr - 128.0);
    let colors = [y + 1.402 * cr, y - 0.344_136 * cb - 0.714_136 * cr, y + 1.772 * cb];
    // Casts saturate beyond the ends.
    colors.map(|color| color.round() as u8)
}

fn from_partial(pixel: &[i32; 3], bits: u16) -> [u8; 3] {
    let [y, cb, cr] = pixel.map(|value| f64::from(scaled(value, bits)));
    let y = (y - 16.0) * 255.0 / 219.0;
    let (cb, cr) = ((cb - 128.0) * 255.0 / 224.0, (cr - 128.0) * 255.0 / 224.0);
    let colors = [y + 1.402 * cr, y - 0.344_136 * cb - 0.714_136 * cr, y + 1.772 * cb];
    colors.map(|color| color.round() as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colors_are_those_of_their_space() {
        let rgb = |space: ColorSpace, pixel: [i32; 3]| space.to_rgb(&pixel, 8);
        assert_eq!(rgb(ColorSpace::YbrFull, [76, 85, 255]), [254, 0, 0]);
        assert_eq!(rgb(ColorSpace::YbrPartial, [235, 128, 128]), [255, 255, 255]);
        assert_eq!(rgb(ColorSpace::YbrPartial, [16, 128, 128]), [0, 0, 0]);
        assert_eq!(rgb(ColorSpace::YbrPartial, [81, 90, 240]), [254, 0, 0]);
        assert_eq!(ColorSpace::Rgb.to_rgb(&[4095, 0, 2048], 12), [255, 0, 128]);
    }

    #[test]
    fn a_frame_corrects_what_its_file_states() {
        use ColorSpace::{Rgb, YbrFull, YbrPartial};
        assert_eq!(Rgb.corrected(Some(JpegColors::YCbCr)), YbrFull);
        assert_eq!(YbrFull.corrected(Some(JpegColors::Rgb)), Rgb);
        assert_eq!(YbrPartial.corrected(Some(JpegColors::YCbCr)), YbrPartial);
        assert_eq!(YbrPartial.corrected(None), YbrPartial);
    }
}
