//! Frames that are compressed by JPEG 2000 (ITU T.800).

use hayro_jpeg2000::{DecodeSettings, DecoderContext};

use super::limits::{MAX_BLANK_PIXELS, check_size};
use super::shape::Shape;
use super::syntax::{HTJ2K_REMEDY, REMEDY};

/// The first box of a JP2 file, in which some programs wrap the codestream.
const JP2: &[u8] = b"\0\0\0\x0cjP  ";
/// The marker that starts a codestream, and that of its header SIZ.
const SOC_SIZ: &[u8] = b"\xff\x4f\xff\x51";

/// Whether `frame` starts as JPEG 2000 does.
pub(super) fn is_jpeg_2000(frame: &[u8]) -> bool {
    frame.starts_with(JP2) || frame.starts_with(SOC_SIZ)
}

/// A codestream, and what its header says of its samples.
pub(super) struct Codestream<'a> {
    bytes: &'a [u8],
    /// Bits of the first component, which are those of all.
    pub precision: u16,
    /// Whether each component is signed.
    signed: Vec<bool>,
}

/// Finds the codestream in `frame`, and checks that [`Codestream::decode`] supports it.
pub(super) fn check<'a>(frame: &'a [u8], shape: &Shape) -> Result<Codestream<'a>, String> {
    let bytes = codestream(frame)?;
    let components = read_siz(bytes, shape)?;
    let precision = u16::from(components[0] & 0x7f) + 1;
    if shape.pixels() > MAX_BLANK_PIXELS.max(bytes.len().saturating_mul(1024)) {
        return Err("it has too few bytes for its number of pixels".into());
    }
    let signed = components.iter().map(|depth| depth & 0x80 != 0).collect();
    Ok(Codestream { bytes, precision, signed })
}

/// The codestream of a frame, without the boxes around it.
fn codestream(frame: &[u8]) -> Result<&[u8], String> {
    if !frame.starts_with(JP2) {
        return Ok(frame);
    }
    let mut rest = frame;
    while let Some((header, _)) = rest.split_first_chunk::<8>() {
        let [a, b, c, d, kind @ ..] = *header;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if &kind == b"jp2c" {
            // Length 1 stands for one of 64 bits after the kind.
            return Ok(&rest[if length == 1 { rest.len().min(16) } else { 8 }..]);
        }
        rest = rest.get(length.max(8)..).unwrap_or_default();
    }
    Err("it is a JP2 file without a codestream".into())
}

/// Reads the codestream's SIZ header (A.5.1): the depth of each component, whose highest bit says whether it is
/// signed. The size must be that of `shape`, the number of tiles small.
fn read_siz(codestream: &[u8], shape: &Shape) -> Result<Vec<u8>, String> {
    let Some(header) = codestream.strip_prefix(SOC_SIZ) else {
        return Err("it does not start with a codestream header".into());
    };
    let word = |at: usize| {
        let bytes = header.get(at..).and_then(|rest| rest.first_chunk());
        bytes.map(|&bytes| u64::from(u32::from_be_bytes(bytes))).ok_or("its header is cut short")
    };
    // Bit 14 of the capabilities: the stream needs a decoder of Part 15.
    if header.get(2).is_some_and(|capabilities| capabilities & 0x40 != 0) {
        return Err(format!("it is HTJ2K, which is not supported; {HTJ2K_REMEDY}"));
    }
    let (width, height) = (word(4)?, word(8)?);
    let (left, top) = (word(12)?, word(16)?);
    let (tile_width, tile_height) = (word(20)?, word(24)?);
    let size = [width.saturating_sub(left), height.saturating_sub(top)];
    let tiles = |side: u64, tile: u64| side.checked_div(tile).unwrap_or(u64::MAX);
    if tiles(width, tile_width).saturating_mul(tiles(height, tile_height)) > 1 << 16 {
        return Err("it has more tiles than a codestream may have".into());
    }
    let count = header.get(36..38).ok_or("its header is cut short")?;
    let count = usize::from(u16::from_be_bytes([count[0], count[1]]));
    check_size(size, count, shape)?;
    let (components, _) = header[38..].as_chunks::<3>();
    let components = components.get(..count).ok_or("its header is cut short")?;
    let first = components[0][0] & 0x7f;
    if components.iter().any(|&[depth, x, y]| depth & 0x7f != first || (x, y) != (1, 1)) {
        return Err("its components have different sizes, or different numbers of bits".into());
    }
    if first > 15 {
        return Err("its components have more than 16 bits".into());
    }
    let depths = components.iter().map(|[depth, ..]| *depth).collect();
    // The decoder takes any transform for the one of Part 1.
    match color_transform(codestream) {
        Some(0 | 1) => Ok(depths),
        Some(_) => {
            Err(format!("its color transform is one of Part 2, which is not supported; {REMEDY}"))
        }
        None => Err("its header has no coding style".into()),
    }
}

/// The multiple component transform of the header COD (A.6.1).
fn color_transform(codestream: &[u8]) -> Option<u8> {
    let mut at = 2;
    loop {
        let &[0xff, marker, high, low] = codestream.get(at..at + 4)? else { return None };
        match marker {
            0x52 => return codestream.get(at + 8).copied(),
            // The first tile.
            0x90 => return None,
            _ => at += 2 + usize::from(u16::from_be_bytes([high, low])),
        }
    }
}

impl Codestream<'_> {
    /// Decodes the frame. The samples of each pixel are adjacent; the decoder reverses the color transform of
    /// the codestream.
    pub fn decode(&self, shape: &Shape) -> Result<Vec<i32>, String> {
        // Fragments are padded; the decoder does not miss what a codestream without an end lacks.
        let end = self.bytes.windows(2).rposition(|pair| pair == [0xff, 0xd9]);
        let end = end.filter(|end| self.bytes.len() - end <= 10);
        let bytes = &self.bytes[..end.ok_or("it is cut short, its end marker is missing")? + 2];
        let settings = DecodeSettings { strict: true, ..DecodeSettings::default() };
        let image = hayro_jpeg2000::Image::new(bytes, &settings).map_err(|e| e.to_string())?;
        let mut context = DecoderContext::default();
        let decoded = image.decode(&mut context).map_err(|e| e.to_string())?;
        let mut samples = vec![0; shape.pixels() * shape.samples];
        for (c, (component, signed)) in decoded.components().iter().zip(&self.signed).enumerate() {
            // The decoder treats every component as unsigned, and shifts it up by half its range. After lossy
            // compression values may lie beyond the range.
            let shift = if *signed { 1 << (self.precision - 1) } else { 0 };
            let largest = ((1 << self.precision) - 1) as f32;
            let of = samples.iter_mut().skip(c).step_by(shape.samples);
            for (sample, value) in of.zip(component.samples()) {
                *sample = value.round().clamp(0.0, largest) as i32 - shift;
            }
        }
        Ok(samples)
    }
}
