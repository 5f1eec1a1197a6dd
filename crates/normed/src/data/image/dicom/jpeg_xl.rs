//! Frames that are compressed by JPEG XL (ISO/IEC 18181).

use super::limits::{MAX_BLANK_PIXELS, check_size};
use super::shape::Shape;
use super::syntax::TO_PNG;
use crate::data::image::jpeg_xl::Codestream;

/// Whether `frame` starts as JPEG XL does: a codestream, or a file with one.
pub(super) fn is_jpeg_xl(frame: &[u8]) -> bool {
    frame.starts_with(b"\xff\x0a") || frame.starts_with(b"\0\0\0\x0cJXL ")
}

/// A codestream whose samples are whole numbers of `bits` bits.
pub(super) struct Frame {
    stream: Codestream,
    bits: u16,
    /// Whether decoding reverses a transform of colors, so that they are RGB.
    pub transforms_colors: bool,
}

/// Reads the header of `frame`, and checks that [`Frame::decode`] supports it.
pub(super) fn check(frame: &[u8], shape: &Shape) -> Result<Frame, String> {
    let stream = Codestream::open(frame)?;
    if stream.channels.alpha {
        return Err(format!("it has opacity, which is not supported; {TO_PNG}"));
    }
    check_size(stream.size.map(|side| side as u64), stream.channels.count(), shape)?;
    if shape.pixels() > MAX_BLANK_PIXELS.max(frame.len().saturating_mul(1024)) {
        return Err("it has too few bytes for its number of pixels".into());
    }
    let bits =
        stream.whole_number_bits().ok_or("its samples are no whole numbers of 1 to 16 bits")?;
    let transforms_colors = stream.transforms_colors();
    Ok(Frame { stream, bits, transforms_colors })
}

impl Frame {
    /// Decodes the frame. The samples of each pixel are adjacent.
    pub fn decode(&self, shape: &Shape) -> Result<Vec<i32>, String> {
        let range = ((1_u32 << self.bits) - 1) as f32;
        // After lossy compression values may lie beyond what is stored. Of signed ones these are the bits.
        let bits = if shape.signed { 16 } else { shape.bits_stored.min(16) };
        let most = ((1_u32 << bits) - 1) as f32;
        let samples = self.stream.samples::<f32>()?;
        Ok(samples.into_iter().map(|v| (v * range).round().clamp(0.0, most) as i32).collect())
    }
}
