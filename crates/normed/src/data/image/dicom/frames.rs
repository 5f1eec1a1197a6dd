//! The samples of one frame: found in the file, and decoded.

use std::borrow::Cow;

use hayro_jpeg2000::{DecodeSettings, DecoderContext};
use jpeg_decoder::{CodingProcess, ColorTransform, Decoder};

use super::elements::{Element, Items};
use super::shape::Shape;
use super::stored::samples;
use crate::data::image::jpeg;
use crate::data::panics;

/// How a file stores its elements and pixels (PS3.5, chapter 10).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Syntax {
    Implicit,
    Explicit,
    Rle,
    Jpeg,
    Jpeg2000,
}

/// What is not read, and what its transfer syntax's name begins with.
const REFUSED: [(&str, &str); 8] = [
    ("1.2.840.10008.1.2.1.99", "deflated"),
    ("1.2.840.10008.1.2.2", "in big endian"),
    ("1.2.840.10008.1.2.4.5", "compressed by a retired kind of JPEG"),
    ("1.2.840.10008.1.2.4.80", "compressed by JPEG-LS"),
    ("1.2.840.10008.1.2.4.81", "compressed by JPEG-LS"),
    ("1.2.840.10008.1.2.4.10", "compressed by MPEG"),
    ("1.2.840.10008.1.2.4.11", "compressed by JPEG XL"),
    ("1.2.840.10008.1.2.4.20", "compressed by HTJ2K"),
];

const REMEDY: &str = "make it Explicit VR Little Endian: gdcmconv --raw IN OUT";

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
                let kind = REFUSED.iter().find(|(begin, _)| uid.starts_with(begin));
                let kind = kind.map_or("in a way not known", |(_, kind)| kind);
                Err(format!("is {kind} (transfer syntax {uid}), which is not read here; {REMEDY}"))
            }
        }
    }

    pub fn is_compressed(self) -> bool {
        !matches!(self, Self::Implicit | Self::Explicit)
    }

    /// The samples in `frame`, each pixel's together: the bits that were allocated, not yet cut.
    pub fn decode(self, frame: &[u8], shape: &Shape) -> Result<Vec<i32>, String> {
        let samples = match self {
            Self::Implicit | Self::Explicit => raw(frame, shape),
            Self::Rle => rle(frame, shape)?,
            Self::Jpeg => guarded("JPEG", || decode_jpeg(frame, shape))?,
            Self::Jpeg2000 => guarded("JPEG 2000", || decode_jpeg_2000(frame, shape))?,
        };
        match samples.len() == shape.pixels() * shape.samples {
            true => Ok(samples),
            false => Err("decodes to another number of samples than its header says".into()),
        }
    }
}

/// Decodes a frame by a crate of others, which may panic on a damaged one. What would be too large for
/// the memory is looked for before.
fn guarded<T>(kind: &str, decode: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    panics::catch(decode).map_err(|cause| format!("its {kind} frame cannot be decoded: {cause}"))
}

/// The bytes of frame `n` of `frames` that are not compressed; all of them must be there.
pub(super) fn native<'a>(
    pixels: &Element<'a>,
    shape: &Shape,
    n: usize,
    frames: usize,
) -> Result<&'a [u8], String> {
    if pixels.undefined {
        return Err("its pixels are in fragments, which its transfer syntax has none of".into());
    }
    let samples = if shape.halved { 2 } else { shape.samples };
    let length = shape.pixels() * samples * usize::from(shape.bits_allocated / 8);
    let there = pixels.value.len();
    // No more frames than bytes, and of each less than the memory: see `Image::open`.
    let all = length as u128 * frames as u128;
    if all > there as u128 {
        return Err(format!(
            "is cut short: its pixels take {all} bytes, of which {there} are there"
        ));
    }
    Ok(&pixels.value[n * length..][..length])
}

/// The bytes of frame `n` of `frames` that are compressed (PS3.5, A.4).
pub(super) fn fragments<'a>(
    pixels: &Element<'a>,
    n: usize,
    frames: usize,
) -> Result<Cow<'a, [u8]>, String> {
    if !pixels.undefined {
        return Err("its pixels are in no fragments, which its transfer syntax has".into());
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
    // Where each frame begins, counted from the first fragment's tag on.
    let (starts, _) = table.as_chunks::<4>();
    let start = |n: usize| starts.get(n).map(|&start| u64::from(u32::from_le_bytes(start)));
    let Some(begin) = start(n).filter(|_| starts.len() == frames) else {
        return Err(format!(
            "has {} fragments for {frames} frames, and no table that says where each begins",
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

fn raw(frame: &[u8], shape: &Shape) -> Vec<i32> {
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

/// PS3.5, annex G: each byte of each sample is a segment of its own, the highest first.
fn rle(frame: &[u8], shape: &Shape) -> Result<Vec<i32>, String> {
    let cut = || "its RLE frame is cut short".to_owned();
    let (header, _) = frame.first_chunk::<64>().ok_or_else(cut)?.as_chunks::<4>();
    let header: Vec<_> = header.iter().map(|&word| u32::from_le_bytes(word) as usize).collect();
    let bytes = usize::from(shape.bits_allocated / 8);
    let segments = shape.samples * bytes;
    if header[0] != segments {
        return Err(format!("its RLE frame has {} segments, and not {segments}", header[0]));
    }
    // A run of two bytes stands for 128 at most.
    if shape.pixels() > frame.len().saturating_mul(64) {
        return Err(cut());
    }
    let mut samples = vec![0; shape.pixels() * shape.samples];
    for segment in 0..segments {
        let packed = frame.get(header[1 + segment]..).ok_or_else(cut)?;
        let plane = unpacked(packed, shape.pixels()).ok_or_else(cut)?;
        let of = samples.iter_mut().skip(segment / bytes).step_by(shape.samples);
        for (sample, byte) in of.zip(plane) {
            *sample = (*sample << 8) | i32::from(byte);
        }
    }
    Ok(samples)
}

/// `length` bytes out of PackBits (G.3.2).
fn unpacked(mut packed: &[u8], length: usize) -> Option<Vec<u8>> {
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
    // Colors are made of samples by who knows what they are. Said to be RGB, samples come as they are, each
    // pixel's together; said to be of no kind, they would come row by row, each component's together.
    decoder.set_color_transform(ColorTransform::RGB);
    let said = |e: jpeg_decoder::Error| match e {
        jpeg_decoder::Error::Unsupported(_) => format!("{e}; {REMEDY}"),
        _ => e.to_string(),
    };
    decoder.read_info().map_err(said)?;
    let info = decoder.info().ok_or("it has no header")?;
    if (usize::from(info.width), usize::from(info.height)) != (shape.columns, shape.rows) {
        return Err(other_size(info.width.into(), info.height.into()));
    }
    // A sample takes a bit at least, a block of 64 two: more would be a claim that only fills the memory.
    let most = match info.coding_process {
        CodingProcess::Lossless => 8,
        CodingProcess::DctSequential => 8 * 32,
        CodingProcess::DctProgressive => {
            return Err("progressive JPEG has no place in DICOM".into());
        }
    };
    if shape.pixels() > frame.len().saturating_mul(most) {
        return Err("it is shorter than so many pixels can be".into());
    }
    let decoded = decoder.decode().map_err(said)?;
    let n = shape.pixels() * shape.samples;
    if decoded.len() == n {
        return Ok(samples(&decoded, 8));
    }
    let (words, _) = decoded.as_chunks::<2>();
    Ok(words.iter().map(|&word| u16::from_ne_bytes(word).into()).collect())
}

fn other_size(width: u64, height: u64) -> String {
    format!("it has {width} x {height} pixels, another number than the file's header says")
}

/// The pixels that JPEG 2000 may make of few bytes: it has no least number of bytes a pixel.
const BLANK: usize = 4 << 20;

fn decode_jpeg_2000(frame: &[u8], shape: &Shape) -> Result<Vec<i32>, String> {
    let mut frame = frame;
    // Fragments are filled up to an even length.
    while let Some((0, rest)) = frame.split_last() {
        frame = rest;
    }
    if !frame.ends_with(&[0xff, 0xd9]) {
        return Err("it is cut short, its end marker is missing".into());
    }
    let signed = siz(frame, shape)?;
    if shape.pixels() > BLANK.max(frame.len().saturating_mul(1024)) {
        return Err("it is shorter than so many pixels should be".into());
    }
    let settings = DecodeSettings { strict: true, ..DecodeSettings::default() };
    let image = hayro_jpeg2000::Image::new(frame, &settings).map_err(|e| e.to_string())?;
    let mut context = DecoderContext::default();
    let decoded = image.decode(&mut context).map_err(|e| e.to_string())?;
    let mut samples = vec![0; shape.pixels() * shape.samples];
    for (c, (component, signed)) in decoded.components().iter().zip(signed).enumerate() {
        // The decoder takes every component for unsigned, and moves it up by half its range.
        let moved = if signed { 1 << (component.bit_depth() - 1) } else { 0 };
        let of = samples.iter_mut().skip(c).step_by(shape.samples);
        for (sample, value) in of.zip(component.samples()) {
            *sample = (value.round() as i32).saturating_sub(moved);
        }
    }
    Ok(samples)
}

/// Which components are signed, by the codestream's header (ITU T.800, A.5.1), if it is a picture of
/// this shape in one tile or in few.
fn siz(frame: &[u8], shape: &Shape) -> Result<Vec<bool>, String> {
    let Some(header) = frame.strip_prefix(b"\xff\x4f\xff\x51") else {
        return Err("it does not begin as a codestream does".into());
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
        return Err("it has more tiles than a codestream may".into());
    }
    let components = header.get(38..).unwrap_or_default();
    let (components, _) = components.as_chunks::<3>();
    let components = components.get(..shape.samples).ok_or("its header is cut short")?;
    let count = header.get(36..38).map(|n| (usize::from(n[0]) << 8) | usize::from(n[1]));
    if count != Some(shape.samples) {
        return Err("it has another number of components than the file's header says".into());
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
    fn pack_bits() {
        // A run, a literal, a byte that says nothing.
        let packed = [254, 7, 128, 1, 8, 9, 0, 5];
        assert_eq!(unpacked(&packed, 6).unwrap(), [7, 7, 7, 8, 9, 5]);
        assert_eq!(unpacked(&packed, 2).unwrap(), [7, 7]);
        assert_eq!(unpacked(&packed, 7), None);
        assert_eq!(unpacked(&[3, 1], 1), None);
        assert_eq!(unpacked(&[200], 1), None);
    }

    #[test]
    fn what_is_not_read_is_named_with_a_remedy() {
        for (uid, kind) in [
            ("1.2.840.10008.1.2.4.80", "JPEG-LS"),
            ("1.2.840.10008.1.2.2", "big endian"),
            ("1.2.840.10008.1.2.1.99", "deflated"),
            ("1.2.840.10008.1.2.4.201", "HTJ2K"),
            ("1.2.840.10008.1.2.4.102", "MPEG"),
            ("1.2.3", "not known"),
        ] {
            let cause = Syntax::named(uid).unwrap_err();
            assert!(cause.contains(kind) && cause.contains("gdcmconv --raw"), "{cause}");
        }
    }
}
