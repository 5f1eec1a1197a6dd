//! What the samples of a page mean, by its tags.

use super::codec::Codec;
use super::directory::Directory;
use super::errors::unsupported;

const PHOTOMETRIC: u16 = 262;
const SAMPLES: u16 = 277;
const PALETTE: u16 = 320;
const EXTRA_SAMPLES: u16 = 338;
const CHROMA_SAMPLING: u16 = 530;

/// What the samples of a pixel mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Colors {
    Gray {
        /// Whether the smallest value is white.
        inverted: bool,
    },
    Rgb,
    /// Red, green and blue of each value.
    Palette(Vec<[u8; 3]>),
    Cmyk,
    /// With the number of pixels, across and down, that share Cb and Cr.
    YCbCr([usize; 2]),
}

impl Colors {
    /// Reads the meaning of samples of so many `bits`, compressed by `codec`.
    pub fn read(tags: &Directory, bits: u32, codec: &Codec) -> Result<Self, String> {
        Ok(match tags.number(PHOTOMETRIC).unwrap_or(0) {
            0 => Self::Gray { inverted: true },
            1 => Self::Gray { inverted: false },
            2 => Self::Rgb,
            3 => Self::Palette(read_palette(tags, bits)?),
            5 => Self::Cmyk,
            // The decoder of JPEG converts the colors.
            6 if matches!(codec, Codec::Jpeg(_)) => match tags.number(SAMPLES).unwrap_or(1) {
                1 => Self::Gray { inverted: false },
                _ => Self::Rgb,
            },
            6 => match tags.numbers(CHROMA_SAMPLING).unwrap_or(&[2, 2]) {
                &[across @ (1 | 2 | 4), down @ (1 | 2 | 4), ..] => {
                    Self::YCbCr([across as usize, down as usize])
                }
                _ => return Err(unsupported("has YCbCr colors of an unknown resolution")),
            },
            number => {
                let name = match number {
                    4 => "a transparency mask",
                    8..=10 => "CIE L*a*b*",
                    32803 => "the raw values of a camera's sensor",
                    32844 | 32845 => "LogLuv",
                    _ => "of an unknown kind",
                };
                return Err(unsupported(&format!("has colors that are {name} ({number})")));
            }
        })
    }

    /// Samples of a pixel that are colors.
    pub fn count(&self) -> usize {
        match self {
            Self::Gray { .. } | Self::Palette(_) => 1,
            Self::Rgb | Self::YCbCr(_) => 3,
            Self::Cmyk => 4,
        }
    }
}

/// The first sample after the colors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Alpha {
    /// Whether the colors are multiplied by it.
    pub is_premultiplied: bool,
}

/// Whether colors are stored as YCbCr.
pub(super) fn is_ycbcr(tags: &Directory) -> bool {
    tags.number(PHOTOMETRIC) == Some(6)
}

/// The colors of a palette, red, green and blue of each.
fn read_palette(tags: &Directory, bits: u32) -> Result<Vec<[u8; 3]>, String> {
    if bits > 8 {
        return Err(unsupported(&format!("has a palette and {bits} bits")));
    }
    let count = 1 << bits;
    let entries = tags.numbers(PALETTE).filter(|entries| entries.len() == 3 * count);
    let entries = entries.ok_or("cannot be decoded: its palette is missing or incomplete")?;
    // Some programs write entries of 8 bits; libtiff recognizes them in the same way.
    let shift = if entries.iter().all(|entry| *entry < 256) { 0 } else { 8 };
    let level = |entry: u64| (entry >> shift).min(255) as u8;
    Ok((0..count).map(|i| [0, 1, 2].map(|c| level(entries[c * count + i]))).collect())
}

impl Alpha {
    /// Reads what follows the `colors` of a pixel of so many `samples`.
    pub fn read(tags: &Directory, samples: usize, colors: &Colors) -> Result<Option<Self>, String> {
        let extra = samples.checked_sub(colors.count()).ok_or_else(|| {
            format!(
                "cannot be decoded: its pixels have {samples} samples, and {} colors",
                colors.count()
            )
        })?;
        let first = tags.numbers(EXTRA_SAMPLES).map(|kinds| kinds[0]);
        Ok(match (extra, first) {
            (0, _) => None,
            (_, Some(1)) => Some(Self { is_premultiplied: true }),
            // 999 is Corel Draw's.
            (_, Some(2 | 999)) => Some(Self { is_premultiplied: false }),
            // As Pillow takes it.
            (1, None) if *colors == Colors::Rgb => Some(Self { is_premultiplied: false }),
            _ => None,
        })
    }
}
