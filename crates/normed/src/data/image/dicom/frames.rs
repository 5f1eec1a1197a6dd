//! The samples of one frame: where they are in the file, and how they are decoded.

use std::borrow::Cow;

use hayro_jpeg2000::{DecodeSettings, DecoderContext};
use jpeg_decoder::{CodingProcess, ColorTransform, Decoder};

use super::elements::{Element, Items};
use super::shape::Shape;
use super::stored::samples;
use crate::data::image::jpeg;
use crate::data::panics;

/// A transfer syntax: how a file stores its elements and pixels (PS3.5, chapter 10).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Syntax {
    Implicit,
    Explicit,
    Rle,
    Jpeg,
    Jpeg2000,
}

/// Transfer syntaxes that are not supported: the prefix of the UID, and a description.
const UNSUPPORTED: [(&str, &str); 8] = [
    ("1.2.840.10008.1.2.1.99", "deflated"),
    ("1.2.840.10008.1.2.2", "in big endian"),
    ("1.2.840.10008.1.2.4.5", "compressed by a retired kind of JPEG"),
    ("1.2.840.10008.1.2.4.80", "compressed by JPEG-LS"),
    ("1.2.840.10008.1.2.4.81", "compressed by JPEG-LS"),
    ("1.2.840.10008.1.2.4.10", "compressed by MPEG"),
    ("1.2.840.10008.1.2.4.11", "compressed by JPEG XL"),
    ("1.2.840.10008.1.2.4.20", "compressed by HTJ2K"),
];

const REMEDY: &str = "convert it to Explicit VR Little Endian: gdcmconv --raw IN OUT";

impl Syntax {
    pub fn named(uid: &str) -> Result<Self, String> {
        match uid {
            "1.2.840.10008.1.2" => Ok(Self::Implicit),
            "1.2.840.10008.1.2.1" => Ok(Self::Explicit),
            "1.2.840.10008.1.2.5" => Ok(Self::Rle),
            "1.2.840.10008.1.2.4.50"
            | "1.2.840.10008.1.2.4.51"
            | "1.2.840.10008.1.2.4.57"
            | "1.2.840.10008.1.2.4.70" => Ok(Self::Jpeg),
            "1.2.840.10008.1.2.4.90" | "1.2.840.10008.1.2.4.91" => Ok(Self::Jpeg2000),
            _ => {
                let kind = UNSUPPORTED.iter().find(|(begin, _)| uid.starts_with(begin));
                let kind = kind.map_or("stored in an unknown way", |(_, kind)| kind);
                Err(format!("is {kind} (transfer syntax {uid}), which is not supported; {REMEDY}"))
            }
        }
    }

    pub fn is_compressed(self) -> bool {
        !matches!(self, Self::Implicit | Self::Explicit)
    }

    /// Decodes `frame`. The samples of each pixel are adjacent, and have all allocated bits.
    pub fn decode(self, frame: &[u8], shape: &Shape) -> Result<Vec<i32>, String> {
        let samples = match self {
            Self::Implicit | Self::Explicit => decode_raw(frame, shape),
            Self::Rle => decode_rle(frame, shape)?,
            Self::Jpeg => guarded("JPEG", || decode_jpeg(frame, shape))?,
            Self::Jpeg2000 => guarded("JPEG 2000", || decode_jpeg_2000(frame, shape))?,
        };
        match samples.len() == shape.pixels() * shape.samples {
            true => Ok(samples),
            false => Err("its frame has another number of samples than its header states".into()),
        }
    }
}

/// Calls `decode`, a decoder of another crate, which may panic on a damaged frame. Callers first refuse frames
/// that would not fit into memory.
fn guarded<T>(kind: &str, decode: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    panics::catch(decode).map_err(|cause| format!("its {kind} frame cannot be decoded: {cause}"))
}

/// The bytes of frame `n` of `frames` uncompressed frames, all of which must be in the file.
pub(super) fn native<'a>(
    pixels: &Element<'a>,
    shape: &Shape,
    n: usize,
    frames: usize,
) -> Result<&'a [u8], String> {
    if pixels.undefined {
        return Err("its pixels are in fragments, which its transfer syntax does not allow".into());
    }
    let samples = if shape.halved { 2 } else { shape.samples };
    let length = shape.pixels() * samples * usize::from(shape.bits_allocated / 8);
    let there = pixels.value.len();
    // Both factors are limited: see `DicomFile::open` and `check_shape`.
    let all = length as u128 * frames as u128;
    if all > there as u128 {
        return Err(format!(
            "is cut short: its pixels should have {all} bytes, and {there} are left"
        ));
    }
    Ok(&pixels.value[n * length..][..length])
}

/// The bytes of frame `n` of `frames` compressed frames (PS3.5, A.4).
pub(super) fn fragments<'a>(
    pixels: &Element<'a>,
    n: usize,
    frames: usize,
) -> Result<Cow<'a, [u8]>, String> {
    if !pixels.undefined {
        return Err("its pixels are not in fragments, as its transfer syntax requires".into());
    }
    let mut items = Items::of(pixels);
    let table = items.next().transpose()?.unwrap_or_default();
    let fragments = items.collect::<Result<Vec<_>, _>>()?;
    if frames == 1 {
        return Ok(fragments.concat().into());
    }
    if fragments.len() == frames {
        return Ok(fragments[n].into());
    }
    // The start of each frame, counted from the first fragment's tag.
    let (starts, _) = table.as_chunks::<4>();
    let start = |n: usize| starts.get(n).map(|&start| u64::from(u32::from_le_bytes(start)));
    let Some(begin) = start(n).filter(|_| starts.len() == frames) else {
        return Err(format!(
            "has {} fragments for {frames} frames, and no table of where each frame starts",
            fragments.len()
        ));
    };
    let end = start(n + 1).unwrap_or(u64::MAX);
    let mut at = 0;
    let mut frame = Vec::new();
    for fragment in fragments {
        if (begin..end).contains(&at) {
            frame.extend_from_slice(fragment);
        }
        at += 8 + fragment.len() as u64;
    }
    Ok(frame.into())
}

fn decode_raw(frame: &[u8], shape: &Shape) -> Vec<i32> {
    let samples = samples(frame, shape.bits_allocated);
    if shape.halved {
        // C.7.6.3.1.2: Y Y Cb Cr.
        let (pairs, _) = samples.as_chunks::<4>();
        return pairs.iter().flat_map(|&[y, z, cb, cr]| [y, cb, cr, z, cb, cr]).collect();
    }
    if shape.planar {
        let n = shape.pixels();
        return (0..samples.len()).map(|i| samples[(i % 3) * n + i / 3]).collect();
    }
    samples
}

/// Decodes RLE (PS3.5, annex G): each byte of each sample is a segment of its own, the highest first.
fn decode_rle(frame: &[u8], shape: &Shape) -> Result<Vec<i32>, String> {
    let cut = || "its RLE frame is cut short".to_owned();
    let (header, _) = frame.first_chunk::<64>().ok_or_else(cut)?.as_chunks::<4>();
    let header: Vec<_> = header.iter().map(|&word| u32::from_le_bytes(word) as usize).collect();
    let bytes = usize::from(shape.bits_allocated / 8);
    let segments = shape.samples * bytes;
    if header[0] != segments {
        return Err(format!("its RLE frame has {} segments, and not {segments}", header[0]));
    }
    // Two bytes encode at most 128 bytes.
    if shape.pixels() > frame.len().saturating_mul(64) {
        return Err(cut());
    }
    let mut samples = vec![0; shape.pixels() * shape.samples];
    for segment in 0..segments {
        let packed = frame.get(header[1 + segment]..).ok_or_else(cut)?;
        let plane = unpack_bits(packed, shape.pixels()).ok_or_else(cut)?;
        let of = samples.iter_mut().skip(segment / bytes).step_by(shape.samples);
        for (sample, byte) in of.zip(plane) {
            *sample = (*sample << 8) | i32::from(byte);
        }
    }
    Ok(samples)
}

/// Decodes `length` bytes of PackBits (G.3.2).
fn unpack_bits(mut packed: &[u8], length: usize) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        let (&head, rest) = packed.split_first()?;
        packed = match head {
            0..=127 => {
                let (literal, rest) = rest.split_at_checked(usize::from(head) + 1)?;
                bytes.extend_from_slice(literal);
                rest
            }
            128 => rest,
            129..=255 => {
                let (&byte, rest) = rest.split_first()?;
                bytes.resize(bytes.len() + 257 - usize::from(head), byte);
                rest
            }
        };
    }
    bytes.truncate(length);
    Some(bytes)
}

fn decode_jpeg(frame: &[u8], shape: &Shape) -> Result<Vec<i32>, String> {
    if !jpeg::is_whole(frame) {
        return Err("it is cut short, its end marker is missing".into());
    }
    let mut decoder = Decoder::new(frame);
    // The caller converts colors. With RGB the decoder gives the samples as they are, those of a pixel
    // adjacent; with no color space it would give them row by row, component by component.
    decoder.set_color_transform(ColorTransform::RGB);
    let describe = |e: jpeg_decoder::Error| match e {
        jpeg_decoder::Error::Unsupported(_) => format!("{e}; {REMEDY}"),
        _ => e.to_string(),
    };
    decoder.read_info().map_err(describe)?;
    let info = decoder.info().ok_or("it has no header")?;
    if (usize::from(info.width), usize::from(info.height)) != (shape.columns, shape.rows) {
        return Err(other_size(info.width.into(), info.height.into()));
    }
    // A sample takes at least one bit, a block of 64 samples two: more is a claim that fills the memory.
    let most = match info.coding_process {
        CodingProcess::Lossless => 8,
        CodingProcess::DctSequential => 8 * 32,
        CodingProcess::DctProgressive => {
            return Err("DICOM does not allow progressive JPEG".into());
        }
    };
    if shape.pixels() > frame.len().saturating_mul(most) {
        return Err("it has too few bytes for its number of pixels".into());
    }
    let decoded = decoder.decode().map_err(describe)?;
    let n = shape.pixels() * shape.samples;
    if decoded.len() == n {
        return Ok(samples(&decoded, 8));
    }
    let (words, _) = decoded.as_chunks::<2>();
    Ok(words.iter().map(|&word| u16::from_ne_bytes(word).into()).collect())
}

fn other_size(width: u64, height: u64) -> String {
    format!("it has {width} x {height} pixels, another size than the file's header states")
}

/// The number of pixels that JPEG 2000 may decode from few bytes: it has no minimum number of bytes a pixel.
const MAX_BLANK_PIXELS: usize = 4 << 20;

fn decode_jpeg_2000(frame: &[u8], shape: &Shape) -> Result<Vec<i32>, String> {
    let mut frame = frame;
    // Fragments are padded to an even length.
    while let Some((0, rest)) = frame.split_last() {
        frame = rest;
    }
    if !frame.ends_with(&[0xff, 0xd9]) {
        return Err("it is cut short, its end marker is missing".into());
    }
    let signed = read_siz(frame, shape)?;
    if shape.pixels() > MAX_BLANK_PIXELS.max(frame.len().saturating_mul(1024)) {
        return Err("it has too few bytes for its number of pixels".into());
    }
    let settings = DecodeSettings { strict: true, ..DecodeSettings::default() };
    let image = hayro_jpeg2000::Image::new(frame, &settings).map_err(|e| e.to_string())?;
    let mut context = DecoderContext::default();
    let decoded = image.decode(&mut context).map_err(|e| e.to_string())?;
    let mut samples = vec![0; shape.pixels() * shape.samples];
    for (c, (component, signed)) in decoded.components().iter().zip(signed).enumerate() {
        // The decoder treats every component as unsigned, and shifts it up by half its range.
        let shift = if signed { 1 << (component.bit_depth() - 1) } else { 0 };
        let of = samples.iter_mut().skip(c).step_by(shape.samples);
        for (sample, value) in of.zip(component.samples()) {
            *sample = (value.round() as i32).saturating_sub(shift);
        }
    }
    Ok(samples)
}

/// Reads the codestream's SIZ header (ITU T.800, A.5.1): which components are signed. The size must be that
/// of `shape`, the number of tiles small.
fn read_siz(frame: &[u8], shape: &Shape) -> Result<Vec<bool>, String> {
    let Some(header) = frame.strip_prefix(b"\xff\x4f\xff\x51") else {
        return Err("it does not start with a codestream header".into());
    };
    let word = |at: usize| {
        let bytes = header.get(at..).and_then(|rest| rest.first_chunk());
        bytes.map(|&bytes| u64::from(u32::from_be_bytes(bytes))).ok_or("its header is cut short")
    };
    let (width, height) = (word(4)?, word(8)?);
    let (left, top) = (word(12)?, word(16)?);
    let (tile_width, tile_height) = (word(20)?, word(24)?);
    let size = (width.saturating_sub(left), height.saturating_sub(top));
    if size != (shape.columns as u64, shape.rows as u64) {
        return Err(other_size(size.0, size.1));
    }
    let tiles = |side: u64, tile: u64| side.checked_div(tile).unwrap_or(u64::MAX);
    if tiles(width, tile_width).saturating_mul(tiles(height, tile_height)) > 1 << 16 {
        return Err("it has more tiles than a codestream may have".into());
    }
    let components = header.get(38..).unwrap_or_default();
    let (components, _) = components.as_chunks::<3>();
    let components = components.get(..shape.samples).ok_or("its header is cut short")?;
    let count = header.get(36..38).map(|n| (usize::from(n[0]) << 8) | usize::from(n[1]));
    if count != Some(shape.samples) {
        return Err("it has another number of components than the file's header states".into());
    }
    if components.iter().any(|&[depth, x, y]| (depth & 0x7f) > 15 || (x, y) != (1, 1)) {
        return Err("its components have more than 16 bits, or are of different sizes".into());
    }
    Ok(components.iter().map(|[depth, ..]| depth & 0x80 != 0).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pack_bits_are_decoded() {
        // A run, a literal, a byte without meaning.
        let packed = [254, 7, 128, 1, 8, 9, 0, 5];
        assert_eq!(unpack_bits(&packed, 6).unwrap(), [7, 7, 7, 8, 9, 5]);
        assert_eq!(unpack_bits(&packed, 2).unwrap(), [7, 7]);
        assert_eq!(unpack_bits(&packed, 7), None);
        assert_eq!(unpack_bits(&[3, 1], 1), None);
        assert_eq!(unpack_bits(&[200], 1), None);
    }

    #[test]
    fn unsupported_syntaxes_are_named_with_a_remedy() {
        for (uid, kind) in [
            ("1.2.840.10008.1.2.4.80", "JPEG-LS"),
            ("1.2.840.10008.1.2.2", "big endian"),
            ("1.2.840.10008.1.2.1.99", "deflated"),
            ("1.2.840.10008.1.2.4.201", "HTJ2K"),
            ("1.2.840.10008.1.2.4.102", "MPEG"),
            ("1.2.3", "unknown way"),
        ] {
            let cause = Syntax::named(uid).unwrap_err();
            assert!(cause.contains(kind) && cause.contains("gdcmconv --raw"), "{cause}");
        }
    }
}
