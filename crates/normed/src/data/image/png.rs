//! PNG files: their chunks, and files whose end is missing.

use std::borrow::Cow;
use std::io::{Cursor, Read};

use flate2::read::ZlibDecoder;
use image::ImageFormat;

use super::common;
use super::header::ImageHeader;
use super::limits::check_size;
use super::options::ImageOptions;
use super::orientation::Orientation;
use super::pixels::Image;
use super::source::{Source, length, read_at};

const SIGNATURE_BYTES: usize = 8;
/// The last chunk, with its checksum.
const END: &[u8] = b"\0\0\0\0IEND\xaeB`\x82";
/// Maximum length of a chunk of text or EXIF that is read.
const MAX_TEXT: u64 = 16 << 20;

/// What the chunks of a PNG file say.
#[derive(Default)]
struct Chunks {
    /// The content of IHDR.
    header: Vec<u8>,
    exif: Option<Vec<u8>>,
    xmp: Option<Vec<u8>>,
    has_transparency: bool,
    has_end: bool,
}

/// Reads the chunks of a PNG file, and checks that [`decode`] supports it.
pub(super) fn check(
    source: &mut dyn Source,
    options: &ImageOptions,
) -> Result<ImageHeader, String> {
    let chunks = Chunks::read(source)?;
    let file_bytes = length(source)?;
    let (size, bits, samples) = chunks.shape()?;
    let row_bits = size[0] as u64 * samples * u64::from(bits);
    // Deflate makes at most 1,032 bytes of one.
    if row_bits.div_ceil(8) * size[1] as u64 > file_bytes * 1032 {
        return Err("claims more pixels than its bytes can hold".into());
    }
    if !chunks.has_end {
        // Whether all pixels are there shows only in decoding.
        decode(&read_at(source, 0, file_bytes as usize)?, options)?;
    }
    let decoder_bytes = (size[0] * size[1]) as u64 * (samples + 1) * u64::from(bits.div_ceil(8));
    let header = ImageHeader::new("PNG", size, bits, file_bytes, decoder_bytes);
    Ok(Orientation::turn_header(chunks.orientation(), options, header.with_range(options)))
}

/// Decodes a PNG file.
pub(super) fn decode(bytes: &[u8], options: &ImageOptions) -> Result<Image, String> {
    let chunks = Chunks::read(&mut Cursor::new(bytes))?;
    chunks.shape()?;
    let whole = if chunks.has_end { Cow::Borrowed(bytes) } else { Cow::Owned(with_end(bytes)) };
    let image = common::decode(&whole, ImageFormat::Png, options).map_err(|cause| match chunks
        .has_end
    {
        true => cause,
        false => {
            "cannot be decoded: the file is cut short, some of its pixels are missing. Copy or \
                      download it again"
                .into()
        }
    })?;
    Ok(Orientation::turn(chunks.orientation(), options, image))
}

impl Chunks {
    fn read(source: &mut dyn Source) -> Result<Self, String> {
        let mut chunks = Self::default();
        let mut at = SIGNATURE_BYTES as u64;
        loop {
            let start = read_at(source, at, 8)?;
            let Some((&[a, b, c, d, kind @ ..], _)) = start.split_first_chunk::<8>() else { break };
            let length = u64::from(u32::from_be_bytes([a, b, c, d]));
            let mut content = || read_at(source, at + 8, length.min(MAX_TEXT) as usize);
            match &kind {
                b"IHDR" if chunks.header.is_empty() => chunks.header = content()?,
                b"tRNS" => chunks.has_transparency = true,
                b"eXIf" => chunks.exif = Some(content()?),
                // The first that states an orientation counts: many long ones would take long.
                b"tEXt" | b"zTXt" | b"iTXt" if chunks.orientation().is_none() => {
                    chunks.read_text(kind, &content()?);
                }
                b"IEND" => {
                    chunks.has_end = true;
                    break;
                }
                _ => {}
            }
            at += 12 + length;
        }
        Ok(chunks)
    }

    /// Reads a chunk of text, if it is one in which programs store EXIF or XMP.
    fn read_text(&mut self, kind: [u8; 4], content: &[u8]) {
        let Some(end) = content.iter().position(|&byte| byte == 0) else { return };
        let (key, rest) = (&content[..end], &content[end + 1..]);
        let text = || match (&kind, rest) {
            (b"tEXt", text) => Some(text.to_owned()),
            (b"zTXt", [0, text @ ..]) => inflate(text),
            (b"iTXt", [compressed, 0, rest @ ..]) => {
                // After the language and the translated key.
                let text = rest.splitn(3, |&byte| byte == 0).nth(2)?;
                if *compressed == 1 { inflate(text) } else { Some(text.to_owned()) }
            }
            _ => None,
        };
        match key {
            b"XML:com.adobe.xmp" => self.xmp = text(),
            // As ImageMagick writes it.
            b"Raw profile type exif" if self.exif.is_none() => {
                self.exif = text().and_then(|text| from_raw_profile(&text));
            }
            _ => {}
        }
    }

    fn orientation(&self) -> Option<Orientation> {
        Orientation::from_metadata(self.exif.as_deref(), self.xmp.as_deref())
    }

    /// Width and height, bits of a sample, and decoded samples of a pixel.
    fn shape(&self) -> Result<([usize; 2], u32, u64), String> {
        let Some((&[a, b, c, d, e, f, g, h, bits, color, ..], _)) =
            self.header.split_first_chunk::<13>()
        else {
            return Err("cannot be decoded: its header is missing".into());
        };
        let samples = match (color, bits) {
            (0, 1 | 2 | 4 | 8 | 16) => 1,
            (2, 8 | 16) => 3,
            (3, 1 | 2 | 4 | 8) => 3,
            (4, 8 | 16) => 2,
            (6, 8 | 16) => 4,
            _ => {
                return Err(format!(
                    "cannot be decoded: it claims {bits} bits of color type {color}, which PNG does not have"
                ));
            }
        };
        let [width, height] = [[a, b, c, d], [e, f, g, h]].map(u32::from_be_bytes);
        let samples = samples + u64::from(self.has_transparency);
        let size = check_size(width.into(), height.into(), samples * u64::from(bits.div_ceil(8)))?;
        Ok((size, bits.into(), samples))
    }
}

fn inflate(compressed: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    ZlibDecoder::new(compressed).take(MAX_TEXT).read_to_end(&mut text).ok()?;
    Some(text)
}

/// The bytes of a raw profile: hexadecimal digits, after three lines.
fn from_raw_profile(text: &[u8]) -> Option<Vec<u8>> {
    let lines = text.split(|&byte| byte == b'\n').skip(3);
    let digits: Vec<u8> = lines.flatten().copied().collect();
    let byte = |pair: &[u8; 2]| {
        let digit = |of: u8| char::from(of).to_digit(16);
        Some((16 * digit(pair[0])? + digit(pair[1])?) as u8)
    };
    let (pairs, _) = digits.as_chunks::<2>();
    pairs.iter().map(byte).collect()
}

/// The same file, with a last chunk. Pixels that are in an incomplete chunk are kept.
fn with_end(bytes: &[u8]) -> Vec<u8> {
    let mut at = SIGNATURE_BYTES;
    let mut whole = bytes.to_vec();
    while let Some(&[a, b, c, d, e, f, g, h]) = bytes.get(at..at + 8) {
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let next = at.saturating_add(length).saturating_add(12);
        if next <= bytes.len() {
            at = next;
            continue;
        }
        whole.truncate(at);
        if [e, f, g, h] == *b"IDAT" {
            let content = &bytes[at + 4..bytes.len().min(at + 8 + length)];
            whole.extend(((content.len() - 4) as u32).to_be_bytes());
            whole.extend(content);
            let mut checksum = flate2::Crc::new();
            checksum.update(content);
            whole.extend(checksum.sum().to_be_bytes());
        }
        whole.extend(END);
        return whole;
    }
    whole.truncate(at);
    whole.extend(END);
    whole
}
