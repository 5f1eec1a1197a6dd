//! Decompresses pages within a limit that the compressed bytes warrant.
//!
//! The `parquet` crate's own codecs allocate what a page's header says, or whatever a stream expands to.

use std::fmt;
use std::io::Read;

/// How pages are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Codec {
    #[default]
    Uncompressed,
    Snappy,
    Gzip,
    Lzo,
    Brotli,
    /// LZ4 in Hadoop's frames.
    Lz4,
    Zstd,
    /// LZ4 without frames.
    Lz4Raw,
    Unknown(i32),
}

impl Codec {
    /// The codec with this number in the format.
    pub fn from_number(number: i32) -> Self {
        match number {
            0 => Self::Uncompressed,
            1 => Self::Snappy,
            2 => Self::Gzip,
            3 => Self::Lzo,
            4 => Self::Brotli,
            5 => Self::Lz4,
            6 => Self::Zstd,
            7 => Self::Lz4Raw,
            _ => Self::Unknown(number),
        }
    }

    /// Whether pages that are compressed so are read.
    pub fn is_supported(self) -> bool {
        !matches!(self, Self::Lzo | Self::Unknown(_))
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Uncompressed => "nothing",
            Self::Snappy => "Snappy",
            Self::Gzip => "gzip",
            Self::Lzo => "LZO",
            Self::Brotli => "Brotli",
            Self::Lz4 | Self::Lz4Raw => "LZ4",
            Self::Zstd => "Zstandard",
            Self::Unknown(number) => return write!(f, "codec {number}"),
        })
    }
}

/// A page may expand to this size whatever its compressed size: 64 MiB.
const MIN_LIMIT: usize = 64 << 20;

/// How many times a larger page may expand: more than deflate can (1,032).
const MAX_RATIO: usize = 1100;

/// The largest size of a page with `length` compressed bytes. The format has no page of more than 2 GiB.
pub(super) fn limit_of(length: usize) -> usize {
    length.saturating_mul(MAX_RATIO).clamp(MIN_LIMIT, i32::MAX as usize)
}

/// Decompresses one page.
///
/// # Errors
///
/// If the bytes are not what `codec` says, or expand to more than [`limit_of`] their length.
pub(super) fn decompress(codec: Codec, bytes: &[u8]) -> Result<Vec<u8>, String> {
    let limit = limit_of(bytes.len());
    let damaged = |cause: String| format!("has a damaged page: {codec}: {cause}");
    match codec {
        Codec::Uncompressed => Ok(bytes.to_vec()),
        _ if bytes.is_empty() => Ok(Vec::new()), // a page of nulls alone
        Codec::Snappy => {
            let size = snap::raw::decompress_len(bytes).map_err(|e| damaged(e.to_string()))?;
            check_size(size, limit)?;
            snap::raw::Decoder::new().decompress_vec(bytes).map_err(|e| damaged(e.to_string()))
        }
        Codec::Gzip => read(flate2::read::MultiGzDecoder::new(bytes), limit).map_err(damaged),
        Codec::Brotli => {
            read(brotli_decompressor::Decompressor::new(bytes, 4096), limit).map_err(damaged)
        }
        Codec::Zstd => zstd(bytes, limit).map_err(damaged),
        Codec::Lz4Raw => lz4_block(bytes, limit).map_err(damaged),
        // Written as Hadoop's frames, or as a bare block by parquet-mr's predecessors.
        Codec::Lz4 => {
            hadoop_lz4(bytes, limit).or_else(|_| lz4_block(bytes, limit)).map_err(damaged)
        }
        Codec::Lzo | Codec::Unknown(_) => {
            Err(format!("is compressed by {codec}, which is not supported"))
        }
    }
}

fn check_size(size: usize, limit: usize) -> Result<(), String> {
    if size <= limit { Ok(()) } else { Err(format!("has a page that expands to {size} bytes")) }
}

/// Reads a decoder to its end; memory grows with the bytes that come.
fn read(decoder: impl Read, limit: usize) -> Result<Vec<u8>, String> {
    let mut content = Vec::new();
    decoder.take(limit as u64 + 1).read_to_end(&mut content).map_err(|e| e.to_string())?;
    check_size(content.len(), limit)?;
    Ok(content)
}

/// Decodes the frames of Zstandard, of which a page usually is one.
fn zstd(mut bytes: &[u8], limit: usize) -> Result<Vec<u8>, String> {
    let mut content = Vec::new();
    while !bytes.is_empty() {
        let frame = ruzstd::decoding::StreamingDecoder::new(&mut bytes);
        let frame = frame.map_err(|e| e.to_string())?;
        content.extend(read(frame, limit - content.len())?);
    }
    Ok(content)
}

/// Decodes a bare block of LZ4, which does not say its size: the buffer grows until the content fits.
fn lz4_block(bytes: &[u8], limit: usize) -> Result<Vec<u8>, String> {
    let mut size = bytes.len().saturating_mul(4).clamp(1024, limit);
    loop {
        let mut content = vec![0; size];
        match lz4_flex::block::decompress_into(bytes, &mut content) {
            Ok(length) => {
                content.truncate(length);
                return Ok(content);
            }
            Err(lz4_flex::block::DecompressError::OutputTooSmall { .. }) if size < limit => {
                size = size.saturating_mul(4).min(limit);
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// Decodes Hadoop's frames: blocks after their sizes, expanded and compressed, in four bytes each, the highest first.
fn hadoop_lz4(mut bytes: &[u8], limit: usize) -> Result<Vec<u8>, String> {
    let mut content = Vec::new();
    while !bytes.is_empty() {
        let cut = || "a frame is cut short".to_owned();
        let (sizes, rest) = bytes.split_first_chunk::<8>().ok_or_else(cut)?;
        let [size, length] = [0, 4].map(|at| {
            u32::from_be_bytes([sizes[at], sizes[at + 1], sizes[at + 2], sizes[at + 3]]) as usize
        });
        let (block, rest) = rest.split_at_checked(length).ok_or_else(cut)?;
        // No block of LZ4 expands more than 255 times.
        check_size(size, limit_of(length).min(limit.saturating_sub(content.len())))?;
        let start = content.len();
        content.resize(start + size, 0);
        let read = lz4_flex::block::decompress_into(block, &mut content[start..]);
        if read.map_err(|e| e.to_string())? != size {
            return Err("a frame has another size than it says".into());
        }
        bytes = rest;
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        writer.write_all(content).unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn a_page_that_expands_beyond_the_limit_is_refused() {
        let bytes = gzip(&[0; 1000]);
        let decoder = || flate2::read::MultiGzDecoder::new(&bytes[..]);
        assert_eq!(read(decoder(), 1000).unwrap(), [0; 1000]);
        assert_eq!(read(decoder(), 999).unwrap_err(), "has a page that expands to 1000 bytes");
        // Snappy says the size first: 4 GiB in six bytes.
        let error = decompress(Codec::Snappy, &[0xff, 0xff, 0xff, 0xff, 0x0f, 0]);
        assert!(error.unwrap_err().contains("expands to 4294967295 bytes"));
        let error = decompress(Codec::Lz4, &[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 1, 0]);
        assert!(error.is_err());
    }

    #[test]
    fn frames_of_hadoop_and_bare_blocks_are_told_apart() {
        let block = [0x30, b'a', b'b', b'c']; // three literals
        assert_eq!(decompress(Codec::Lz4Raw, &block).unwrap(), b"abc");
        assert_eq!(decompress(Codec::Lz4, &block).unwrap(), b"abc");
        let frame = [&[0, 0, 0, 3, 0, 0, 0, 4][..], &block].concat();
        assert_eq!(decompress(Codec::Lz4, &frame.repeat(2)).unwrap(), b"abcabc");
        assert!(decompress(Codec::Lz4, &frame[..10]).is_err());
    }

    #[test]
    fn bytes_of_another_codec_are_damaged() {
        for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4Raw] {
            let error = decompress(codec, b"\xff\xfe no such thing").unwrap_err();
            assert!(error.starts_with("has a damaged page: "), "{error}");
        }
    }
}
