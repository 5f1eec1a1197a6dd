//! How the chunks of a page are compressed, by its tags.

use super::directory::Directory;
use super::errors::unsupported;

const COMPRESSION: u16 = 259;
const T4_OPTIONS: u16 = 292;
const PREDICTOR: u16 = 317;
const JPEG_TABLES: u16 = 347;

/// How a chunk is compressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Codec {
    None,
    Lzw,
    Deflate,
    PackBits,
    Zstd,
    /// With the tables that all chunks share.
    Jpeg(Vec<u8>),
    Fax(Fax),
}

/// The kinds of CCITT compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fax {
    /// Lines of one dimension, each of whole bytes (compression 2).
    ModifiedHuffman,
    /// T.4, with lines of one or two dimensions.
    Group3 { two_dimensions: bool },
    /// T.6.
    Group4,
}

/// What was subtracted from samples before they were compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Predictor {
    None,
    Horizontal,
    FloatingPoint,
}

impl Codec {
    /// Reads how the chunks of a page are compressed, whose samples have so many `bits`.
    pub fn read(tags: &Directory, bits: u32) -> Result<Self, String> {
        Ok(match tags.number(COMPRESSION).unwrap_or(1) {
            1 => Self::None,
            2 => Self::Fax(Fax::ModifiedHuffman),
            3 => {
                let options = tags.number(T4_OPTIONS).unwrap_or(0);
                Self::Fax(Fax::Group3 { two_dimensions: options & 1 != 0 })
            }
            4 => Self::Fax(Fax::Group4),
            5 => Self::Lzw,
            7 if bits == 8 => {
                let tables = tags.numbers(JPEG_TABLES).unwrap_or_default();
                Self::Jpeg(tables.iter().map(|&byte| byte as u8).collect())
            }
            8 | 32946 => Self::Deflate,
            32773 => Self::PackBits,
            50000 => Self::Zstd,
            number => {
                let name = match number {
                    6 => "the retired kind of JPEG (compression 6)",
                    7 => return Err(unsupported(&format!("has JPEG chunks of {bits} bits"))),
                    34712 | 33003 | 33005 => "JPEG 2000",
                    34887 => "LERC",
                    34925 => "LZMA",
                    50001 => "WebP",
                    50002 | 52546 => "JPEG XL",
                    _ => {
                        return Err(unsupported(&format!(
                            "is compressed in an unknown way ({number})"
                        )));
                    }
                };
                return Err(unsupported(&format!("is compressed by {name}")));
            }
        })
    }
}

impl Predictor {
    /// Reads what was subtracted from the samples of a page.
    pub fn read(tags: &Directory) -> Result<Self, String> {
        match tags.number(PREDICTOR).unwrap_or(1) {
            1 => Ok(Self::None),
            2 => Ok(Self::Horizontal),
            3 => Ok(Self::FloatingPoint),
            number => Err(unsupported(&format!("has the unknown predictor {number}"))),
        }
    }
}
