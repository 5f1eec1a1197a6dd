//! The values of one page of a column of bytes.
//!
//! The `parquet` crate finds pages and decompresses them. Its decoders of values panic on damaged pages, so the two
//! that are needed are written here. Formats: parquet-format, Encodings.md.

use parquet::basic::Encoding;
use parquet::column::page::Page;
use parquet::data_type::ByteArray;

/// The distinct values of a column, to which pages refer by number.
pub(super) type Dictionary = Vec<ByteArray>;

/// Decodes the values of a dictionary page.
pub(super) fn decode_dictionary(page: &Page) -> Result<Dictionary, String> {
    let Page::DictionaryPage { buf, num_values, .. } = page else {
        return Err("lacks a dictionary".into());
    };
    decode_plain(&ByteArray::from(buf.clone()), *num_values as usize).ok_or_else(damaged)
}

/// Decodes the values of a data page, one per row: `None` where the definition level is below `defined`, the
/// highest, so that the value is null. More than `max_rows` rows are an error.
pub(super) fn decode_values(
    page: &Page,
    defined: i16,
    dictionary: Option<&Dictionary>,
    max_rows: usize,
) -> Result<Vec<Option<ByteArray>>, String> {
    let rows = page.num_values() as usize;
    if rows > max_rows {
        return Err(format!("has a page of {rows} rows where {max_rows} are left"));
    }
    let (levels, content, encoding) = parts(page, defined).ok_or_else(damaged)?;
    let is_there: Vec<bool> = match levels {
        None => vec![true; rows],
        Some(levels) => {
            let width = 16 - defined.cast_unsigned().leading_zeros();
            let levels = decode_rle(levels.data(), width, rows).ok_or_else(damaged)?;
            levels.into_iter().map(|level| level == u32::from(defined.cast_unsigned())).collect()
        }
    };
    let count = is_there.iter().filter(|there| **there).count();
    let found = match (encoding, dictionary) {
        (Encoding::PLAIN, _) => decode_plain(&content, count).ok_or_else(damaged)?,
        (Encoding::RLE_DICTIONARY | Encoding::PLAIN_DICTIONARY, Some(dictionary)) => {
            let (width, numbers) = match content.data().split_first() {
                Some((&width, numbers)) if width <= 32 => (width.into(), numbers),
                None if count == 0 => (0, &[][..]),
                _ => return Err(damaged()),
            };
            let numbers = decode_rle(numbers, width, count).ok_or_else(damaged)?;
            let value = |n: u32| dictionary.get(n as usize).cloned();
            let all: Option<Vec<_>> = numbers.into_iter().map(value).collect();
            all.ok_or("refers to a value that its dictionary does not have")?
        }
        (Encoding::RLE_DICTIONARY | Encoding::PLAIN_DICTIONARY, None) => {
            return Err("lacks a dictionary".into());
        }
        (other, _) => return Err(format!("is encoded as {other}, which is not supported")),
    };
    let mut found = found.into_iter();
    Ok(is_there.into_iter().map(|there| if there { found.next() } else { None }).collect())
}

fn damaged() -> String {
    "has a damaged page".into()
}

/// The definition levels of a page, if it has any, its values, and their encoding.
fn parts(page: &Page, defined: i16) -> Option<(Option<ByteArray>, ByteArray, Encoding)> {
    match page {
        Page::DataPage { buf, encoding, .. } => {
            let buf = ByteArray::from(buf.clone());
            if defined == 0 {
                return Some((None, buf, *encoding));
            }
            let length = u32::from_le_bytes(*buf.data().first_chunk()?) as usize;
            let levels = part(&buf, 4, length)?;
            Some((Some(levels), part(&buf, 4 + length, buf.len() - 4 - length)?, *encoding))
        }
        Page::DataPageV2 { buf, encoding, def_levels_byte_len, rep_levels_byte_len, .. } => {
            let buf = ByteArray::from(buf.clone());
            let (before, length) = (*rep_levels_byte_len as usize, *def_levels_byte_len as usize);
            let levels = part(&buf, before, length)?;
            let start = before + length;
            let content = part(&buf, start, buf.len().checked_sub(start)?)?;
            Some(((defined > 0).then_some(levels), content, *encoding))
        }
        Page::DictionaryPage { .. } => None,
    }
}

fn part(of: &ByteArray, start: usize, length: usize) -> Option<ByteArray> {
    of.data().get(start..start.checked_add(length)?)?;
    Some(of.slice(start, length))
}

/// Decodes PLAIN: each value follows its length in four bytes.
fn decode_plain(content: &ByteArray, count: usize) -> Option<Vec<ByteArray>> {
    let (mut values, mut at) = (Vec::new(), 0);
    for _ in 0..count {
        let length = u32::from_le_bytes(*content.data().get(at..)?.first_chunk()?) as usize;
        values.push(part(content, at + 4, length)?);
        at += 4 + length;
    }
    Some(values)
}

/// Decodes RLE: runs of one number, or of groups of eight numbers in `width` bits each.
fn decode_rle(mut bytes: &[u8], width: u32, count: usize) -> Option<Vec<u32>> {
    let mut values = Vec::new();
    while values.len() < count {
        let header = read_varint(&mut bytes)?;
        let left = count - values.len();
        let run = usize::try_from(header >> 1).ok().filter(|&run| run > 0)?;
        if header & 1 == 0 {
            let (number, rest) = bytes.split_at_checked(width.div_ceil(8) as usize)?;
            let number = number.iter().rev().fold(0, |sum, &byte| sum << 8 | u32::from(byte));
            values.resize(values.len() + run.min(left), number);
            bytes = rest;
        } else {
            let (packed, rest) = bytes.split_at_checked(run.checked_mul(width as usize)?)?;
            let numbers = 0..run.saturating_mul(8).min(left);
            values.extend(numbers.map(|i| unpack_bits(packed, i * width as usize, width)));
            bytes = rest;
        }
    }
    Some(values)
}

/// The `width` bits from bit `start` on, the lowest first.
fn unpack_bits(packed: &[u8], start: usize, width: u32) -> u32 {
    let bit = |i: usize| u32::from(packed[i / 8] >> (i % 8) & 1);
    (0..width as usize).fold(0, |sum, i| sum | bit(start + i) << i)
}

/// Reads a variable-length number: groups of seven bits, the lowest first.
fn read_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..63).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_and_packed_numbers() {
        // The example of Encodings.md: 0 to 7 in three bits each.
        let packed = [0b11, 0b1000_1000, 0b1100_0110, 0b1111_1010];
        assert_eq!(decode_rle(&packed, 3, 8).unwrap(), [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(decode_rle(&packed, 3, 5).unwrap(), [0, 1, 2, 3, 4]);
        assert_eq!(decode_rle(&[4, 7, 3, 0b101, 0], 3, 6), None, "the packed run is cut");
        assert_eq!(decode_rle(&[4, 7, 3, 0b101], 1, 6).unwrap(), [7, 7, 1, 0, 1, 0]);
        assert_eq!(decode_rle(&[6, 0x34, 0x12], 16, 3).unwrap(), [0x1234; 3]);
        assert_eq!(decode_rle(&[0x80, 0x02], 0, 2).unwrap(), [0, 0], "a dictionary of one value");
        for broken in [&[][..], &[0], &[1], &[0x80], &[0xff; 20], &[2]] {
            assert_eq!(decode_rle(broken, 8, 3), None, "{broken:?}");
        }
        assert_eq!(decode_rle(&[], 8, 0).unwrap(), [0; 0]);
    }

    #[test]
    fn plain_values() {
        let content = ByteArray::from(vec![1, 0, 0, 0, b'a', 0, 0, 0, 0, 2, 0, 0, 0, b'b', b'c']);
        let values = decode_plain(&content, 3).unwrap();
        let values: Vec<_> = values.iter().map(ByteArray::data).collect();
        assert_eq!(values, [&b"a"[..], b"", b"bc"]);
        assert!(decode_plain(&content, 4).is_none());
        assert!(decode_plain(&ByteArray::from(vec![0xff; 8]), 1).is_none());
    }
}
