//! Frames that are compressed by JPEG or JPEG-LS.

use jpeg_decoder::{ColorTransform, Decoder};
use openreadout_codecs::{JpegColor, jpeg_decode_tiff_limited};

use super::limits::{MAX_BLANK_PIXELS, check_size};
use super::samples::narrow;
use super::shape::Shape;
use super::syntax::REMEDY;
use crate::data::image::jpeg;
use crate::data::image::jpeg_header::{JpegHeader, JpegProcess};
use crate::data::image::jpeg_ls;

/// Reads the header of `frame`, and checks that [`decode`] supports it.
pub(super) fn check(frame: &[u8], shape: &Shape) -> Result<JpegHeader, String> {
    let header = JpegHeader::read(frame)?;
    let size = [header.width as u64, header.height as u64];
    check_size(size, header.components.len(), shape)?;
    let unsupported = |what: &str| Err(format!("it has {what}, which is not supported; {REMEDY}"));
    let bits = header.precision;
    match header.process {
        JpegProcess::Sequential | JpegProcess::Progressive if bits == 8 => {}
        JpegProcess::Sequential if bits == 12 => {
            let first = header.components[0].sampling;
            if header.components.iter().any(|component| component.sampling != first) {
                return unsupported("12 bits with colors of a lower resolution");
            }
        }
        JpegProcess::Sequential | JpegProcess::Progressive => {
            return unsupported(&format!("{bits} bits and a cosine transform"));
        }
        JpegProcess::Lossless | JpegProcess::Ls if !(2..=16).contains(&bits) => {
            return Err(format!("it has samples of {bits} bits"));
        }
        // The decoder would begin each interval with a wrong prediction.
        JpegProcess::Lossless if header.restart_interval > 0 => {
            return unsupported("restart intervals without losses");
        }
        JpegProcess::Lossless if point_transform(frame, &header) != Some(0) => {
            return unsupported("a point transform without losses");
        }
        JpegProcess::Lossless => {}
        JpegProcess::Ls => jpeg_ls::check(&header)?,
    }
    // A sample takes at least one bit, a block of 64 samples two: more is a claim that fills the memory.
    let most = match header.process {
        JpegProcess::Lossless => frame.len().saturating_mul(8),
        JpegProcess::Sequential => frame.len().saturating_mul(8 * 32),
        JpegProcess::Progressive | JpegProcess::Ls => {
            MAX_BLANK_PIXELS.max(frame.len().saturating_mul(1024))
        }
    };
    if shape.pixels() > most {
        return Err("it has too few bytes for its number of pixels".into());
    }
    Ok(header)
}

/// The point transform of the first scan (T.81, B.2.3).
fn point_transform(frame: &[u8], header: &JpegHeader) -> Option<u8> {
    let components = usize::from(*frame.get(header.scan + 2)?);
    Some(*frame.get(header.scan + 2 + 2 * components + 3)? & 15)
}

/// Decodes `frame`. The samples of each pixel are adjacent, in the color space of the frame.
pub(super) fn decode(frame: &[u8], shape: &Shape) -> Result<Vec<i32>, String> {
    let header = check(frame, shape)?;
    match header.process {
        JpegProcess::Ls => jpeg_ls::decode(frame, &header),
        _ if !jpeg::is_whole(frame) => Err("it is cut short, its end marker is missing".into()),
        JpegProcess::Sequential if header.precision == 12 => {
            let bytes = 2 * shape.pixels() * shape.samples;
            let decoded = jpeg_decode_tiff_limited(frame, None, JpegColor::AsCoded, bytes);
            decoded.map(|decoded| narrow(&decoded.data, 16)).map_err(|error| error.to_string())
        }
        _ => decode_by_jpeg_decoder(frame, shape),
    }
}

fn decode_by_jpeg_decoder(frame: &[u8], shape: &Shape) -> Result<Vec<i32>, String> {
    let mut decoder = Decoder::new(frame);
    // The caller converts colors. With RGB the decoder gives the samples as they are, those of a pixel
    // adjacent; with no color space it would give them row by row, component by component.
    decoder.set_color_transform(ColorTransform::RGB);
    let decoded = decoder.decode().map_err(|error| error.to_string())?;
    if decoded.len() == shape.pixels() * shape.samples {
        return Ok(narrow(&decoded, 8));
    }
    let (words, _) = decoded.as_chunks::<2>();
    Ok(words.iter().map(|&word| u16::from_ne_bytes(word).into()).collect())
}
