//! How the pixels of a page are stored, by its tags.

use super::codec::{Codec, Predictor};
use super::directory::Directory;
use super::errors::unsupported;
use super::photometric::{Alpha, Colors, is_ycbcr};
use crate::data::image::limits::check_size;
use crate::data::image::orientation::Orientation;

const WIDTH: u16 = 256;
const HEIGHT: u16 = 257;
const BITS: u16 = 258;
const FILL_ORDER: u16 = 266;
const STRIP_OFFSETS: u16 = 273;
const ORIENTATION: u16 = 274;
const SAMPLES: u16 = 277;
const ROWS_PER_STRIP: u16 = 278;
const STRIP_BYTES: u16 = 279;
const PLANAR: u16 = 284;
const TILE_WIDTH: u16 = 322;
const TILE_HEIGHT: u16 = 323;
const TILE_OFFSETS: u16 = 324;
const TILE_BYTES: u16 = 325;
const SAMPLE_FORMAT: u16 = 339;

/// How the pixels of a page are stored.
pub(super) struct Layout {
    pub width: usize,
    pub height: usize,
    /// Bits of each sample.
    pub bits: u32,
    /// Samples of a pixel, those that are not shown included.
    pub samples: usize,
    pub kind: SampleKind,
    pub colors: Colors,
    /// Whether the colors are stored as YCbCr. Those of JPEG chunks are converted by their decoder.
    pub is_ycbcr: bool,
    pub alpha: Option<Alpha>,
    /// Whether each sample has a plane of its own.
    pub is_planar: bool,
    pub codec: Codec,
    pub predictor: Predictor,
    /// Whether the first pixel is in the lowest bit of a byte.
    pub is_low_bit_first: bool,
    pub is_big_endian: bool,
    pub orientation: Option<Orientation>,
    /// Width and height of a chunk, a tile or a strip.
    pub chunk: [usize; 2],
    /// Offset and length of each chunk, those of the first plane first.
    pub chunks: Vec<(u64, u64)>,
}

/// The number type of samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SampleKind {
    Unsigned,
    Signed,
    Float,
}

impl Layout {
    /// Reads and checks the tags. `file_bytes` is the length of the file.
    pub fn read(tags: &Directory, file_bytes: u64) -> Result<Self, String> {
        let required = |tag, name: &str| {
            tags.number(tag).ok_or_else(|| format!("cannot be decoded: its {name} is missing"))
        };
        let (width, height) = (required(WIDTH, "ImageWidth")?, required(HEIGHT, "ImageLength")?);
        let samples = tags.number(SAMPLES).unwrap_or(1);
        if !(1..=64).contains(&samples) {
            return Err(format!("cannot be decoded: its pixels have {samples} samples"));
        }
        let bits = uniform(tags.numbers(BITS).unwrap_or(&[1]), "bits")?;
        let kind = match uniform(tags.numbers(SAMPLE_FORMAT).unwrap_or(&[1]), "sample formats")? {
            1 | 4 => SampleKind::Unsigned,
            2 => SampleKind::Signed,
            3 => SampleKind::Float,
            _ => return Err(unsupported("has complex numbers")),
        };
        check_bits(bits, kind)?;
        let (bits, samples) = (bits as u32, samples as usize);
        let codec = Codec::read(tags, bits)?;
        let colors = Colors::read(tags, bits, &codec)?;
        let alpha = Alpha::read(tags, samples, &colors)?;
        let decoded_bytes = if bits <= 8 {
            1
        } else if bits <= 16 {
            2
        } else {
            8
        };
        let size = check_size(width, height, (samples as u64 * decoded_bytes).max(3))?;
        let mut layout = Self {
            width: size[0],
            height: size[1],
            bits,
            samples,
            kind,
            colors,
            is_ycbcr: is_ycbcr(tags),
            alpha,
            is_planar: samples > 1 && tags.number(PLANAR) == Some(2),
            codec,
            predictor: Predictor::read(tags)?,
            is_low_bit_first: tags.number(FILL_ORDER) == Some(2),
            is_big_endian: tags.is_big_endian,
            orientation: tags.number(ORIENTATION).and_then(Orientation::from_number),
            chunk: [0, 0],
            chunks: Vec::new(),
        };
        layout.check_colors()?;
        layout.read_chunks(tags, file_bytes)?;
        Ok(layout)
    }

    /// Samples of a pixel that are in one chunk.
    pub fn chunk_samples(&self) -> usize {
        if self.is_planar { 1 } else { self.samples }
    }

    /// Bytes of a row of a chunk that is `width` pixels wide.
    pub fn row_bytes(&self, width: usize) -> usize {
        (width * self.chunk_samples() * self.bits as usize).div_ceil(8)
    }

    /// Chunks across, and chunks of a plane.
    pub fn chunk_counts(&self) -> (usize, usize) {
        let across = self.width.div_ceil(self.chunk[0]);
        (across, across * self.height.div_ceil(self.chunk[1]))
    }

    /// The rows that chunk `i` of a plane stores. The last strip ends with the image; tiles do not.
    pub fn stored_rows(&self, i: usize) -> usize {
        let (across, _) = self.chunk_counts();
        let top = i / across * self.chunk[1];
        if self.chunk[0] == self.width {
            self.chunk[1].min(self.height - top)
        } else {
            self.chunk[1]
        }
    }

    /// Checks that colors, number type and predictor go together.
    fn check_colors(&self) -> Result<(), String> {
        let is_gray = matches!(self.colors, Colors::Gray { .. });
        if self.kind != SampleKind::Unsigned
            && !matches!(self.colors, Colors::Gray { .. } | Colors::Rgb)
        {
            return Err(unsupported("has colors that are not unsigned numbers"));
        }
        if self.bits > 16 && !matches!(self.colors, Colors::Gray { .. } | Colors::Rgb) {
            return Err(unsupported(&format!("has colors of {} bits", self.bits)));
        }
        if let Colors::YCbCr(_) = self.colors
            && (self.bits != 8 || self.is_planar || self.samples != 3)
        {
            return Err(unsupported("has YCbCr colors that are not three samples of 8 bits"));
        }
        if matches!(self.codec, Codec::Jpeg(_))
            && (self.bits != 8 || self.kind != SampleKind::Unsigned)
        {
            return Err(unsupported(&format!("has JPEG chunks of {} bits", self.bits)));
        }
        if matches!(self.codec, Codec::Fax(_)) && (self.bits != 1 || self.samples != 1 || !is_gray)
        {
            return Err(unsupported("has CCITT compression and colors"));
        }
        match self.predictor {
            Predictor::Horizontal if !matches!(self.bits, 8 | 16 | 32 | 64) => {
                Err(unsupported(&format!("has a predictor and {} bits", self.bits)))
            }
            Predictor::FloatingPoint if self.kind != SampleKind::Float => {
                Err(unsupported("has a floating-point predictor and whole numbers"))
            }
            _ => Ok(()),
        }
    }

    /// Reads where the chunks are.
    fn read_chunks(&mut self, tags: &Directory, file_bytes: u64) -> Result<(), String> {
        let (offsets, lengths) = match tags.numbers(TILE_OFFSETS) {
            Some(offsets) => {
                let side = |tag| tags.number(tag).unwrap_or(0) as usize;
                self.chunk = [side(TILE_WIDTH), side(TILE_HEIGHT)];
                (Some(offsets), tags.numbers(TILE_BYTES))
            }
            None => {
                let rows = tags.number(ROWS_PER_STRIP).unwrap_or(u64::MAX);
                self.chunk = [self.width, rows.min(self.height as u64) as usize];
                (tags.numbers(STRIP_OFFSETS), tags.numbers(STRIP_BYTES))
            }
        };
        let offsets = offsets.ok_or("cannot be decoded: its StripOffsets are missing")?;
        let [width, height] = self.chunk;
        if width == 0 || height == 0 {
            return Err("cannot be decoded: its chunks have no pixels".into());
        }
        check_size(width as u64, height as u64, (self.row_bytes(width) / width).max(1) as u64)?;
        let (_, per_plane) = self.chunk_counts();
        let count = if self.is_planar { per_plane * self.samples } else { per_plane };
        if offsets.len() < count {
            return Err(format!("cannot be decoded: it has {} of {count} chunks", offsets.len()));
        }
        for (i, &offset) in offsets[..count].iter().enumerate() {
            let length = match (&self.codec, lengths.and_then(|lengths| lengths.get(i))) {
                // Some programs write wrong lengths of what is not compressed.
                (Codec::None, _) => self.raw_bytes(i % per_plane) as u64,
                (_, Some(length)) => *length,
                (_, None) => file_bytes.saturating_sub(offset),
            };
            if offset.checked_add(length).is_none_or(|end| end > file_bytes) {
                return Err("cannot be decoded: the file is cut short, some of its pixels are missing. Copy or \
                            download it again"
                    .into());
            }
            self.chunks.push((offset, length));
        }
        Ok(())
    }

    /// Bytes of chunk `i` of a plane without compression.
    pub fn raw_bytes(&self, i: usize) -> usize {
        let rows = self.stored_rows(i);
        match self.colors {
            // Units of brightness samples, then one Cb and one Cr.
            Colors::YCbCr([across, down]) => {
                let units = self.chunk[0].div_ceil(across) * rows.div_ceil(down);
                units * (across * down + 2)
            }
            _ => rows * self.row_bytes(self.chunk[0]),
        }
    }
}

/// The number that all samples share.
fn uniform(numbers: &[u64], what: &str) -> Result<u64, String> {
    match numbers.iter().all(|number| *number == numbers[0]) {
        true => Ok(numbers[0]),
        false => Err(unsupported(&format!("has samples of different {what}"))),
    }
}

fn check_bits(bits: u64, kind: SampleKind) -> Result<(), String> {
    let is_read = match kind {
        SampleKind::Unsigned => matches!(bits, 1..=16 | 32 | 64),
        SampleKind::Signed => matches!(bits, 8 | 16 | 32 | 64),
        SampleKind::Float => matches!(bits, 16 | 32 | 64),
    };
    let name = if kind == SampleKind::Float { "floating-point numbers" } else { "numbers" };
    if is_read { Ok(()) } else { Err(unsupported(&format!("has {name} of {bits} bits"))) }
}
