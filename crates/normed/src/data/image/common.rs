//! Formats that the `image` crate decodes: PNG, BMP, GIF, WebP, PNM.

use std::io::{Cursor, ErrorKind};

use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

use super::header::ImageHeader;
use super::limits::{MAX_DECODED_BYTES, MAX_SIDE, check_length, check_size};
use super::options::ImageOptions;
use super::orientation::Orientation;
use super::pixels::Image;
use super::samples::{self, Channels};
use super::source::{Source, length, read_at};

/// Reads the header of a file of this format, and checks that [`decode`] supports it.
pub(super) fn check(
    source: &mut dyn Source,
    format: ImageFormat,
    name: &'static str,
    options: &ImageOptions,
) -> Result<ImageHeader, String> {
    let file_bytes = length(source)?;
    source.rewind().map_err(|e| e.to_string())?;
    let mut decoder = reader(&mut *source, format).into_decoder().map_err(cause_of)?;
    let (width, height) = decoder.dimensions();
    let color = decoder.original_color_type();
    let bits = color.bits_per_pixel() / u16::from(color.channel_count().max(1));
    let bytes_per_pixel = decoder.color_type().bytes_per_pixel().max(3);
    let size = check_size(width.into(), height.into(), bytes_per_pixel.into())?;
    check_length(size, file_bytes)?;
    let found = orientation(&mut decoder);
    let raw_bytes = decoder.total_bytes();
    drop(decoder);
    if may_be_cut(source, format, file_bytes, raw_bytes)? {
        decode(&read_at(source, 0, file_bytes as usize)?, format, options)?;
    }
    // The decoded samples, and for some formats as much again.
    let header = ImageHeader::new(name, size, bits.into(), file_bytes, 2 * raw_bytes);
    Ok(Orientation::turn_header(found, options, header.with_range(options)))
}

/// Bytes before the pixels of a BMP file, and of most PNM files.
const BMP_HEADER_BYTES: u64 = 54;
const MAX_PNM_HEADER_BYTES: u64 = 64;

/// Whether a file may be cut short, so that only decoding tells whether all pixels are there. `raw_bytes` are those of
/// its decoded samples.
fn may_be_cut(
    source: &mut dyn Source,
    format: ImageFormat,
    file_bytes: u64,
    raw_bytes: u64,
) -> Result<bool, String> {
    Ok(match format {
        // The length is in the header.
        ImageFormat::WebP => match read_at(source, 4, 4)?[..] {
            [a, b, c, d] => u64::from(u32::from_le_bytes([a, b, c, d])) + 8 > file_bytes,
            _ => true,
        },
        // A trailer is the last byte.
        ImageFormat::Gif => read_at(source, file_bytes.saturating_sub(1), 1)? != [0x3b],
        ImageFormat::Bmp => match read_at(source, 2, 4)?[..] {
            [a, b, c, d] => {
                let stated = u64::from(u32::from_le_bytes([a, b, c, d]));
                stated > file_bytes || file_bytes < raw_bytes + BMP_HEADER_BYTES
            }
            _ => true,
        },
        _ => file_bytes < raw_bytes + MAX_PNM_HEADER_BYTES,
    })
}

/// Decodes a file of this format; of an animation, the first frame.
pub(super) fn decode(
    bytes: &[u8],
    format: ImageFormat,
    options: &ImageOptions,
) -> Result<Image, String> {
    let mut decoder = reader(Cursor::new(bytes), format).into_decoder().map_err(cause_of)?;
    // The caller turns a PNG, whose text chunks count, too.
    let found = if format == ImageFormat::Png { None } else { orientation(&mut decoder) };
    let decoded = DynamicImage::from_decoder(decoder).map_err(cause_of)?;
    let image = to_rgb(&decoded, options)?;
    Ok(Orientation::turn(found, options, image))
}

/// The orientation in the metadata that the decoder gives.
fn orientation(decoder: &mut impl ImageDecoder) -> Option<Orientation> {
    let exif = decoder.exif_metadata().ok().flatten();
    let xmp = decoder.xmp_metadata().ok().flatten();
    Orientation::from_metadata(exif.as_deref(), xmp.as_deref())
}

/// A reader of this format that keeps the limits.
fn reader<R: std::io::BufRead + std::io::Seek>(source: R, format: ImageFormat) -> ImageReader<R> {
    let mut reader = ImageReader::with_format(source, format);
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_DECODED_BYTES);
    reader.limits(limits);
    reader
}

fn to_rgb(decoded: &DynamicImage, options: &ImageOptions) -> Result<Image, String> {
    let size = [decoded.width() as usize, decoded.height() as usize];
    let channels = |colors, alpha| Channels { colors, alpha };
    Ok(match decoded {
        DynamicImage::ImageLuma8(image) => samples::from_8_bits(size, channels(1, false), image),
        DynamicImage::ImageLumaA8(image) => samples::from_8_bits(size, channels(1, true), image),
        DynamicImage::ImageRgb8(image) => samples::from_8_bits(size, channels(3, false), image),
        DynamicImage::ImageRgba8(image) => samples::from_8_bits(size, channels(3, true), image),
        deep => {
            let (channels, samples): (_, &[u16]) = match deep {
                DynamicImage::ImageLuma16(image) => (channels(1, false), image),
                DynamicImage::ImageLumaA16(image) => (channels(1, true), image),
                DynamicImage::ImageRgb16(image) => (channels(3, false), image),
                DynamicImage::ImageRgba16(image) => (channels(3, true), image),
                other => {
                    return Err(format!("pixels of type {:?} are not supported", other.color()));
                }
            };
            samples::from_deep(size, channels, samples, u16::MAX, options)?
        }
    })
}

fn cause_of(error: ImageError) -> String {
    match error {
        ImageError::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => {
            "cannot be decoded: the file is cut short. Copy or download it again".into()
        }
        error => {
            format!("cannot be decoded: {error}. Copy or download it again, or convert it to PNG")
        }
    }
}
