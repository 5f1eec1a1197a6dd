//! Frames that are compressed by JPEG or JPEG-LS.

use std::io::Cursor;

use libjpeg_turbo_rs::precision::{decompress_12bit_with_limits, decompress_lossless_arbitrary};
use libjpeg_turbo_rs::{ColorSpace, Decoder};

use super::limits::{MAX_BLANK_PIXELS, check_size};
use super::samples::narrow;
use super::shape::Shape;
use super::syntax::REMEDY;
use crate::data::image::jpeg;
use crate::data::image::jpeg_header::{JpegHeader, JpegProcess, has_end};
use crate::data::image::jpeg_ls;

/// Reads the header of `frame`, and checks that [`decode`] supports it.
pub(super) fn check(frame: &[u8], shape: &Shape) -> Result<JpegHeader, String> {
    let header = JpegHeader::read(&mut Cursor::new(frame))?;
    let size = [header.width as u64, header.height as u64];
    check_size(size, header.components.len(), shape)?;
    let unsupported = |what: &str| Err(format!("it has {what}, which is not supported; {REMEDY}"));
    let bits = header.precision;
    let first = header.components[0].sampling;
    let is_sampled = header.components.iter().any(|component| component.sampling != first);
    match header.process {
        JpegProcess::Sequential if bits == 8 => {}
        // The decoder would convert the colors.
        JpegProcess::Sequential if bits == 12 && shape.samples > 1 => {
            return unsupported("colors of 12 bits");
        }
        JpegProcess::Sequential if bits == 12 => {}
        JpegProcess::Progressive if bits == 8 => {}
        JpegProcess::Sequential | JpegProcess::Progressive => {
            return unsupported(&format!("{bits} bits and a cosine transform"));
        }
        JpegProcess::Lossless | JpegProcess::Ls if !(2..=16).contains(&bits) => {
            return Err(format!("it has samples of {bits} bits"));
        }
        JpegProcess::Lossless if is_sampled => {
            return unsupported("components of different sizes without losses");
        }
        JpegProcess::Lossless => {}
        JpegProcess::SequentialArithmetic
        | JpegProcess::ProgressiveArithmetic
        | JpegProcess::LosslessArithmetic => return unsupported("arithmetic codes"),
        JpegProcess::Hierarchical => return unsupported("several frames (hierarchical JPEG)"),
        JpegProcess::Ls => jpeg_ls::check(&header)?,
    }
    // A sample takes at least one bit, a block of 64 samples two: more is a claim that fills the memory.
    let most = match header.process {
        JpegProcess::Lossless => frame.len().saturating_mul(8),
        JpegProcess::Sequential => frame.len().saturating_mul(8 * 32),
        _ => MAX_BLANK_PIXELS.max(frame.len().saturating_mul(1024)),
    };
    if shape.pixels() > most {
        return Err("it has too few bytes for its number of pixels".into());
    }
    Ok(header)
}

/// Decodes `frame`. The samples of each pixel are adjacent, in the color space of the frame.
pub(super) fn decode(frame: &[u8], shape: &Shape) -> Result<Vec<i32>, String> {
    let header = check(frame, shape)?;
    let failed = |error: libjpeg_turbo_rs::JpegError| error.to_string();
    match header.process {
        JpegProcess::Ls => jpeg_ls::decode(frame, &header),
        _ if !has_end(frame) => Err("it is cut short, its end marker is missing".into()),
        JpegProcess::Lossless => {
            let decoded = decompress_lossless_arbitrary(frame).map_err(failed)?;
            Ok(decoded.data.into_iter().map(i32::from).collect())
        }
        _ if header.precision == 12 => {
            let decoded = decompress_12bit_with_limits(frame, &jpeg::limits()).map_err(failed)?;
            Ok(decoded.data.into_iter().map(|sample| i32::from(sample).clamp(0, 4095)).collect())
        }
        _ => {
            let mut decoder = Decoder::new_with_limits(frame, jpeg::limits()).map_err(failed)?;
            // The caller converts colors. What the decoder does not take for YCbCr it does not convert.
            if decoder.jpeg_color_space() == ColorSpace::YCbCr {
                decoder.set_output_colorspace(ColorSpace::YCbCr);
            }
            Ok(narrow(&decoder.decode_image().map_err(failed)?.data, 8))
        }
    }
}
