//! Stored values: the bits of a sample that are used.

use super::shape::Shape;

/// Extracts the stored bits of `samples`, with their sign (PS3.5, 8.1.1). The other bits may hold an overlay.
pub(super) fn values(mut samples: Vec<i32>, shape: &Shape) -> Vec<i32> {
    // 1 to 16 bits, up to the high bit: see `check_shape`.
    let bits = u32::from(shape.bits_stored);
    let below = u32::from(shape.high_bit) + 1 - bits;
    let sign: u32 = if shape.signed { 1 << (bits - 1) } else { 0 };
    for sample in &mut samples {
        let value = (sample.cast_unsigned() >> below) & ((1 << bits) - 1);
        *sample = (value ^ sign).cast_signed() - sign.cast_signed();
    }
    samples
}

/// Samples of 8 or 16 bits, in little endian.
pub(super) fn samples(bytes: &[u8], bits_allocated: u16) -> Vec<i32> {
    match bits_allocated {
        8 => bytes.iter().map(|&byte| byte.into()).collect(),
        _ => {
            let (words, _) = bytes.as_chunks::<2>();
            words.iter().map(|&word| u16::from_le_bytes(word).into()).collect()
        }
    }
}

/// The `length` entries of a look-up table; a length of 0 stands for 65,536. Entries are words, or bytes where
/// there are not enough words.
pub(super) fn entries(data: &[u8], length: u16) -> Result<Vec<u16>, String> {
    let length = if length == 0 { 1 << 16 } else { usize::from(length) };
    let bits = if data.len() >= 2 * length { 16 } else { 8 };
    let mut entries: Vec<u16> = samples(data, bits).into_iter().map(|entry| entry as u16).collect();
    if entries.len() < length {
        return Err(format!("its look-up table has {} of {length} entries", entries.len()));
    }
    entries.truncate(length);
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_stored_bits_are_used() {
        let shape = |bits_stored, high_bit, signed| Shape {
            rows: 1,
            columns: 4,
            samples: 1,
            bits_allocated: 16,
            bits_stored,
            high_bit,
            signed,
            planar: false,
            halved: false,
        };
        let raw = vec![0x0fff, 0xf800, 0x0800, 0x07ff];
        assert_eq!(values(raw.clone(), &shape(12, 11, false)), [4095, 2048, 2048, 2047]);
        assert_eq!(values(raw.clone(), &shape(12, 11, true)), [-1, -2048, -2048, 2047]);
        assert_eq!(values(raw.clone(), &shape(12, 15, false)), [255, 3968, 128, 127]);
        assert_eq!(values(raw, &shape(16, 15, true)), [4095, -2048, 2048, 2047]);
    }

    #[test]
    fn tables_are_of_words_or_of_bytes() {
        assert_eq!(entries(&[1, 2, 3, 4], 2).unwrap(), [0x0201, 0x0403]);
        assert_eq!(entries(&[1, 2, 3, 4], 4).unwrap(), [1, 2, 3, 4]);
        assert!(entries(&[1, 2, 3], 4).is_err());
        assert!(entries(&[1, 2, 3], 0).unwrap_err().contains("of 65536"));
    }
}
