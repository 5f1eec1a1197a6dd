//! Color pixels.

use super::elements::{Elements, Tag};
use super::stored::entries;

/// For red, green and blue: the descriptor of the table, its entries, and its segmented entries.
const TABLES: [(Tag, Tag, Tag); 3] = [
    ((0x0028, 0x1101), (0x0028, 0x1201), (0x0028, 0x1221)),
    ((0x0028, 0x1102), (0x0028, 0x1202), (0x0028, 0x1222)),
    ((0x0028, 0x1103), (0x0028, 0x1203), (0x0028, 0x1223)),
];

/// A palette: the colors of stored values (C.7.6.3.1.5).
pub(super) struct Palette {
    /// The stored value of the first entry.
    first: i32,
    channels: [Vec<u8>; 3],
}

impl Palette {
    pub fn read(elements: &Elements<'_>) -> Result<Self, String> {
        let mut firsts = [0; 3];
        let mut channels = [const { Vec::new() }; 3];
        for (i, (descriptor, data, segments)) in TABLES.into_iter().enumerate() {
            let descriptor = elements.words(descriptor).filter(|words| words.len() == 3);
            let Some((descriptor, data)) = descriptor.zip(elements.get(data)) else {
                let cause = match elements.get(segments) {
                    Some(_) => "its color tables are segmented, which is not supported",
                    None => "is PALETTE COLOR, but has no color tables",
                };
                return Err(format!("{cause}; convert it to RGB"));
            };
            firsts[i] = i32::from(descriptor[1]);
            let wide = descriptor[2] > 8;
            let level = |entry: u16| if wide { scaled(entry.into(), 16) } else { entry as u8 };
            channels[i] = entries(data.value, descriptor[0])?.into_iter().map(level).collect();
        }
        if firsts[1..].iter().any(|first| *first != firsts[0]) {
            return Err("its color tables start at different values".into());
        }
        Ok(Self { first: firsts[0], channels })
    }

    /// The colors `[.., 3]` of `stored` values. Values outside of the table have its first or last color.
    pub fn colors(&self, stored: &[i32]) -> Vec<u8> {
        let color = |value: i32| {
            let i = usize::try_from(value - self.first).unwrap_or(0);
            // Tables have at least one entry: see `entries`.
            self.channels.each_ref().map(|channel| channel[i.min(channel.len() - 1)])
        };
        stored.iter().flat_map(|&value| color(value)).collect()
    }
}

/// Scales a value of `bits` bits to 8 bits: the full range is mapped.
fn scaled(value: i32, bits: u16) -> u8 {
    let most = (1_i64 << bits) - 1;
    ((i64::from(value.max(0)) * 255 + most / 2) / most).min(255) as u8
}

/// RGB samples in 8 bits.
pub(super) fn rgb(stored: &[i32], bits: u16) -> Vec<u8> {
    stored.iter().map(|&value| scaled(value, bits)).collect()
}

/// YCbCr samples as RGB in 8 bits (C.7.6.3.1.2).
pub(super) fn ybr_full(stored: &[i32], bits: u16) -> Vec<u8> {
    let (pixels, _) = stored.as_chunks::<3>();
    let convert = |pixel: &[i32; 3]| {
        let [y, cb, cr] = pixel.map(|value| f64::from(scaled(value, bits)));
        let (cb, cr) = (cb - 128.0, cr - 128.0);
        let colors = [y + 1.402 * cr, y - 0.344_136 * cb - 0.714_136 * cr, y + 1.772 * cb];
        // Casts saturate beyond the ends.
        colors.map(|color| color.round() as u8)
    };
    pixels.iter().flat_map(convert).collect()
}
