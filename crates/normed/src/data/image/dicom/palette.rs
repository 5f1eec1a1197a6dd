//! Palettes: the colors of stored values (C.7.6.3.1.5 and C.7.9).

use super::elements::{Element, Elements, Tag};
use super::look_up_table::{Descriptor, entries};
use super::samples::narrow;

/// For red, green and blue: the descriptor of the table, its entries, and its segmented entries.
const TABLES: [[Tag; 3]; 3] = [
    [(0x0028, 0x1101), (0x0028, 0x1201), (0x0028, 0x1221)],
    [(0x0028, 0x1102), (0x0028, 0x1202), (0x0028, 0x1222)],
    [(0x0028, 0x1103), (0x0028, 0x1203), (0x0028, 0x1223)],
];

/// A palette: the colors of stored values.
pub(super) struct Palette {
    descriptor: Descriptor,
    channels: [Vec<u8>; 3],
}

impl Palette {
    /// Reads the palette of a file. `signed` says whether stored values have a sign.
    pub fn read(elements: &Elements<'_>, signed: bool) -> Result<Self, String> {
        let missing = || "is PALETTE COLOR, but has no color tables; convert it to RGB".to_owned();
        // Red's descriptor is that of all, as in pydicom.
        let descriptor = Descriptor::read(elements, TABLES[0][0], signed).ok_or_else(missing)?;
        let mut tables = Vec::new();
        for [tag, data, segments] in TABLES {
            let other = Descriptor::read(elements, tag, signed);
            if other.is_some_and(|other| other.first != descriptor.first) {
                return Err("its color tables start at different values".into());
            }
            tables.push(match (elements.get(data), elements.get(segments)) {
                (Some(data), _) => entries(&data, descriptor.length)?,
                (None, Some(segments)) => {
                    let are_words = descriptor.bits > 8;
                    (expanded(&segments, are_words, descriptor.length)?, are_words)
                }
                (None, None) => return Err(missing()),
            });
        }
        // Many programs state 16 bits and write 8, as bytes or as words.
        let wide = descriptor.bits > 8
            && tables.iter().any(|(entries, are_words)| {
                *are_words && entries.iter().any(|&entry| entry > 0xff)
            });
        let level = |entry: u16| match wide {
            true => ((u32::from(entry) * 255 + 32_767) / 65_535) as u8,
            false => entry as u8,
        };
        let mut channels = [const { Vec::new() }; 3];
        for (channel, (entries, _)) in channels.iter_mut().zip(tables) {
            *channel = entries.into_iter().map(level).collect();
        }
        Ok(Self { descriptor, channels })
    }

    /// The colors `[.., 3]` of `stored` values. Values outside of the table have its first or last color.
    pub fn colors(&self, stored: &[i32]) -> Vec<u8> {
        let color = |&value: &i32| {
            let i = self.descriptor.index(value);
            self.channels.each_ref().map(|channel| channel[i])
        };
        stored.iter().flat_map(color).collect()
    }
}

/// Expands a segmented table (C.7.9.2) to `length` entries.
fn expanded(segments: &Element<'_>, are_words: bool, length: usize) -> Result<Vec<u16>, String> {
    let data: Vec<u16> = match are_words {
        true => segments.words().collect(),
        false => narrow(&segments.bytes(), 8).into_iter().map(|entry| entry as u16).collect(),
    };
    let mut table = Vec::with_capacity(length);
    let mut at = 0;
    while table.len() < length {
        at = match data.get(at) {
            Some(2) => expand_copy(&data, at, are_words, length, &mut table)?,
            _ => expand_segment(&data, at, length, &mut table)?,
        };
    }
    table.truncate(length);
    Ok(table)
}

fn cut() -> String {
    "its segmented color table is cut short".into()
}

/// Expands the discrete or linear segment at `at`; returns where the next one starts.
fn expand_segment(
    data: &[u16],
    at: usize,
    length: usize,
    table: &mut Vec<u16>,
) -> Result<usize, String> {
    let &[kind, count] = data.get(at..at + 2).ok_or_else(cut)? else { return Err(cut()) };
    let (start, count) = (at + 2, usize::from(count));
    match kind {
        0 if count > 0 => {
            table.extend(data.get(start..start + count).ok_or_else(cut)?);
            Ok(start + count)
        }
        1 if count > 0 => {
            let last = *table.last().ok_or("its segmented color table starts with a line")?;
            let (from, to) = (f64::from(last), f64::from(*data.get(start).ok_or_else(cut)?));
            // More entries than the table has are cut off by the caller.
            let entries = count.min(length);
            let step = |i: usize| from + (to - from) * i as f64 / count as f64;
            table.extend((1..=entries).map(|i| step(i).round_ties_even() as u16));
            Ok(start + 1)
        }
        _ => Err(format!(
            "its segmented color table has a segment of kind {kind} and length {count}"
        )),
    }
}

/// Expands the indirect segment at `at`: a number of segments from an earlier offset is repeated. Returns where
/// the next one starts.
fn expand_copy(
    data: &[u16],
    at: usize,
    are_words: bool,
    length: usize,
    table: &mut Vec<u16>,
) -> Result<usize, String> {
    let count = *data.get(at + 1).ok_or_else(cut)?;
    // The offset has 32 bits, in entries of the table's size.
    let (parts, bits) = if are_words { (2, 16) } else { (4, 8) };
    let offset = data.get(at + 2..at + 2 + parts).ok_or_else(cut)?;
    let offset = offset.iter().rev().fold(0, |sum: u64, &part| (sum << bits) | u64::from(part));
    let mut from = usize::try_from(offset).map_err(|_| cut())?;
    for _ in 0..count {
        if table.len() >= length {
            break;
        }
        // An indirect segment is of a kind that is refused there: none may refer to another.
        from = expand_segment(data, from, length, table)?;
    }
    Ok(at + 2 + parts)
}
