//! JPEG 2000 files: codestreams, and codestreams in a JP2 file.

use hayro_jpeg2000::{ColorSpace, DecodeSettings, DecoderContext, Image as Decoder};

use super::header::ImageHeader;
use super::limits::{check_length, check_size};
use super::options::ImageOptions;
use super::pixels::Image;
use super::samples::{self, Channels};

/// Bytes after the end marker that a file may have.
const MAX_TRAILER: usize = 64;

/// Reads the header of a JPEG 2000 file, and checks that [`decode`] supports it and that it is not cut short.
pub(super) fn check(bytes: &[u8], options: &ImageOptions) -> Result<ImageHeader, String> {
    let decoder = open(bytes)?;
    let (size, channels) = shape(&decoder)?;
    check_length(size, bytes.len() as u64)?;
    let bits = decoder.original_bit_depth();
    // Coefficients and samples of 32 bits, and a second copy of the samples.
    let decoder_bytes = (size[0] * size[1] * channels.count() * 12) as u64;
    Ok(ImageHeader::new("JPEG 2000", size, bits.into(), bytes.len() as u64, decoder_bytes)
        .with_range(options))
}

/// Decodes a JPEG 2000 file.
pub(super) fn decode(bytes: &[u8], options: &ImageOptions) -> Result<Image, String> {
    let decoder = open(bytes)?;
    let (size, channels) = shape(&decoder)?;
    let mut context = DecoderContext::default();
    let decoded = decoder.decode(&mut context).map_err(cause_of)?;
    let (pixels, count) = (size[0] * size[1], channels.count());
    let components = decoded.components().get(..count);
    let components = components
        .filter(|all| all.iter().all(|component| component.samples().len() == pixels))
        .ok_or("cannot be decoded: its components have different sizes. Convert it to PNG")?;
    let bits = components[0].bit_depth();
    if bits <= 8 && components.len() == decoded.components().len() {
        return Ok(samples::from_8_bits(size, channels, &decoded.data_u8()));
    }
    let most = ((1_u32 << bits) - 1) as f32;
    let mut deep = vec![0; pixels * count];
    for (c, component) in components.iter().enumerate() {
        for (sample, value) in deep[c..].iter_mut().step_by(count).zip(component.samples()) {
            *sample = value.round().clamp(0.0, most) as u16;
        }
    }
    samples::from_deep(size, channels, &deep, most as u16, options)
}

fn open(bytes: &[u8]) -> Result<Decoder<'_>, String> {
    let tail = &bytes[bytes.len().saturating_sub(MAX_TRAILER)..];
    if !tail.windows(2).any(|pair| pair == [0xff, 0xd9]) {
        return Err("cannot be decoded: the file is cut short, its end marker is missing. Copy or download \
                    it again"
            .into());
    }
    Decoder::new(bytes, &DecodeSettings::default()).map_err(cause_of)
}

/// The size and the channels of an image.
fn shape(decoder: &Decoder<'_>) -> Result<([usize; 2], Channels), String> {
    let space = decoder.color_space();
    let colors = usize::from(space.num_channels());
    if !matches!(colors, 1 | 3) || matches!(space, ColorSpace::CMYK) {
        return Err(format!(
            "is JPEG 2000 with {colors} colors, which is not supported. Convert it to PNG"
        ));
    }
    let bits = decoder.original_bit_depth();
    if !(1..=16).contains(&bits) {
        return Err(format!(
            "is JPEG 2000 with {bits} bits, which is not supported. Convert it to PNG"
        ));
    }
    let channels = Channels { colors, alpha: decoder.has_alpha() };
    let (width, height) = (decoder.width(), decoder.height());
    let size = check_size(width.into(), height.into(), 4 * channels.count() as u64)?;
    Ok((size, channels))
}

fn cause_of(error: impl std::fmt::Display) -> String {
    format!("cannot be decoded: {error}. Convert it to PNG")
}
