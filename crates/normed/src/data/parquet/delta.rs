//! The counts and lengths inside pages of the three delta encodings, checked before the pages are decoded.
//!
//! The `parquet` crate's decoders allocate as many lengths as such a page says it has, and texts that share their
//! beginnings with the one before can expand without bound. Format: parquet-format, Encodings.md.

/// Checks a page of numbers (DELTA_BINARY_PACKED): not more than `max` of them.
pub(super) fn check_numbers(values: &[u8], max: usize, _limit: usize) -> Result<(), String> {
    sum_packed(values, max).map(drop)
}

/// Checks a page of texts after their lengths (DELTA_LENGTH_BYTE_ARRAY): not more than `max` of them.
pub(super) fn check_lengths(values: &[u8], max: usize, _limit: usize) -> Result<(), String> {
    let (lengths, texts) = sum_packed(values, max)?;
    if lengths > texts.len() { Err(damaged()) } else { Ok(()) }
}

/// Checks a page of texts without the beginnings that they share (DELTA_BYTE_ARRAY): not more than `max` of them, of
/// `limit` bytes together.
pub(super) fn check_byte_arrays(values: &[u8], max: usize, limit: usize) -> Result<(), String> {
    let (shared, rest) = sum_packed(values, max)?;
    check_lengths(rest, max, limit)?;
    if shared > limit {
        return Err(format!("has a page that expands to {shared} bytes"));
    }
    Ok(())
}

fn damaged() -> String {
    "has a damaged page".into()
}

/// The sum of packed numbers, none of them negative if they are lengths, and the bytes after them.
fn sum_packed(bytes: &[u8], max: usize) -> Result<(usize, &[u8]), String> {
    let mut rest = bytes;
    let sum = read_packed(&mut rest, max).ok_or_else(damaged)?;
    Ok((sum, rest))
}

/// Reads numbers packed as differences, and returns their sum, negative ones counted as 0.
fn read_packed(bytes: &mut &[u8], max: usize) -> Option<usize> {
    let block_size = usize::try_from(read_varint(bytes)?).ok()?;
    let miniblocks = usize::try_from(read_varint(bytes)?).ok()?;
    let count = usize::try_from(read_varint(bytes)?).ok().filter(|&count| count <= max)?;
    let mut value = read_zigzag(bytes)?;
    let per_miniblock = block_size.checked_div(miniblocks).filter(|&size| size > 0)?;
    if !per_miniblock.is_multiple_of(32) {
        return None;
    }
    let add = |sum: usize, value: i64| sum.saturating_add(usize::try_from(value).unwrap_or(0));
    let mut sum = if count > 0 { add(0, value) } else { 0 };
    let mut left = count.saturating_sub(1);
    while left > 0 {
        let smallest = read_zigzag(bytes)?;
        let widths = take(bytes, miniblocks)?;
        for &width in widths {
            // Miniblocks after the last number may have any width, and have no bytes.
            if left == 0 {
                break;
            }
            if width > 64 {
                return None;
            }
            let packed = take(bytes, per_miniblock.checked_mul(width.into())? / 8)?;
            for i in 0..per_miniblock.min(left) {
                let difference = unpack_bits(packed, i * usize::from(width), width);
                value = value.wrapping_add(smallest).wrapping_add(difference.cast_signed());
                sum = add(sum, value);
            }
            left = left.saturating_sub(per_miniblock);
        }
    }
    Some(sum)
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

/// The `width` bits from bit `start` on, the lowest first.
fn unpack_bits(packed: &[u8], start: usize, width: u8) -> u64 {
    let bit = |i: usize| u64::from(packed[i / 8] >> (i % 8) & 1);
    (0..usize::from(width)).fold(0, |sum, i| sum | bit(start + i) << i)
}

/// Reads a variable-length number: groups of seven bits, the lowest first.
fn read_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

/// Reads a signed number, whose lowest bit is the sign.
fn read_zigzag(bytes: &mut &[u8]) -> Option<i64> {
    let number = read_varint(bytes)?;
    Some((number >> 1).cast_signed() ^ -((number & 1).cast_signed()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header, for 128 numbers a block in four miniblocks.
    fn header(count: u8, first: u8) -> Vec<u8> {
        vec![0x80, 0x01, 4, count, first]
    }

    #[test]
    fn the_example_of_the_format() {
        // 1 to 5: the differences are all 1.
        let bytes = [header(5, 2), vec![2, 0, 0, 0, 0], b"rest".to_vec()].concat();
        assert_eq!(sum_packed(&bytes, 5).unwrap(), (15, &b"rest"[..]));
        // 7, 5, 3, 1, 2, 3, 4, 5: differences -2, -2, -2, 1, 1, 1, 1, in two bits above -2.
        let packed = [0b1100_0000, 0b0011_1111, 0, 0, 0, 0, 0, 0];
        let bytes = [&header(8, 14)[..], &[3, 2, 9, 9, 9], &packed].concat();
        assert_eq!(sum_packed(&bytes, 8).unwrap(), (30, &[][..]));
        assert_eq!(sum_packed(&header(1, 14), 1).unwrap(), (7, &[][..]), "without a block");
    }

    #[test]
    fn counts_beyond_the_page_are_damage() {
        let bytes = [header(5, 2), vec![2, 0, 0, 0, 0]].concat();
        assert!(sum_packed(&bytes, 4).is_err());
        assert!(sum_packed(&bytes[..7], 5).is_err());
        assert!(sum_packed(&[0x80, 0x01, 0, 1, 2], 5).is_err(), "no miniblocks");
        assert!(sum_packed(&[0xff; 40], usize::MAX).is_err());
        // Two texts of 127 bytes, of which none is there.
        let lengths = [header(2, 254), vec![0, 0, 0, 0, 0]].concat();
        assert_eq!(check_lengths(&lengths, 2, 9).unwrap_err(), damaged());
        // 100 texts that share 63 bytes with the one before.
        let shared = [header(100, 126), vec![0, 0, 0, 0, 0]].concat();
        let page = [shared, header(100, 0), vec![0, 0, 0, 0, 0]].concat();
        assert!(check_byte_arrays(&page, 100, 6300).is_ok());
        assert!(check_byte_arrays(&page, 100, 6299).unwrap_err().contains("6300 bytes"));
    }
}
