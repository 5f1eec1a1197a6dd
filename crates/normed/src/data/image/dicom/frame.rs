//! One frame as it is stored: its bytes, and how they are decoded.

use std::borrow::Cow;

use super::elements::{Element, Elements};
use super::samples::{Samples, lowest_bits};
use super::shape::Shape;
use super::syntax::{PixelCoding, REMEDY};
use super::{frames, jpeg, jpeg_2000, jpeg_xl, rle, samples};
use crate::data::image::jpeg_header::{JpegColors, JpegProcess};
use crate::data::panics;

/// How the bytes of a frame are coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FrameCoding {
    Raw { big_endian: bool },
    Rle,
    Jpeg,
    Jpeg2000,
    JpegXl,
}

/// A frame whose header is checked.
pub(super) struct Frame<'a> {
    bytes: Cow<'a, [u8]>,
    coding: FrameCoding,
    /// The number of bits of a decoded sample that are used.
    pub bits: u16,
    /// The color space that the frame itself states.
    pub colors: Option<JpegColors>,
    /// Whether decoded colors are RGB because the decoder reverses a transform of the frame.
    pub transforms_colors: bool,
}

impl<'a> Frame<'a> {
    /// Finds frame `n` of `frames`, and checks that [`Frame::decode`] supports it.
    pub fn find(
        elements: &Elements<'a>,
        pixels: &Element<'a>,
        coding: PixelCoding,
        shape: &Shape,
        [n, frames]: [usize; 2],
    ) -> Result<Self, String> {
        let raw = FrameCoding::Raw { big_endian: pixels.encoding.big_endian };
        let bytes = match coding {
            PixelCoding::Unnamed if !pixels.undefined => frames::native(pixels, shape, n, frames)?,
            PixelCoding::Native => frames::native(pixels, shape, n, frames)?,
            _ => frames::fragments(elements, pixels, n, frames)?,
        };
        let coding = match coding {
            PixelCoding::Native => raw,
            PixelCoding::Unnamed if !pixels.undefined => raw,
            PixelCoding::Fragments => {
                check_length(&bytes, shape)?;
                raw
            }
            PixelCoding::Rle => FrameCoding::Rle,
            PixelCoding::Jpeg => FrameCoding::Jpeg,
            PixelCoding::Jpeg2000 => FrameCoding::Jpeg2000,
            PixelCoding::JpegXl => FrameCoding::JpegXl,
            PixelCoding::Unnamed if bytes.starts_with(&[0xff, 0xd8]) => FrameCoding::Jpeg,
            PixelCoding::Unnamed if jpeg_2000::is_jpeg_2000(&bytes) => FrameCoding::Jpeg2000,
            PixelCoding::Unnamed if jpeg_xl::is_jpeg_xl(&bytes) => FrameCoding::JpegXl,
            PixelCoding::Unnamed => {
                return Err(format!("its transfer syntax is missing; {REMEDY}"));
            }
        };
        let bits = shape.bits_stored;
        Self { bytes, coding, bits, colors: None, transforms_colors: false }.checked(shape)
    }

    /// Checks the header of the frame itself, which states the bits and the colors.
    fn checked(mut self, shape: &Shape) -> Result<Self, String> {
        let is_compressed = !matches!(self.coding, FrameCoding::Raw { .. });
        if is_compressed && (shape.floating || shape.bits_allocated == 1) {
            let bits = shape.bits_allocated;
            return Err(format!("is compressed, with samples of {bits} bits that cannot be"));
        }
        let bytes = &*self.bytes;
        match self.coding {
            FrameCoding::Raw { .. } => {}
            FrameCoding::Rle => drop(rle::check(bytes, shape)?),
            FrameCoding::Jpeg => {
                let header = guarded("JPEG", || jpeg::check(bytes, shape))?;
                self.colors = header.colors();
                self.bits = match header.process {
                    JpegProcess::Ls => header.precision.into(),
                    // Decoded samples have no more bits.
                    _ => self.bits.min(16),
                };
            }
            FrameCoding::Jpeg2000 => {
                let check = || jpeg_2000::check(bytes, shape).map(|stream| stream.precision);
                self.bits = guarded("JPEG 2000", check)?;
            }
            FrameCoding::JpegXl => {
                let frame = guarded("JPEG XL", || jpeg_xl::check(bytes, shape))?;
                self.transforms_colors = frame.transforms_colors;
                self.bits = self.bits.min(16);
            }
        }
        Ok(self)
    }

    /// Bytes that are allocated while the frame is decoded, at most.
    pub fn decoder_bytes(&self, shape: &Shape) -> usize {
        let each = match self.coding {
            FrameCoding::Raw { .. } | FrameCoding::Rle | FrameCoding::Jpeg => {
                return 2 * shape.value_bytes();
            }
            // Coefficients, components and samples of 32 bits.
            FrameCoding::Jpeg2000 => 16,
            // Planes of 32 bits, several at a time, and two copies of the samples.
            FrameCoding::JpegXl => 24,
        };
        each * shape.pixels() * shape.samples
    }

    /// The stored values of the frame, the samples of each pixel adjacent (PS3.5, 8.1.1).
    pub fn decode(&self, shape: &Shape) -> Result<Samples, String> {
        let bytes = &*self.bytes;
        let samples = match self.coding {
            FrameCoding::Raw { big_endian } => samples::decode(bytes, shape, big_endian),
            FrameCoding::Rle => {
                let shape = Shape { planar: false, ..shape.clone() };
                samples::decode(&rle::decode(bytes, &shape)?, &shape, false)
            }
            FrameCoding::Jpeg => {
                let decoded = guarded("JPEG", || jpeg::decode(bytes, shape))?;
                Samples::Narrow(lowest_bits(decoded, self.bits, 0, shape.signed))
            }
            FrameCoding::Jpeg2000 => {
                let decode = || jpeg_2000::check(bytes, shape)?.decode(shape);
                let decoded = guarded("JPEG 2000", decode)?;
                Samples::Narrow(lowest_bits(decoded, self.bits, 0, shape.signed))
            }
            FrameCoding::JpegXl => {
                let decode = || jpeg_xl::check(bytes, shape)?.decode(shape);
                let decoded = guarded("JPEG XL", decode)?;
                Samples::Narrow(lowest_bits(decoded, self.bits, 0, shape.signed))
            }
        };
        match samples.len() == shape.pixels() * shape.samples {
            true => Ok(samples),
            false => Err("its frame has another number of samples than its header states".into()),
        }
    }
}

/// Checks that an uncompressed frame in fragments has all of its bytes.
fn check_length(frame: &[u8], shape: &Shape) -> Result<(), String> {
    let all = shape.frame_bits().div_ceil(8);
    match frame.len() {
        there if there < all => {
            Err(format!("is cut short: its frame should have {all} bytes, and has {there}"))
        }
        _ => Ok(()),
    }
}

/// Calls `decode`, a decoder of another crate, which may panic on a damaged frame. Callers first refuse frames
/// that would not fit into memory.
fn guarded<T>(kind: &str, decode: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    panics::catch(decode).map_err(|cause| format!("its {kind} frame cannot be decoded: {cause}"))
}
