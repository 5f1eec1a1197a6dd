//! Colored pixels.

use super::elements::{Elements, Tag};
use super::stored::entries;

/// Red, green, blue: what a table maps and how, its entries, and its entries in segments.
const TABLES: [(Tag, Tag, Tag); 3] = [
    ((0x0028, 0x1101), (0x0028, 0x1201), (0x0028, 0x1221)),
    ((0x0028, 0x1102), (0x0028, 0x1202), (0x0028, 0x1222)),
    ((0x0028, 0x1103), (0x0028, 0x1203), (0x0028, 0x1223)),
];

/// The colors that stored values stand for (C.7.6.3.1.5).
pub(super) struct Palette {
    /// The value that the first entry is of.
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
                    Some(_) => "its color tables are in segments, which are not read",
                    None => "is PALETTE COLOR without its color tables",
                };
                return Err(format!("{cause}; convert it to RGB"));
            };
            firsts[i] = i32::from(descriptor[1]);
            let wide = descriptor[2] > 8;
            let level = |entry: u16| if wide { scaled(entry.into(), 16) } else { entry as u8 };
            channels[i] = entries(data.value, descriptor[0])?.into_iter().map(level).collect();
        }
        if firsts[1..].iter().any(|first| *first != firsts[0]) {
            return Err("its color tables begin at different values".into());
        }
        Ok(Self { first: firsts[0], channels })
    }

    /// `[.., 3]`. Values before the first entry and behind the last have their colors.
    pub fn colors(&self, stored: &[i32]) -> Vec<u8> {
        let color = |value: i32| {
            let i = usize::try_from(value - self.first).unwrap_or(0);
            // Tables have an entry at least: see `entries`.
            self.channels.each_ref().map(|channel| channel[i.min(channel.len() - 1)])
        };
        stored.iter().flat_map(|&value| color(value)).collect()
    }
}

/// From `bits` to 8: the full range is mapped.
fn scaled(value: i32, bits: u16) -> u8 {
    let most = (1_i64 << bits) - 1;
    ((i64::from(value.max(0)) * 255 + most / 2) / most).min(255) as u8
}

/// Red, green and blue in 8 bits.
pub(super) fn rgb(stored: &[i32], bits: u16) -> Vec<u8> {
    stored.iter().map(|&value| scaled(value, bits)).collect()
}

/// The same of luminance, Cb and Cr (C.7.6.3.1.2).
pub(super) fn ybr_full(stored: &[i32], bits: u16) -> Vec<u8> {
    let (pixels, _) = stored.as_chunks::<3>();
    let convert = |pixel: &[i32; 3]| {
        let [y, cb, cr] = pixel.map(|value| f64::from(scaled(value, bits)));
        let (cb, cr) = (cb - 128.0, cr - 128.0);
        let colors = [y + 1.402 * cr, y - 0.344_136 * cb - 0.714_136 * cr, y + 1.772 * cb];
        // Beyond the ends `as` stops there.
        colors.map(|color| color.round() as u8)
    };
    pixels.iter().flat_map(convert).collect()
}
