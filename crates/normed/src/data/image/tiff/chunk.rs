//! Decompresses a chunk, a strip or a tile, of a page.

use std::io::Read;

use hayro_ccitt::{DecodeSettings, DecoderContext, EncodingMode};
use libjpeg_turbo_rs::{Decoder, PixelFormat};
use weezl::decode::Configuration;
use weezl::{BitOrder, LzwStatus};

use super::codec::{Codec, Fax, Predictor};
use super::layout::Layout;
use super::photometric::Colors;
use crate::data::image::jpeg::{check_bytes, limits};

/// The bytes of chunk `i` of a plane, rows of `width` pixels each: decompressed, and without its predictor.
pub(super) fn decompress(layout: &Layout, i: usize, bytes: &[u8]) -> Result<Vec<u8>, String> {
    let length = layout.raw_bytes(i);
    let reversed;
    let bytes = match (&layout.codec, layout.is_low_bit_first) {
        (Codec::Jpeg(_), _) | (_, false) => bytes,
        (_, true) => {
            reversed = bytes.iter().map(|byte| byte.reverse_bits()).collect::<Vec<_>>();
            &reversed
        }
    };
    let rows = layout.stored_rows(i);
    let mut raw = match &layout.codec {
        Codec::None => bytes.to_vec(),
        Codec::Lzw => lzw(bytes, length)?,
        Codec::Deflate => {
            read_all(&mut flate2::read::ZlibDecoder::new(bytes), length).map_err(cause_of)?
        }
        Codec::PackBits => unpack_bits(bytes, length),
        Codec::Zstd => {
            let mut decoder = ruzstd::decoding::StreamingDecoder::new(bytes).map_err(cause_of)?;
            read_all(&mut decoder, length).map_err(cause_of)?
        }
        Codec::Jpeg(tables) => jpeg(layout, bytes, tables, rows)?,
        Codec::Fax(fax) => lines(*fax, [layout.chunk[0], rows], bytes)?,
    };
    if raw.len() < length {
        return Err("cannot be decoded: a strip or tile has too few pixels. Copy or download the file again"
            .into());
    }
    raw.truncate(length);
    undo_prediction(layout, &mut raw);
    Ok(raw)
}

fn cause_of(error: impl std::fmt::Display) -> String {
    format!("cannot be decoded: {error}")
}

/// At most `length` bytes. A stream that ends within them is no error: the caller counts them.
fn read_all(source: &mut impl Read, length: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(length as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn lzw(bytes: &[u8], length: usize) -> Result<Vec<u8>, String> {
    // Both kinds start with a clear code, 256 in 9 bits. Programs before TIFF 5.0 wrote the lowest bit first, and
    // made codes longer one entry later; libtiff recognizes them in the same way.
    let mut decoder = match bytes {
        [0, second, ..] if second & 1 == 1 => Configuration::new(BitOrder::Lsb, 8).build(),
        _ => Configuration::with_tiff_size_switch(BitOrder::Msb, 8).build(),
    };
    let mut out = vec![0; length.min(bytes.len().saturating_mul(4096))];
    let (mut read, mut written) = (0, 0);
    while written < out.len() {
        let result = decoder.decode_bytes(&bytes[read..], &mut out[written..]);
        read += result.consumed_in;
        written += result.consumed_out;
        match result.status.map_err(cause_of)? {
            LzwStatus::Ok => {}
            LzwStatus::NoProgress | LzwStatus::Done => break,
        }
    }
    out.truncate(written);
    Ok(out)
}

/// PackBits (TIFF 6.0, section 9).
fn unpack_bits(mut bytes: &[u8], length: usize) -> Vec<u8> {
    let mut out = Vec::new();
    while let (&[count, ref rest @ ..], true) = (bytes, out.len() < length) {
        bytes = match (count as i8, rest) {
            (-128, rest) => rest,
            (repeat @ ..0, [value, rest @ ..]) => {
                out.resize(out.len() + 1 + usize::from(repeat.unsigned_abs()), *value);
                rest
            }
            (copied, rest) => {
                let (values, rest) = rest.split_at(rest.len().min(copied.max(0) as usize + 1));
                out.extend_from_slice(values);
                rest
            }
        };
    }
    out
}

/// A chunk that is a JPEG image, which may lack its tables.
fn jpeg(layout: &Layout, bytes: &[u8], tables: &[u8], rows: usize) -> Result<Vec<u8>, String> {
    let samples = layout.chunk_samples();
    let (format, transform) = match (&layout.colors, samples) {
        (_, 1) => (PixelFormat::Grayscale, None),
        // Four samples of any meaning are not converted.
        (Colors::Cmyk | Colors::Rgb, 4) if !layout.is_ycbcr => (PixelFormat::Cmyk, None),
        (Colors::Rgb, 3) => (PixelFormat::Rgb, Some(u8::from(layout.is_ycbcr))),
        _ => {
            return Err(format!(
                "is a TIFF file with JPEG chunks of {samples} samples, which is not supported. Convert it to PNG"
            ));
        }
    };
    let whole = complete_jpeg(bytes, tables, transform);
    check_bytes(&whole)?;
    let mut decoder = Decoder::new_with_limits(&whole, limits()).map_err(cause_of)?;
    decoder.set_output_format(format);
    let decoded = decoder.decode_image().map_err(cause_of)?;
    if decoded.width < layout.chunk[0] || decoded.height < rows {
        return Err(format!(
            "cannot be decoded: a strip or tile is {} x {} pixels, not {} x {rows}",
            decoded.width, decoded.height, layout.chunk[0]
        ));
    }
    let (wide, narrow) = (decoded.width * samples, layout.chunk[0] * samples);
    Ok(decoded.data.chunks_exact(wide).flat_map(|row| &row[..narrow]).copied().collect())
}

/// The JPEG image of a chunk with the tables that all chunks share. A marker says whether its colors are transformed:
/// the tags decide that, and libtiff ignores the chunk's own markers, too.
fn complete_jpeg(bytes: &[u8], tables: &[u8], transform: Option<u8>) -> Vec<u8> {
    let mut rest = bytes.get(2..).unwrap_or_default();
    while let [0xff, 0xe0..=0xef, high, low, ..] = *rest {
        let length = 2 + usize::from(u16::from_be_bytes([high, low]));
        rest = rest.get(length..).unwrap_or_default();
    }
    let mut whole = b"\xff\xd8".to_vec();
    if let Some(transform) = transform {
        whole.extend(b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0");
        whole.push(transform);
    }
    // Without the start and the end of their image.
    whole.extend(tables.get(2..tables.len().saturating_sub(2)).unwrap_or_default());
    whole.extend(rest);
    whole
}

/// The lines of a CCITT image, in which 1 is black.
fn lines(fax: Fax, [width, rows]: [usize; 2], bytes: &[u8]) -> Result<Vec<u8>, String> {
    let settings = DecodeSettings {
        columns: width as u32,
        rows: rows as u32,
        end_of_block: true,
        end_of_line: matches!(fax, Fax::Group3 { .. }),
        rows_are_byte_aligned: fax == Fax::ModifiedHuffman,
        encoding: match fax {
            Fax::Group4 => EncodingMode::Group4,
            Fax::Group3 { two_dimensions: true } => EncodingMode::Group3_2D,
            Fax::Group3 { two_dimensions: false } | Fax::ModifiedHuffman => EncodingMode::Group3_1D,
        },
        strict: false,
    };
    let mut lines = Lines { width, bytes: Vec::new() };
    hayro_ccitt::decode(bytes, &mut lines, &mut DecoderContext::new(settings)).map_err(cause_of)?;
    Ok(lines.bytes)
}

/// Collects lines of bits.
struct Lines {
    width: usize,
    bytes: Vec<u8>,
}

impl hayro_ccitt::Decoder for Lines {
    fn push_row(&mut self, changes: &[u32]) {
        let start = self.bytes.len();
        self.bytes.resize(start + self.width.div_ceil(8), 0);
        let line = &mut self.bytes[start..];
        for black in changes.chunks(2) {
            let end = black.get(1).map_or(self.width, |end| *end as usize);
            for x in black[0] as usize..end.min(self.width) {
                line[x / 8] |= 0x80 >> (x % 8);
            }
        }
    }
}

/// Undoes the predictor of a chunk. Samples are in the byte order of the file before and after.
fn undo_prediction(layout: &Layout, raw: &mut [u8]) {
    let (width, samples) = (layout.chunk[0], layout.chunk_samples());
    let rows = raw.chunks_exact_mut(layout.row_bytes(width).max(1));
    match layout.predictor {
        Predictor::None => {}
        Predictor::Horizontal => {
            let length = layout.bits as usize / 8;
            rows.for_each(|row| add_left(row, samples, length, layout.is_big_endian));
        }
        Predictor::FloatingPoint => {
            let length = layout.bits as usize / 8;
            rows.for_each(|row| join_bytes(row, samples, length, layout.is_big_endian));
        }
    }
}

/// Adds to each sample of `length` bytes the one of the pixel to the left.
fn add_left(row: &mut [u8], samples: usize, length: usize, is_big_endian: bool) {
    for at in samples * length..row.len() {
        // The sums of the bytes of a sample, from its lowest on.
        if at % length != 0 {
            continue;
        }
        let mut carry = 0;
        for byte in 0..length {
            let byte = if is_big_endian { length - 1 - byte } else { byte };
            let sum =
                u16::from(row[at + byte]) + u16::from(row[at + byte - samples * length]) + carry;
            row[at + byte] = sum as u8;
            carry = sum >> 8;
        }
    }
}

/// Undoes the floating-point predictor: the highest bytes of all samples come first, and each byte is the
/// difference to the one a pixel before.
fn join_bytes(row: &mut [u8], samples: usize, length: usize, is_big_endian: bool) {
    for at in samples..row.len() {
        row[at] = row[at].wrapping_add(row[at - samples]);
    }
    let planes = row.to_vec();
    let count = row.len() / length;
    for (i, sample) in row.chunks_exact_mut(length).enumerate() {
        for (byte, value) in sample.iter_mut().enumerate() {
            let plane = if is_big_endian { byte } else { length - 1 - byte };
            *value = planes[plane * count + i];
        }
    }
}
