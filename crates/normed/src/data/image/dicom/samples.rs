//! The samples of a frame: from bytes to stored values.

use super::shape::Shape;

/// The samples of a frame, those of each pixel adjacent.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Samples {
    Narrow(Vec<i32>),
    /// Numbers of 32 bits and floating-point numbers.
    Wide(Vec<f64>),
}

impl Samples {
    pub fn len(&self) -> usize {
        match self {
            Self::Narrow(samples) => samples.len(),
            Self::Wide(samples) => samples.len(),
        }
    }

    /// The samples as numbers.
    pub fn numbers(&self) -> Box<dyn Iterator<Item = f64> + '_> {
        match self {
            Self::Narrow(samples) => Box::new(samples.iter().copied().map(f64::from)),
            Self::Wide(samples) => Box::new(samples.iter().copied()),
        }
    }
}

/// Samples of 8 or 16 bits as whole numbers, in little endian.
pub(super) fn narrow(bytes: &[u8], bits_allocated: u16) -> Vec<i32> {
    match bits_allocated {
        8 => bytes.iter().map(|&byte| byte.into()).collect(),
        _ => {
            let (words, _) = bytes.as_chunks::<2>();
            words.iter().map(|&word| u16::from_le_bytes(word).into()).collect()
        }
    }
}

/// The stored values of an uncompressed frame, whose bits start at the first bit of `frame`.
pub(super) fn decode(frame: &[u8], shape: &Shape, big_endian: bool) -> Samples {
    let bits = shape.bits_allocated;
    let values = match bits {
        1 => (0..shape.pixels()).map(|i| i32::from(frame[i / 8] >> (i % 8) & 1)).collect(),
        32 | 64 => return Samples::Wide(wide(frame, shape, big_endian)),
        16 if big_endian => {
            let (words, _) = frame.as_chunks::<2>();
            words.iter().map(|&word| u16::from_be_bytes(word).into()).collect()
        }
        _ => narrow(frame, bits),
    };
    Samples::Narrow(stored_values(pixel_by_pixel(values, shape), shape))
}

/// Puts the samples of each pixel next to each other.
fn pixel_by_pixel(samples: Vec<i32>, shape: &Shape) -> Vec<i32> {
    if shape.halved {
        // C.7.6.3.1.2: Y Y Cb Cr.
        let (pairs, _) = samples.as_chunks::<4>();
        return pairs.iter().flat_map(|&[y, z, cb, cr]| [y, cb, cr, z, cb, cr]).collect();
    }
    if shape.planar {
        let n = shape.pixels();
        return (0..samples.len()).map(|i| samples[(i % 3) * n + i / 3]).collect();
    }
    samples
}

/// Numbers of 32 bits, and floating-point numbers.
fn wide(frame: &[u8], shape: &Shape, big_endian: bool) -> Vec<f64> {
    if shape.bits_allocated == 64 {
        let (numbers, _) = frame.as_chunks::<8>();
        let number = |&bytes: &[u8; 8]| match big_endian {
            true => f64::from_be_bytes(bytes),
            false => f64::from_le_bytes(bytes),
        };
        return numbers.iter().map(number).collect();
    }
    let (numbers, _) = frame.as_chunks::<4>();
    let bits = numbers.iter().map(|&bytes| match big_endian {
        true => u32::from_be_bytes(bytes),
        false => u32::from_le_bytes(bytes),
    });
    if shape.floating {
        return bits.map(|bits| f32::from_bits(bits).into()).collect();
    }
    let below = u32::from(shape.high_bit) + 1 - u32::from(shape.bits_stored);
    let above = 31 - u32::from(shape.high_bit);
    let value = |bits: u32| match shape.signed {
        true => f64::from((bits << above).cast_signed() >> (above + below)),
        false => f64::from((bits << above) >> (above + below)),
    };
    bits.map(value).collect()
}

/// Extracts the stored bits of uncompressed samples (PS3.5, 8.1.1). The other bits may hold an overlay.
fn stored_values(samples: Vec<i32>, shape: &Shape) -> Vec<i32> {
    let below = match shape.high_bit + 1 - shape.bits_stored {
        0 => 0,
        // Many programs write a wrong HighBit above values that occupy the lowest bits: then all fit there, and
        // some has a bit where there would be none.
        below => {
            let size = 1 << shape.bits_stored;
            let fits = |sample: &i32| match shape.signed {
                true => (-size / 2..size / 2).contains(&sign_extended(*sample, shape)),
                false => (0..size).contains(sample),
            };
            let unused = (1 << below) - 1;
            let are_lowest =
                samples.iter().all(fits) && samples.iter().any(|sample| sample & unused != 0);
            if are_lowest { 0 } else { below }
        }
    };
    lowest_bits(samples, shape.bits_stored, below, shape.signed)
}

/// A sample of 8 or 16 bits as a number with a sign.
fn sign_extended(sample: i32, shape: &Shape) -> i32 {
    let unused = 32 - u32::from(shape.bits_allocated);
    (sample << unused) >> unused
}

/// The numbers in `bits` bits of each sample, 1 to 16, above the `below` lowest ones.
pub(super) fn lowest_bits(mut samples: Vec<i32>, bits: u16, below: u16, signed: bool) -> Vec<i32> {
    let sign: u32 = if signed { 1 << (bits - 1) } else { 0 };
    for sample in &mut samples {
        let value = (sample.cast_unsigned() >> below) & ((1 << bits) - 1);
        *sample = (value ^ sign).cast_signed() - sign.cast_signed();
    }
    samples
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(bits_allocated: u16, bits_stored: u16, high_bit: u16, signed: bool) -> Shape {
        Shape {
            rows: 1,
            columns: 4,
            samples: 1,
            bits_allocated,
            bits_stored,
            high_bit,
            signed,
            floating: false,
            planar: false,
            halved: false,
        }
    }

    #[test]
    fn only_the_stored_bits_are_used() {
        let values = |raw: &[i32], bits, high, signed| {
            stored_values(raw.to_vec(), &shape(16, bits, high, signed))
        };
        let raw = [0x0fff, 0xf800, 0x0800, 0x07ff];
        assert_eq!(values(&raw, 12, 11, false), [4095, 2048, 2048, 2047]);
        assert_eq!(values(&raw, 12, 11, true), [-1, -2048, -2048, 2047]);
        assert_eq!(values(&raw, 12, 15, false), [255, 3968, 128, 127]);
        assert_eq!(values(&raw, 16, 15, true), [4095, -2048, 2048, 2047]);
        // A HighBit that the values contradict.
        assert_eq!(values(&[4095, 1, 2, 0], 12, 15, false), [4095, 1, 2, 0]);
        assert_eq!(values(&[0xfff9, 1, 2, 0], 12, 15, true), [-7, 1, 2, 0]);
        assert_eq!(values(&[0xff0, 0x10, 0x20, 0], 12, 15, false), [255, 1, 2, 0]);
    }

    #[test]
    fn samples_of_all_sizes_are_read() {
        let numbers = |bytes: &[u8], shape: &Shape, big_endian| {
            decode(bytes, shape, big_endian).numbers().collect::<Vec<_>>()
        };
        assert_eq!(numbers(&[0b1010], &shape(1, 1, 0, false), false), [0.0, 1.0, 0.0, 1.0]);
        let bytes = [1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(numbers(&bytes, &shape(32, 32, 31, false), false), [1.0, 4_294_967_295.0]);
        assert_eq!(numbers(&bytes, &shape(32, 32, 31, true), false), [1.0, -1.0]);
        assert_eq!(numbers(&bytes, &shape(32, 24, 31, true), true), [65536.0, -1.0]);
        assert_eq!(numbers(&[1, 2, 3, 4], &shape(16, 16, 15, true), true), [258.0, 772.0]);
        let floating = Shape { floating: true, ..shape(32, 32, 31, true) };
        assert_eq!(numbers(&1.5_f32.to_be_bytes(), &floating, true), [1.5]);
        let floating = Shape { floating: true, ..shape(64, 64, 63, true) };
        assert_eq!(numbers(&2.5_f64.to_le_bytes(), &floating, false), [2.5]);
    }
}
